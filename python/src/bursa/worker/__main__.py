"""`python -m bursa.worker`: the zygote, started by an executor with its control socket inherited.

With a sandbox it is run twice: outside, to go in, and inside.
"""

from __future__ import annotations

import json
import os
import sys

from . import enclose

VARIABLE = "BURSA_ZYGOTE_FD"
ADDRESS = "BURSA_ZYGOTE_SOCKET"
"""Where the control socket is, in a container that inherits no descriptor."""


def main() -> None:
    """Becomes the zygote, and ends with it."""
    number = os.environ.get(VARIABLE, "")
    if not number.isdigit():
        sys.exit(
            f"bursa.worker: {VARIABLE} names no descriptor, since only an executor starts workers; "
            "run `bursa endpoint start` instead."
        )
    sandbox = os.environ.pop(enclose.VARIABLE, None)
    if sandbox is not None:
        enclose.enter(sandbox)
    inside = json.loads(os.environ.pop(enclose.INSIDE, "null"))
    del os.environ[VARIABLE]
    if os.environ.pop("BURSA_CHECK", ""):
        from . import check

        check.main(inside)
    else:
        from . import zygote

        address = os.environ.pop(ADDRESS, None)
        zygote.main(int(number) if address is None else zygote.connected(address), inside)


if __name__ == "__main__":
    main()
