"""Drafts of answers for the speculative decoder: which entities a text may have, proposed before the answer is written.

`proposals` is what is proposed; `span_drafter` is the network that proposes it.
"""
