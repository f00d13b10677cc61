"""Config -> adapters -> engine. `adapters` alone names concrete classes; the rest is what the commands call."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrator.core.config import Config
from migrator.core.loading import load
from migrator.engine.run import Result, RunOptions
from migrator.wiring.adapters import view
from migrator.wiring.checking import Check, setup, smoke, test_connection
from migrator.wiring.moving import PlanResult, migrate, plan, retry

__all__ = [
    "Check",
    "PlanResult",
    "Result",
    "RunOptions",
    "load_config",
    "migrate",
    "plan",
    "retry",
    "setup",
    "smoke",
    "test_connection",
    "view",
]


def load_config(path: Path, flags: Mapping[str, Any]) -> Config:
    """File, environment and flags as one Config. Raises ConfigError with every problem at once."""
    return load(path, os.environ, flags)
