"""Monte Carlo until it is good enough: at which share of open sites does water find a way through a square?

    python examples/percolation.py [ERROR]

Each input is the seed of one experiment, of some milliseconds. Seeds have no end: experiments are drawn until
the mean is known to within ERROR, and what is then under way is cancelled. (Of large squares it is 0.5927.)
"""

from __future__ import annotations

import itertools
import math
import random
import sys

import bursa

SIDE = 24
FEWEST = 30


def threshold(seed: int) -> float:
    """The share of open sites when the top of a square is first connected to its bottom, opened at random."""
    sites = SIDE * SIDE
    top, bottom = sites, sites + 1
    root = list(range(sites + 2))

    def find(site: int) -> int:
        while root[site] != site:
            root[site] = site = root[root[site]]
        return site

    is_open = bytearray(sites)
    order = list(range(sites))
    random.Random(seed).shuffle(order)
    for count, site in enumerate(order, 1):
        is_open[site] = 1
        row, column = divmod(site, SIDE)
        around = [site - SIDE if row else top, site + SIDE if row < SIDE - 1 else bottom]
        around += [site - 1] * (column > 0) + [site + 1] * (column < SIDE - 1)
        for other in around:
            if other >= sites or is_open[other]:
                root[find(other)] = find(site)
        if find(top) == find(bottom):
            return count / sites
    raise AssertionError("a square that is all open has a way through")


def main() -> None:
    wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 0.001
    count, mean, squares = 0, 0.0, 0.0  # Welford's way to mean and variance
    with bursa.Client() as client:
        for value in client.map(threshold, itertools.count()):
            count += 1
            off = value - mean
            mean += off / count
            squares += off * (value - mean)
            error = math.sqrt(squares / count) / math.sqrt(count)
            if count >= FEWEST and error < wanted:
                break
    print(f"{count} experiments: water finds a way at {mean:.4f} ± {error:.4f} of all sites")
    if not 0.5 < mean < 0.7:
        raise SystemExit("that is not the threshold it should be")


if __name__ == "__main__":
    main()
