"""Writes the pages of docs/reference that are made of the code: `python docs/generate.py`."""

from collections.abc import Iterator
from pathlib import Path

from migrator.core.config import (
    BucketSource,
    Cleanup,
    Config,
    Destination,
    DirectorySource,
    ManifestSource,
    Section,
    SourceBase,
    TableSource,
    Transfer,
    Update,
    Variant,
)
from migrator.core.keys import PATH_NAMES, STORED_NAMES
from migrator.core.schema import LATER, choices, default_text, form_of
from migrator.core.values import Form

PAGE = Path(__file__).parent / "reference" / "configuration.md"

_HEAD = """\
# migrator.toml

<!-- Made by docs/generate.py of migrator/core/config.py. Change it there. -->

`migrator init` writes a file with every key in it. Unknown keys, wrong types and combinations that cannot work are
refused before anything runs, all of them at once, and the process ends with status 2.

Flags beat the environment, the environment beats the file. The variable of a key is its path in capitals, parted by two
underscores: `MIGRATOR_DESTINATION__BUCKET=photos`, `MIGRATOR_SOURCES__0__ALLOW_PRIVATE=true`. Text is taken as it is;
numbers, `true` and `false`, lists and tables are written as in TOML: `["a", "b"]`. An unknown variable that begins with
`MIGRATOR_` is an error. `MIGRATOR_CONFIG` names the file.

Credentials come from the usual AWS places (environment, profile, SSO, instance role), never from the file.

Paths are relative to the working directory. Sizes: `"10MB"` is 10^7 bytes, `"10MiB"` is 10 * 2^20, a bare number is
bytes. Durations: `"500ms"`, `"30s"`, `"1h30m"`, `"7d"`.
"""

_PLACE = """\
Exactly one of `bucket` and `url` is given. Beside `url` only `prefix`, `on_conflict`, `metadata` and `public_url`
have a meaning; the other keys are refused.
"""

_TEMPLATES = """\
## Templates

Text with names in braces; `{{{{` and `}}}}` are braces. Nothing else is understood: no attributes, no indexing, no
format specs. An unknown name is an error that lists the known ones.

| where | names |
|---|---|
| `key` | {path_names}, the named groups of `match`; in a `json`, `jsonl` or `csv` manifest also the plain \
fields of the object or row in which the location stood |
| `metadata`, `tags` | the same, {stored_names}, and `{{variant.NAME.FORMAT.key}}` and `.url` of each variant \
(`{{variant.NAME.key}}` where it has one format) |
| `key` of a variant | the same without `{{variant...}}`, and `{{format}}` |

A location's path is percent-decoded once; a query string is no part of it. `{{url}}` needs `public_url`.
Where two have one name, a group of `match` comes before a part of the path, and that before a field.
"""

_LATER = """\
## Not available yet

Refused by name, so that nothing is silently left undone: {sections}.
"""


def reference() -> str:
    """The text of docs/reference/configuration.md."""
    return "\n".join(
        [
            _HEAD,
            *_table("The migration", Config, ("name", "checkpoint_dir")),
            *_table("[destination]", Destination),
            _PLACE,
            *_table("[[sources]]", SourceBase),
            *_table('[[sources]] with type = "directory"', DirectorySource, _own(DirectorySource)),
            *_table('[[sources]] with type = "manifest"', ManifestSource, _own(ManifestSource)),
            *_table('[[sources]] with type = "bucket"', BucketSource, _own(BucketSource)),
            *_table('[[sources]] with type = "table"', TableSource, _own(TableSource)),
            *_table("[sources.update]", Update),
            *_table("[[variants]]", Variant),
            *_table("[transfer]", Transfer),
            *_table("[cleanup]", Cleanup),
            _TEMPLATES.format(path_names=_names(PATH_NAMES), stored_names=_names(STORED_NAMES)),
            _LATER.format(sections=", ".join(f"`{name}`" for name in LATER)),
        ]
    )


def _own(model: type[Section]) -> tuple[str, ...]:
    return tuple(name for name in model.model_fields if name not in SourceBase.model_fields)


def _names(names: tuple[str, ...]) -> str:
    return " ".join(f"`{{{name}}}`" for name in names)


def _table(title: str, model: type[Section], keys: tuple[str, ...] = ()) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{model.__doc__}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for name in keys or tuple(model.model_fields):
        field = model.model_fields[name]
        options = choices(field)
        kind = ", ".join(f'`"{option}"`' for option in options) if options else _kind(form_of(field))
        default = default_text(field)
        yield f"| `{name}` | {kind} | {f'`{default}`' if default else 'required'} | {field.description} |"
    yield ""


def _kind(form: Form) -> str:
    return form.word + (form.expected.partition(" number")[2] if form.word == "number" else "")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
