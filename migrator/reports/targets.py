"""Which rows a configuration updates. A module of its own: it loads the configuration, which help does not wait for."""

from migrator.core.config import Config, TableSource
from migrator.reports.rows import Target


def targets_of(config: Config) -> dict[str, Target]:
    """Of every source that updates rows, by its name."""
    return {
        source.name: Target(source.update.table, source.primary_key, tuple(source.update.set))
        for source in config.sources
        if isinstance(source, TableSource) and source.update
    }
