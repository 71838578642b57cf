"""Estimates where no tokenizer is at hand: how many tokens a text takes."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a model's tokenizer makes of a text; docs/engines.md says how exact it is."""
    plain = sum(char < "\x80" for char in text)
    return -(-plain // 4) + -(-(len(text) - plain) * 2 // 3)
