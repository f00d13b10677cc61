"""What went wrong, as report.html explains it: how much, what it means, what to do, and the first of it."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from migrator.reports import words
from migrator.reports.overview import Overview
from migrator.reports.rollbacks import RolledBack, left_tree
from migrator.reports.verification import Verified


class Example(Struct, frozen=True):
    """One thing that went wrong; `target` is its key where that is not its name, `more` what else is known."""

    name: str
    target: str
    message: str
    more: str = ""


class Trouble(Struct, frozen=True):
    """All that went wrong in one way. `meaning` and `advice` may hold commands between backticks."""

    name: str
    many: str
    meaning: str
    advice: str
    examples: tuple[Example, ...]
    more: str = ""


def failed_objects(seen: Overview) -> Iterator[Trouble]:
    """Objects that were not moved, by fault."""
    for fault, number in seen.failed.items():
        examples = tuple(
            Example(item.location, item.key, item.message, _tries(item.attempts))
            for item in seen.examples.get(fault, ())
        )
        many, more = words.count(number, "object"), more_than(number, len(examples))
        yield Trouble(fault, many, words.MEANING[fault], words.ADVICE[fault], examples, more)


def failed_variants(seen: Overview) -> Iterator[Trouble]:
    """Variants that were not made, by fault."""
    for fault, number in seen.failed_variants.items():
        first = seen.variant_examples.get(fault)
        examples = (Example(first.original, f"{first.name}.{first.format}", first.message),) if first else ()
        meaning, advice = _words(fault, words.VARIANT_MEANING, words.VARIANT_ADVICE)
        many = f"{words.count(number, 'variant')} not made"
        yield Trouble(fault, many, meaning, advice, examples, more_than(number, len(examples)))


def unmade_rows(seen: Overview) -> Iterator[Trouble]:
    """Rows that were not updated, by fault; the first of them stand in a list of their own."""
    for fault, number in seen.failed_records.items():
        meaning, advice = _words(fault, words.ROW_MEANING, words.ROW_ADVICE)
        yield Trouble(fault, f"{words.count(number, 'row')} not updated", meaning, advice, ())


def unlike_objects(seen: Verified) -> Iterator[Trouble]:
    """What does not match, by result."""
    for result, number in seen.counts.items():
        examples = tuple(
            Example(each.key, each.variant and f"variant {each.variant}", each.message)
            for each in seen.first
            if each.result == result
        )
        many = words.count(number, "key" if result == words.EXTRA else "object")
        yield Trouble(result, many, words.MATCH_MEANING[result], words.MATCH_ADVICE[result], examples)


def left_things(seen: RolledBack) -> Iterator[Trouble]:
    """What a rollback left alone, by fault; only the first things are known by name."""
    for fault in dict.fromkeys(each.fault for each in seen.first):
        some = [each for each in seen.first if each.fault is fault]
        examples = tuple(Example(each.name, "", each.message, f"{each.kind} of {each.source}") for each in some)
        advice = str(left_tree(some[0])["what_to_do"])
        yield Trouble(fault, "left alone", words.LEFT_MEANING.get(fault, words.MEANING[fault]), advice, examples)


def more_than(number: int, shown: int, command: str = "") -> str:
    """`and 12 more`, and the command that lists them all; empty where all are shown."""
    if number <= shown:
        return ""
    return f"And {words.count(number - shown)} more" + (f": `{command}` lists all." if command else ".")


def _tries(number: int) -> str:
    return words.count(number, "try", "tries") if number else ""


def _words(fault: str, meaning: Mapping[str, str], advice: Mapping[str, str]) -> tuple[str, str]:
    return meaning.get(fault, words.MEANING[fault]), advice.get(fault, words.ADVICE[fault])
