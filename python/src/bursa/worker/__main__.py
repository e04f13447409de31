"""`python -m bursa.worker`: the zygote, started by an executor with its control socket inherited."""

from __future__ import annotations

import os
import sys

from .zygote import main

VARIABLE = "BURSA_ZYGOTE_FD"

if __name__ == "__main__":
    number = os.environ.pop(VARIABLE, "")
    if not number.isdigit():
        sys.exit(
            f"bursa.worker: {VARIABLE} names no descriptor, since only an executor starts workers; "
            "run `bursa endpoint start` instead."
        )
    main(int(number))
