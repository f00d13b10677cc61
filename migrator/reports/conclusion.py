"""How a migration stands, in one sentence."""

from migrator.core.model import State
from migrator.core.records import RecordState
from migrator.reports import words
from migrator.reports.overview import Overview


def conclusion(seen: Overview) -> tuple[str, str]:
    """(`Complete`, `Finished with gaps` or `Not finished`; the sentence that says why)."""
    if seen.to_move:
        verb = "is" if seen.to_move == 1 else "are"
        return "Not finished", f"{words.count(seen.to_move, 'object')} {verb} still to be moved."
    if not seen.complete:
        return "Not finished", "the scan is incomplete."
    if seen.rows_to_update:
        verb = "is" if seen.rows_to_update == 1 else "are"
        return "Not finished", f"{words.count(seen.rows_to_update, 'row')} {verb} still to be updated."
    if seen.planned_variants:
        verb = "is" if seen.planned_variants == 1 else "are"
        return "Not finished", f"{words.count(seen.planned_variants, 'variant')} {verb} still to be made."
    if seen.items(State.FAILED) or seen.records(RecordState.FAILED) or seen.problem_count or seen.failed_variants:
        failed, problems = words.count(seen.items(State.FAILED), "object"), words.count(seen.problem_count, "problem")
        rows = f"{words.count(seen.records(RecordState.FAILED), 'row')} not updated, " if seen.rows else ""
        unmade = sum(seen.failed_variants.values())
        variants = f"{words.count(unmade, 'variant')} not made, " if unmade else ""
        return "Finished with gaps", f"{failed} failed, {variants}{rows}{problems} in the sources."
    rows = ", and every row that refers to one says so" if seen.rows else ""
    return "Complete", f"every object that the sources list stands in the destination{rows}."
