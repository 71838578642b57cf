"""Hypothesis strategies: nasty texts, and entities over them."""

from hypothesis import strategies as st

from genner.document import Document, Entity, LabelSet

LABELS = LabelSet.of("PER", "LOC", "P", "cell line", "人名")

# Pieces that collide with every format's markup, beside plain and difficult text.
PIECES = [
    "<", ">", "</", "<PER>", "</PER>", "<\\PER>", "<\\\\/P>", "<P", "ER>", "[", "]", "\\[", "|", " | PER]", " |\\ PER]",
    " | ", "PER]", "P]", "\\", "\\\\", " ", "  ", "\n", "\t", "a", "Ann", "New York", ".", "é", "e\u0301", "🙂",
    "👩\u200d👩\u200d👧", "東京", "שלום", "العربية", "\u200f", "\x00", "{", "}", '"', "@@", "##", "ß", "İ", "cell line",
    "\u2581",  # how SentencePiece writes a space
]  # fmt: skip

texts = (
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=12)
    .map("".join)
    .filter(lambda t: not any(0xD800 <= ord(c) <= 0xDFFF for c in t))
)


@st.composite
def documents(draw: st.DrawFn, labels: LabelSet = LABELS, crossing: bool = False) -> Document:
    """Any text with any entities; properly nested unless `crossing`."""
    text = draw(texts)
    entities: list[Entity] = []
    if text:
        for _ in range(draw(st.integers(0, 5))):
            start = draw(st.integers(0, len(text) - 1))
            end = draw(st.integers(start + 1, len(text)))
            new = Entity(start, end, draw(st.sampled_from(labels.tags)))
            crosses = any(
                e.start < new.start < e.end < new.end or new.start < e.start < new.end < e.end for e in entities
            )
            if new not in entities and (crossing or not crosses):
                entities.append(new)
    return Document(text, tuple(entities), "d")
