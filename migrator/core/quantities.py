"""Sizes and durations: how they are written, and what they come to."""

import re
from decimal import Decimal

SIZE_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGTP", 1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

A_SIZE = 'a size such as 1048576, "10MB" (10^7 bytes) or "10MiB" (10 * 2^20)'
A_DURATION = 'a duration such as "500ms", "30s", "1h30m" or "7d"'
"""What errors and the reference say is expected."""


def parse_size(value: object) -> int:
    """Bytes of `"10MB"` (10^7), `"10MiB"` (10 * 2^20) or a bare number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", value.strip()) if isinstance(value, str) else None
    if not found or found[2] not in SIZE_UNITS:
        raise ValueError(f"expected {A_SIZE}")
    return int(Decimal(found[1]) * SIZE_UNITS[found[2]])


def parse_duration(value: object) -> float:
    """Seconds of `"500ms"`, `"30s"`, `"1h30m"`, `"7d"`. Raises ValueError."""
    found = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", value) if isinstance(value, str) else []
    if not found or "".join(number + unit for number, unit in found) != value:
        raise ValueError(f"expected {A_DURATION}")
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in found)


def size_text(size: int) -> str:
    """A size as the file has it, in the largest unit that leaves a whole number."""
    whole = [unit for unit, factor in SIZE_UNITS.items() if unit.endswith("iB") and size and size % factor == 0]
    return f"{size // SIZE_UNITS[whole[-1]]}{whole[-1]}" if whole else f"{size}B"


def duration_text(seconds: float) -> str:
    """A duration as the file has it."""
    if seconds >= DURATION_UNITS["d"] and seconds % DURATION_UNITS["d"] == 0:
        return f"{seconds / DURATION_UNITS['d']:g}d"
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
