"""Readers and writers by file syntax, not by corpus. `registry.SYNTAXES` lists all; `read_corpus` reads any."""

from genner.data.corpus import read_corpus
from genner.data.jsonl import read_jsonl
from genner.data.output import JsonlWriter
from genner.data.texts import read_texts
from genner.writing import write_atomic

__all__ = ["JsonlWriter", "read_corpus", "read_jsonl", "read_texts", "write_atomic"]
