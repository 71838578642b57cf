"""Shared fixtures."""

import os

# Tiny models gain nothing from threads, and spinning threads slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
