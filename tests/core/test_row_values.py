"""Values of rows survive their way through the ledger exactly, and the same value is always the same text."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.core.row_values import read_key, read_values, spelled, spelled_key

# Whole seconds: no database has finer ones, and Python 3.11 reads 0.000001 s as none.
zones = st.none() | st.integers(-82_800, 82_800).map(lambda seconds: timezone(timedelta(seconds=seconds)))
text = st.text(st.characters(exclude_categories=())) | st.sampled_from(["$decimal", "$object", "$text", "\ud83d\ude00"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    text,
    st.binary(),
    st.decimals(),
    st.uuids(),
    st.dates(),
    st.times(timezones=zones),
    st.datetimes(timezones=zones),
    st.timedeltas(),
    st.ip_addresses(),
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=8)


def same(one: object, other: object) -> bool:
    """Equal and of one type all the way down; NaN is NaN, 0.0 is not -0.0, 1.10 is not 1.1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, datetime | time) and isinstance(other, datetime | time):
        return repr(one) == repr(other.replace(fold=0))  # no column has a fold
    if isinstance(one, float | Decimal):
        return repr(one) == repr(other)
    return one == other


@given(st.dictionaries(text, values))
def test_a_row_survives(row: dict[str, object]) -> None:
    written = spelled(row)
    written.encode()
    assert same(read_values(written), row)
    assert spelled(read_values(written)) == written


@given(st.lists(values))
def test_a_key_survives(key: list[object]) -> None:
    written = spelled_key(key)
    written.encode()
    assert same(read_key(written), tuple(key))
    assert spelled_key(read_key(written)) == written


@given(st.dictionaries(text, scalars, min_size=2))
def test_the_order_of_columns_does_not_show(row: dict[str, object]) -> None:
    assert spelled(row) == spelled(dict(reversed(row.items())))


def test_plain_values_are_plain_json() -> None:
    row = {"title": 'Lot 7, "blue"', "n": 7, "price": 1.5, "sold": True, "note": None, "tags": ["a", {"b": 1}]}
    assert json.loads(spelled(row)) == row
    assert spelled_key([17, "a"]) == '[17,"a"]'


def test_what_json_lacks_says_what_it_is() -> None:
    row = {"price": Decimal("1.10"), "id": UUID(int=7), "at": datetime(2026, 1, 2, 3, tzinfo=UTC)}
    assert json.loads(spelled(row)) == {
        "price": {"$decimal": "1.10"},
        "id": {"$uuid": "00000000-0000-0000-0000-000000000007"},
        "at": {"$datetime": "2026-01-02T03:00:00+00:00"},
    }
    assert json.loads(spelled({"day": date(2026, 1, 2), "at": time(3, 4)})) == {
        "day": {"$date": "2026-01-02"},
        "at": {"$time": "03:04:00"},
    }


def test_values_of_drivers_are_taken() -> None:
    assert spelled_key([memoryview(b"ab"), bytearray(b"ab")]) == spelled_key([b"ab", b"ab"])
    addresses = (ip_address("10.0.0.1"), ip_interface("10.0.0.1/8"), ip_network("10.0.0.0/8"))
    assert read_key(spelled_key(addresses)) == addresses
    assert read_key(spelled_key([math.inf])) == (math.inf,)


def test_a_foreign_type_is_refused_by_the_name_of_its_column() -> None:
    with pytest.raises(TypeError, match=r"column b holds a value of the type set.*cast it to text"):
        spelled({"a": 1, "b": {1}})
    with pytest.raises(TypeError, match="the key holds a value of the type object"):
        spelled_key([object()])
    with pytest.raises(TypeError, match="column b holds an object whose names are no text"):
        spelled({"b": {1: 2}})
