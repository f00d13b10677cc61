"""Whether what has changed at its source may take the place of what was stored: not where others hold its digest."""

from collections.abc import Sequence

from migrator.core.config import Config, SourceConfig, TableSource
from migrator.core.errors import ConfigError
from migrator.core.keys import names_in

_OF_THE_BYTES = {"sha256", "size", "content_type"}
"""What templates may say of an object that its key does not."""


def refuse_fixed_content(config: Config, chosen: Sequence[SourceConfig]) -> None:
    """Raises ConfigError where rows or keys of variants hold what only the bytes have that were stored."""
    for source in chosen:
        texts = [variant.key for variant in config.variants_of(source)]
        if isinstance(source, TableSource) and source.update:
            texts += source.update.set.values()
        held = sorted(_OF_THE_BYTES.intersection(names_in(texts)))
        if held:
            raise ConfigError(
                f"--changed: rows or variants of {source.name} hold {{{held[0]}}} of the objects that were stored",
                hint="name other sources by --source; what has changed of this one is listed by `migrator report`",
            )
