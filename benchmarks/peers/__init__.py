"""The peers of genner's decoder and trainer, one file for each kind. See `benchmarks/README.md`."""
