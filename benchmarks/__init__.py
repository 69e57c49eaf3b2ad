"""Measurements: `main()` of every `bench_*.py` returns a section of RESULTS.md."""
