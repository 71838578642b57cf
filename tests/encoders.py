"""Tiny random encoders, and made-up texts in which entities are easy to find."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizer

from genner.document import Document, Entity, LabelSet

LABELS = LabelSet.of("PER", "LOC")
MADE_UP = [
    "Ada met Bob in Rome",
    "Bob left Paris",
    "Rome is old",
    "Ada Bo went to New Oslo",
    "Nobody was here",
    "In Paris Bob met Ada",
    "the Oslo of Ada",
    "Bo , Bob and Ada",
]
_NAMES = {"Ada": "PER", "Bob": "PER", "Ada Bo": "PER", "Bo": "PER", "Rome": "LOC", "Paris": "LOC", "New Oslo": "LOC"}


def made_up(nested: bool = False) -> list[Document]:
    """The texts with their entities; `nested`: with shorter names within longer ones."""
    documents = []
    for text in MADE_UP:
        spans = [
            (at, at + len(name), label)
            for name, label in [*_NAMES.items(), ("Oslo", "LOC")]
            for at in range(len(text))
            if f" {text} ".startswith(f" {name} ", at)
        ]
        kept = [
            (s, e, label)
            for s, e, label in spans
            if nested or not any(a <= s and e <= b and (a, b) != (s, e) for a, b, _ in spans)
        ]
        documents.append(Document(text, tuple(Entity(*span) for span in kept)))
    return documents


def save_encoder(folder: Path) -> Path:
    """Write a BERT of two layers of width 32, with a vocabulary of characters and words, and 64 positions."""
    letters = [chr(c) for c in range(33, 127)]
    words = sorted({word for text in MADE_UP for word in text.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *words]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False)
    tokenizer.model_max_length = 64
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
