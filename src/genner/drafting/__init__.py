"""Drafts of answers for the speculative decoder: which entities a text may have, proposed before the answer is written.

`proposals` defines the proposals; `span_drafter` is the network that makes them.
"""
