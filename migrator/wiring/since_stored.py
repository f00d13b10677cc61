"""What the configuration asks of objects and variants otherwise since some were stored: said once, with what helps."""

import json

from migrator.core.config import Config
from migrator.core.model import State
from migrator.core.ports import EventKind, Observer
from migrator.ledger.sqlite import SqliteLedger

_SEEN_BY_VERIFY = {"cache_control", "content_disposition", "metadata"}
_KEPT_ANYHOW = {"storage_class", "sse", "kms_key_id", "acl", "tags"}
_VARIANT = "variant "


async def tell_what_changed(config: Config, ledger: SqliteLedger, observer: Observer) -> None:
    """Says what of it is not so of objects that are stored, and keeps what is asked for now."""
    now = _asked_for(config)
    before = json.loads(await ledger.get_meta("asked_for") or "{}")
    if now == before:
        return
    await ledger.set_meta("asked_for", json.dumps(now))
    stored = sum(one.items for one in await ledger.tallies() if one.state is State.STORED)
    changed = {name for name in before.keys() & now.keys() if now[name] != before[name]} if stored else set()
    variants = sorted(name.removeprefix(_VARIANT) for name in changed if name.startswith(_VARIANT))
    since = f"since {stored:,} objects were stored"
    if names := ", ".join(sorted(changed & _SEEN_BY_VERIFY)):
        helps = "`migrator verify` names them, and `migrator retry --verified differ` stores them once more"
        observer.event(EventKind.NOTE, f"{names} changed {since}: they keep what they have; {helps}")
    if names := ", ".join(sorted(changed & _KEPT_ANYHOW)):
        observer.event(EventKind.NOTE, f"{names} changed {since}: they keep what they have")
    if variants:
        options = " ".join(f"--variant {name}" for name in variants)
        helps = f"those that stand stay as they are; `migrator retry {options}` makes them anew"
        observer.event(EventKind.NOTE, f"the variants {', '.join(variants)} changed {since}: {helps}")


def _asked_for(config: Config) -> dict[str, object]:
    asked: dict[str, object] = config.destination.model_dump(mode="json", include=_SEEN_BY_VERIFY | _KEPT_ANYHOW)
    # Another format is another image: `plan` says how many of these are lacking.
    return asked | {
        _VARIANT + each.name: each.model_dump(mode="json", exclude={"name", "formats"}) for each in config.variants
    }
