"""The numbers of a report as text: rounded by their kind, with intervals, standard deviations and tests."""

from genner.report.table import MISSING_MARKS, Entry, Missing, TableText, Value, ValueKind


def shown(entry: Entry) -> str:
    """An entry as plain text, rounded, without interval and mark; the minus sign is U+2212."""
    match entry:
        case TableText(text):
            return text
        case Missing(why):
            return MISSING_MARKS.get(why, why)
        case Value(number, kind):
            return _written(number, kind)


def interval_text(value: Value) -> str:
    """The interval and the standard deviation over seeds, `69.2 to 74.7; sd 0.3`; or the standard error, `± 0.3`."""
    spread = _bound(abs(value.spread), value.kind).lstrip("+") if value.spread is not None else ""
    if value.interval:
        interval = " to ".join(_bound(x, value.kind) for x in value.interval)
        return f"{interval}; sd {spread}" if spread else interval
    return f"{'sd' if 'seeds' in value.part else '±'} {spread}" if spread else ""


def difference_text(value: Value) -> str:
    """The test behind a mark, in words: the tested difference, its interval, and p; empty without a test."""
    p = f"p = {value.p:.4f}" if value.p is not None else ""
    if value.against is None:
        return p
    d = value.against
    points = Value(d.value, "points", d.low if d.known else None, d.high if d.known else None)
    interval = f" ({interval_text(points)})" if d.known else ""
    return f"{shown(points)} points against the best{interval}, {p}"


def _written(number: float, kind: ValueKind) -> str:
    match kind:
        case "f1" | "gap":
            text = _signed(f"{100 * number:.2f}")
        case "percent":
            text = _signed(f"{100 * number:.1f}")
        case "points":
            text = _signed(f"{100 * number:+.2f}")
        case "count":
            text = f"{number:,.0f}"
        case "seconds":
            text = f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.3f}"
        case "minutes":
            text = f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
        case "number":
            text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    return text.replace("-", "\u2212")


def _bound(number: float, kind: ValueKind) -> str:
    match kind:
        case "f1" | "percent" | "gap":
            text = _signed(f"{100 * number:.1f}")
        case "points":
            text = _signed(f"{100 * number:+.1f}")
        case _:
            return _written(number, kind)
    return text.replace("-", "\u2212")


def _signed(text: str) -> str:
    """The number without the sign of a rounded zero."""
    return text.lstrip("+-") if not text.strip("+-0.") else text
