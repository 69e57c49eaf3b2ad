"""Measurements: every `bench_*.py` is a script whose `main()` returns a section of RESULTS.md."""
