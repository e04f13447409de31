"""Benchmarks: `make bench`, `make bench-peers`, `make bench-compare`, `make plots`; docs/benchmarks.md explains them."""
