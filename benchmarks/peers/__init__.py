"""What genner's decoder is compared with: one file for each kind of peer. See `benchmarks/README.md`."""
