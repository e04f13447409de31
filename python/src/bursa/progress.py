"""A progress bar, where somebody can see it."""

from __future__ import annotations

import sys
from typing import Any, Iterable, Sized


class Bar:
    """Counts items as their results are read."""

    def __init__(self, iterables: Iterable[Any], show: bool | None) -> None:
        """For one item of each iterable. `show` None: on a terminal or in a notebook only."""
        total = min((len(each) for each in iterables if isinstance(each, Sized)), default=None)
        if show is None:
            show = total != 0 and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._bar: Any = None
        if show:
            from tqdm.auto import tqdm  # slow to import, and rarely needed

            self._bar = tqdm(total=total, unit="item")

    def add(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
