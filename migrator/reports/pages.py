"""How HTML pages are made: templates in `templates/`, every value escaped, nothing loaded from anywhere."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from migrator.core.secrets import mask_text
from migrator.reports import words

_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {127: 0x2421}
"""Control characters and the pictures of them (https://www.unicode.org/charts/PDF/U2400.pdf): no page may hold NUL."""


def template(name: str) -> Template:
    """The template called `name`."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("migrator.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters |= {"count": words.count, "size": words.size, "moment": words.moment, "duration": words.duration}
    return made


def _shown(value: object) -> object:
    """Text from outside without control characters and secrets; what a macro made stays as it is."""
    return mask_text(value).translate(_CONTROLS) if type(value) is str else value
