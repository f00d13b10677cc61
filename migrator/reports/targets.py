"""What a configuration wants of rows and images. A module of its own: it loads the configuration, which help does not
wait for.
"""

from migrator.core.config import Config, TableSource
from migrator.reports.rows import Target
from migrator.reports.variants import Configured


def targets_of(config: Config) -> dict[str, Target]:
    """Of every source that updates rows, by its name."""
    return {
        source.name: Target(source.update.table, source.primary_key, tuple(source.update.set))
        for source in config.sources
        if isinstance(source, TableSource) and source.update
    }


def variants_of(config: Config) -> Configured:
    """The variants of the images of every source that has some, by its name."""
    named = {
        source.name: tuple((each.name, form) for each in config.variants_of(source) for form in each.formats)
        for source in config.sources
    }
    return {name: pairs for name, pairs in named.items() if pairs}
