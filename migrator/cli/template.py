"""The commented migrator.toml that `migrator init` writes: every key of the models, with its help and its default."""

import json
import textwrap
from collections.abc import Iterator, Mapping

from migrator.core.config import Cleanup, Destination, Section, Transfer
from migrator.core.schema import SOURCES, choices, default_text, form_of

KINDS = tuple(SOURCES)

_HEAD = """\
# A migration of `migrator`. Check it with `migrator plan`, start it with `migrator migrate`; a run that was stopped
# goes on where it was.
#
# Keys behind a `#` stand at their defaults. Each can be given by the environment too: MIGRATOR_DESTINATION__BUCKET.
# Credentials come from the usual AWS places (environment, profile, SSO, instance role), never from this file.
"""

_VARIANTS = """\
# Images made on the way, one such table for each; docs/reference/configuration.md has all keys.
#
#   [[variants]]
#   name = "thumbnail"
#   key = "thumbnails/{path}.{format}"
#   width = 300
#   height = 300
#   formats = ["avif", "jpeg"]
"""

_UPDATE = """\
# What becomes of the row when its object has arrived; `migrator setup` adds the columns that are missing.
#
#   [sources.update]
#   table = "images"
#   set = { new_key = "{key}", sha256 = "{sha256}" }
#   add_columns = { new_key = "VARCHAR(1024)", sha256 = "CHAR(64)" }
"""

_EXAMPLES: Mapping[str, Mapping[str, object]] = {
    "destination": {"bucket": "my-bucket"},
    "directory": {"type": "directory", "root": "data", "key": "{path}"},
    "manifest": {
        "type": "manifest",
        "files": "data/**/*.json",
        "fields": ["image_url"],
        "key": "{path}",
    },
    "bucket": {"type": "bucket", "bucket": "my-old-bucket", "key": "{path}"},
    "table": {
        "type": "table",
        "database_url_env": "DATABASE_URL",
        "query": "SELECT id, image_path FROM images",
        "primary_key": ["id"],
        "location": "s3://my-old-bucket/{image_path}",
        "key": "images/{id}/{name}",
    },
    "transfer": {},
    "cleanup": {},
}
"""The values that a file needs; the operator changes them first."""

_WIDTH = 116


def template(kind: str, name: str = "my-migration") -> str:
    """The text of a migrator.toml with one source of type `kind`; it loads as it stands."""
    lines = [
        *_HEAD.splitlines(),
        "",
        "# Names the migration and its ledger.",
        f"name = {json.dumps(name)}",
        "",
        "# Folder of the ledger and the log; on a disk of this machine.",
        '# checkpoint_dir = "checkpoints"',
        "",
        "[destination]",
        *_keys(Destination, _EXAMPLES["destination"]),
        "",
        "# One such table for each source.",
        "[[sources]]",
        *_keys(SOURCES[kind], _EXAMPLES[kind]),
        *(["", *_UPDATE.splitlines()] if "update" in SOURCES[kind].model_fields else []),
        "",
        *_VARIANTS.splitlines(),
        "",
        "[transfer]",
        *_keys(Transfer, _EXAMPLES["transfer"]),
        "",
        *textwrap.wrap(f"# {Cleanup.__doc__}", _WIDTH),
        "[cleanup]",
        *_keys(Cleanup, _EXAMPLES["cleanup"]),
    ]
    return "\n".join(lines) + "\n"


def _keys(model: type[Section], given: Mapping[str, object]) -> Iterator[str]:
    """The lines of one table: what must be changed first, then the defaults, each below its help."""
    for name in (*given, *(name for name in model.model_fields if name not in given)):
        field = model.model_fields[name]
        if form_of(field).expected == "a table":
            continue  # shown as a table of its own
        options = f" Expects {form_of(field).expected}." if len(choices(field)) > 1 else ""
        help_text = f"{field.description}{options}"
        if name != "type":
            yield ""
            yield from textwrap.wrap(help_text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
        if name in given:
            yield f"{name} = {json.dumps(given[name])}"
        else:
            yield f"# {name} = {default_text(field)}"
