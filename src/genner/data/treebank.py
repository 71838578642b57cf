"""The escapes of OntoNotes and the Penn Treebank for characters that are markup there."""

import re

_ANYWHERE = {"-LAB-": "<", "-RAB-": ">", "-AMP-": "&"}
_TOKENS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"} | {
    f"/{mark}": mark for mark in ".?!,:;-"
}
_SPELT = re.compile("|".join(_ANYWHERE))
_SPELL = {ord(char): spelt for spelt, char in _ANYWHERE.items()}


def plain(token: str) -> str:
    """The decoded token: `-LRB-` is `(`, `/.` is `.`; `-AMP-`, `-LAB-` and `-RAB-` also within a token."""
    return _TOKENS.get(token) or _SPELT.sub(lambda match: _ANYWHERE[match[0]], token)


def spelt(token: str) -> str:
    """The token with `&`, `<` and `>`, which would be read as markup, escaped; `plain` undoes it."""
    return token.translate(_SPELL)
