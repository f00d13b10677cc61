"""What is told of the configuration is made of the models: the reference, and the file that `migrator init` writes."""

import re
import runpy
from pathlib import Path

import pytest

from migrator.cli.template import KINDS, template
from migrator.core.config import Cleanup, Config, Destination, Section, Transfer, Variant
from migrator.core.errors import ConfigError
from migrator.core.loading import load
from migrator.core.schema import SOURCES

DOCS = Path(__file__).parent.parent / "docs"
SETTING = re.compile(r"^# (\w+ = )", re.MULTILINE)


def test_the_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "generate.py"))["reference"]()
    kept = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert kept == made, "run `python docs/generate.py`"


def test_every_key_is_described() -> None:
    models: tuple[type[Section], ...] = (Cleanup, Config, Destination, Transfer, Variant, *SOURCES.values())
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no description"


@pytest.mark.parametrize("kind", KINDS)
def test_the_template_loads_as_it_stands_and_shows_every_key_at_its_default(kind: str, tmp_path: Path) -> None:
    text = template(kind, "lots")
    path = tmp_path / "migrator.toml"
    path.write_text(text)
    config = load(path, {}, {})
    assert (config.name, config.sources[0].type) == ("lots", kind)

    shown = set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))
    known = {name for model in (Config, Cleanup, Destination, Transfer, SOURCES[kind]) for name in model.model_fields}
    tables = {"cleanup", "destination", "sources", "transfer", "update"}
    assert shown == known - tables

    path.write_text(SETTING.sub(r"\1", text))
    assert load(path, {}, {}) == config


def test_a_template_that_is_changed_wrongly_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "migrator.toml"
    path.write_text(template("directory").replace("# region", "regoin"))
    with pytest.raises(ConfigError) as raised:
        load(path, {}, {})
    assert raised.value.problems == ("destination.regoin: unknown key; nearest: region",)
