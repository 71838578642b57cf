"""Which demonstrations fit into the model's window: as many as possible, and of those the nearest."""

from collections.abc import Callable, Sequence

ExamplePair = tuple[str, str]
"""A demonstration as it is shown: a text and its answer."""


def most_that_fit(sizes: Sequence[int], room: int) -> list[int]:
    """Which of these sizes, nearest first, to keep within `room`: as many as fit, and of all such choices the one with
    the nearest, then the next nearest ...
    """
    shortest = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    many, total = 0, 0
    while many < len(shortest) and total + sizes[shortest[many]] <= room:
        total += sizes[shortest[many]]
        many += 1
    kept: list[int] = []
    for number, size in enumerate(sizes):
        rest = sorted(sizes[number + 1 :])[: many - len(kept) - 1]
        if len(kept) < many and len(rest) == many - len(kept) - 1 and size + sum(rest) <= room:
            kept.append(number)
            room -= size
    return kept


def shortened(
    examples: Sequence[ExamplePair],
    *,
    measure: Callable[[Sequence[ExamplePair]], int],
    room: int,
) -> list[ExamplePair]:
    """The examples (nearest last) that fit, in their order.

    Args:
        measure: tokens of the whole prompt with these examples.
        room: tokens that the prompt may take up.
    """
    if not examples or measure(examples) <= room:
        return list(examples)
    empty = measure([])
    # Longer than it is by what introduces the examples, if anything does; so too many are never kept for its sake.
    sizes = [measure([example]) - empty for example in reversed(examples)]
    kept = most_that_fit(sizes, room - empty)
    while kept and measure([examples[-1 - i] for i in reversed(kept)]) > room:
        kept.pop()  # tokens across the seams; the farthest goes
    return [examples[-1 - i] for i in reversed(kept)]
