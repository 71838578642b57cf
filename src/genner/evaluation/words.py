"""Words, as the unit in which lengths and small boundary errors are measured."""

from bisect import bisect_left, bisect_right
from functools import lru_cache

from genner.boundaries import boundaries


class WordIndex:
    """The words of a text: runs of letters and digits; any other visible character, and any of a script that puts no
    blanks between words (Han, Kana, Hangul, Thai ...), is a word by itself. No word holds white space.
    """

    def __init__(self, text: str) -> None:
        starts, ends = boundaries(text, "word")
        self.starts = [i for i, flag in enumerate(starts) if flag]
        self.ends = [i for i, flag in enumerate(ends) if flag]

    def between(self, start: int, end: int) -> int:
        """The number of words of which at least one code point lies in `[start, end)`."""
        return max(0, bisect_left(self.starts, end) - bisect_right(self.ends, start)) if start < end else 0


@lru_cache(maxsize=64)  # the metrics of one document ask in turn
def words(text: str) -> WordIndex:
    """The words of `text`."""
    return WordIndex(text)
