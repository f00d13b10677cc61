"""Dates of HTTP headers -> seconds since the epoch."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


def http_date(value: str) -> float | None:
    """Seconds since the epoch; None for what is no date."""
    try:
        if len(value) == 29 and value.endswith(" GMT"):
            # `Sun, 06 Nov 1994 08:49:37 GMT`, as nearly every server writes it: a tenth of the general parser's time.
            year, month, day = int(value[12:16]), _MONTHS[value[8:11]], int(value[5:7])
            hour, minute, second = int(value[17:19]), int(value[20:22]), int(value[23:25])
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, KeyError, OverflowError):
        return None
