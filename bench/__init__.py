"""Benchmarks, one measure a file: `python -m bench.NAME`; docs/benchmarks.md explains them."""
