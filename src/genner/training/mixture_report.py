"""What an epoch of a mixture contains, and what was left out."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class MixtureReport:
    """What the mixture contains and what was left out; all counts are for one epoch."""

    sentences: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    alone: Counter[str] = field(default_factory=Counter)  # sentences above a group's size: each has its own group
    too_long: Counter[str] = field(default_factory=Counter)  # sentences above the token limit: left out
    unencodable: Counter[str] = field(default_factory=Counter)  # entities that the format cannot write: left out
    applied_counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How often each recipe key applied, by key and set: for `fraction`, `shots` and `max_empty` the documents left
    out; for `concat`, `detokenize` and each noise the examples changed (joined documents are one example); for
    `negatives`, `renamed` and `anonymous_tags` the groups changed."""
    conversations: Counter[str] = field(default_factory=Counter)  # of [[chat]]; also counted in `alone` and `too_long`
    chat_tokens: int = 0  # the part of `tokens` in conversations
    unanswered: Counter[str] = field(default_factory=Counter)  # conversations cut before an unanswered last question

    def __str__(self) -> str:
        """The totals in one line, with what was left out."""
        chats = self.conversations.total()
        mixed = f" and {chats} conversations" if chats else ""
        lines = [f"{sum(self.sentences.values())} sentences{mixed}, {self.tokens} tokens"]
        if left := sum(self.too_long.values()):
            what = "examples" if mixed else "sentences"
            lines.append(f"{left} {what} too long, left out ({dict(self.too_long)})")
        if cut := self.unanswered.total():
            lines.append(f"{cut} conversations cut before a question without an answer ({dict(self.unanswered)})")
        if unsaid := sum(self.unencodable.values()):
            lines.append(f"{unsaid} entities that their format cannot say, left out ({dict(+self.unencodable)})")
        for key in ("fraction", "shots", "max_empty"):
            if left := self.applied_counts[key].total() if key in self.applied_counts else 0:
                lines.append(f"{left} documents left out by {key!r} ({dict(+self.applied_counts[key])})")
        return "; ".join(lines)

    def to_dict(self) -> dict[str, object]:
        counts = {name: dict(v) if isinstance(v, Counter) else v for name, v in vars(self).items()}
        if not self.conversations:
            del counts["conversations"], counts["chat_tokens"], counts["unanswered"]
        return {**counts, "applied_counts": {key: dict(+sets) for key, sets in self.applied_counts.items() if +sets}}
