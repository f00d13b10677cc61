"""Numbers and times as people read them."""

import pytest

from migrator.core.model import Fault, Skip
from migrator.core.objects import Digest
from migrator.reports import words


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (98_200_000, "98.2 MB"), (999_600, "1.00 MB"), (5e15, "5.00 PB")],
)
def test_sizes(number: float, text: str) -> None:
    assert words.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (12.4, "12 s"), (192, "3 min 12 s"), (7500, "2 h 05 min"), (3 * 86400 + 4 * 3600, "3 d 04 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_counts_and_reasons() -> None:
    assert [words.count(1, "object"), words.count(1234, "object"), words.count(2, "retry", "retries")] == [
        "1 object",
        "1,234 objects",
        "2 retries",
    ]
    assert words.reasons({"gone": 2, "invalid": 30, "changed": 0}) == "invalid 30, gone 2"
    assert (words.rate(0.44), words.rate(1214.3)) == ("0.4", "1,214")
    assert words.clock(3 * 3600 + 62) == "3:01:02"
    assert words.moment(0) == "1970-01-01T00:00:00Z"


def test_every_fault_reason_and_digest_is_explained() -> None:
    assert words.MEANING.keys() >= {*Fault, *Skip}
    assert words.ADVICE.keys() == set(Fault)
    assert words.DIGESTS.keys() == set(Digest)
