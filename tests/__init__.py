"""The tests, laid out as `src/genner` is; what they share stands here."""
