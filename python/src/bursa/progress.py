"""A progress bar, where somebody can see it."""

from __future__ import annotations

import sys
from typing import Iterable, Sequence, TypeVar

T = TypeVar("T")


def with_progress(items: Sequence[T], show: bool | None) -> Iterable[T]:
    """`items`, with a bar that counts them as they are taken. None: on a terminal or in a notebook only."""
    if show is None:
        show = bool(items) and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if not show:
        return items
    from tqdm.auto import tqdm  # slow to import, and rarely needed

    return tqdm(items, unit="task")
