"""How long to wait before a request is repeated: exponential back-off with jitter, or what the server asks for."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random


def wait_time(attempt: int, first: float, longest: float, random: Random) -> float:
    """Seconds before repetition number `attempt` (from 0): `first` x 2^attempt, at most `longest`, half of it random.

    The random half keeps requests that failed together from coming back together.
    """
    whole = min(longest, first * 2.0 ** min(attempt, 30))
    return whole * (0.5 + 0.5 * random.random())


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait; None if it does not say so, or not legibly.

    `Retry-After` holds seconds or a date; `retry-after-ms`, which OpenAI sends, holds milliseconds and is more exact.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        if not said:
            continue
        try:
            seconds = float(said) * unit
        except ValueError:
            try:
                until = parsedate_to_datetime(said)
            except ValueError:
                continue
            if until.tzinfo is None:
                until = until.replace(tzinfo=UTC)
            seconds = (until - (now or datetime.now(UTC))).total_seconds()
        if seconds == seconds:  # no NaN
            return max(0.0, seconds)
    return None
