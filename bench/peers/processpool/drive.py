"""The standard library's process pool: no network, nothing is kept, one program."""

from concurrent.futures import ProcessPoolExecutor

from speak import Futures, serve


def start(variant):
    pool = ProcessPoolExecutor(2)
    return Futures(pool.submit, pool.shutdown)


serve(start)
