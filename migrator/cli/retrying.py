"""The command that puts back in the queue what failed, or what is to be made once more."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, SourceNames, Verified
from migrator.cli.output import Output
from migrator.cli.summary import command
from migrator.core.errors import ConfigError

if TYPE_CHECKING:
    from migrator.wiring import Again


Faults = Annotated[
    list[str] | None, typer.Option("--fault", metavar="FAULT", help="Only this fault; may be given several times.")
]
RolledBack = Annotated[
    bool, typer.Option("--rolled-back", help="Not what failed, but what `migrator rollback` has undone.")
]
Changed = Annotated[
    bool, typer.Option("--changed", help="Not what failed, but stored objects whose sources have changed since.")
]
VariantNames = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Not what failed, but stored variants of this name, to be made as it is configured now; may be given"
        " several times.",
    ),
]


def retry(
    fault: Faults = None,
    rolled_back: RolledBack = False,
    verified: Verified = None,
    changed: Changed = False,
    variant: VariantNames = None,
    config_file: ConfigFile = CONFIG_FILE,
    source: SourceNames = None,
    as_json: Json = False,
) -> int:
    """Put failed items back in the queue.

    What `verify` found missing is stored again from its source. What differs is replaced only where nothing is lost:
    when it was damaged where it stands, carries headers that are no longer asked for, stays beneath as a version, or is
    backed up (on_conflict = "overwrite"). What has changed at its source, and variants that are made anew, take the
    place of what was stored, and of nothing else.

    \b
    Examples:
      migrator retry                       all failed items
      migrator retry --fault transient     those of one fault
      migrator retry --fault gone --fault forbidden --source lots
      migrator retry --rolled-back         what was rolled back: `migrator migrate` moves it again
      migrator retry --verified missing    what `migrator verify` did not find
      migrator retry --changed             what the last scan saw changed since it was stored
      migrator retry --variant thumb       thumbnails, after their size or quality was changed in the configuration
    """
    from migrator import wiring
    from migrator.core.verification import Match

    chosen = {"--fault": fault, "--rolled-back": rolled_back, "--verified": verified, "--changed": changed}
    _refuse_several(chosen | {"--variant": variant})
    _refuse_unknown_faults(fault or ())
    again = wiring.Again(
        tuple(fault or ()),
        rolled_back,
        tuple(Match(each.value) for each in verified or ()),
        changed,
        tuple(variant or ()),
    )
    items, records, variants = wiring.retry(wiring.load_config(config_file, {}), again, tuple(source or ()))
    output = Output(as_json=as_json)
    if as_json:
        output.emit({"planned": items, "records": records, "variants": variants})
    elif said := _counted(items, records, variants):
        output.say([f"{said} planned again; `{command('migrate', config_file)}` tries them"])
    else:
        output.say([f"nothing {_sought(again)}; nothing changed"])
    return 0


def _counted(items: int, records: int, variants: int) -> str:
    from migrator.reports import words

    counted = ((items, "item"), (records, "row"), (variants, "variant"))
    return " and ".join(words.count(number, word) for number, word in counted if number)


def _sought(again: "Again") -> str:
    """What there was nothing of."""
    if again.verified:
        return f"that the last verify found {' or '.join(again.verified)} could be stored again"
    if again.changed:
        return "that is stored was seen to have changed since by the last scan (`migrator plan` looks)"
    if again.variants:
        return f"of {', '.join(again.variants)} is stored"
    return "was rolled back" if again.rolled_back else "of that kind has failed"


def _refuse_several(chosen: Mapping[str, object]) -> None:
    """Raises ConfigError for options that do not go together."""
    given = [option for option, value in chosen.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{given[0]} and {given[1]} exclude each other: each says for itself what is planned again")


def _refuse_unknown_faults(faults: Sequence[str]) -> None:
    from migrator.core.model import Fault

    unknown = sorted(set(faults) - set(Fault))
    if unknown:
        raise ConfigError(f"--fault {unknown[0]}: there is no such fault", hint=f"faults are {', '.join(Fault)}")


commands: dict[str, Callable[..., Any]] = {"retry": retry}
