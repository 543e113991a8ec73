"""The rows by which it can be asked which flow runs were in which state at some time in the past."""

from datetime import datetime

from domain.flow_run import FlowRun, Stretch
from domain.states import TERMINAL
from projections.rows import Row, RowChanges
from projections.tables import FLOW_RUN_INTERVALS
from projections.tag_keys import keys_of_tags


def project_intervals(changes: RowChanges, run: FlowRun, first_version: int) -> None:
    """The rows of the stretches of a run's life that began or ended with its event of `first_version` or a later one.

    A stretch that turns out to have lasted no time loses its row.
    """
    ended, has_just_ended = (run.updated, True) if run.deleted else (None, False)
    for stretch in reversed(run.stretches):
        has_just_begun = stretch.version >= first_version
        if not (has_just_begun or has_just_ended):
            break
        if ended is None or ended > stretch.began:
            changes.write(FLOW_RUN_INTERVALS, _row(run, stretch, ended))
        elif not has_just_begun:
            changes.drop(FLOW_RUN_INTERVALS, {"flow_run_id": run.id, "version": stretch.version})
        ended, has_just_ended = stretch.began, has_just_begun


def _row(run: FlowRun, stretch: Stretch, ended: datetime | None) -> Row:
    return {
        "flow_run_id": run.id,
        "version": stretch.version,
        "began": stretch.began,
        "ended": ended,
        "flow_id": run.flow_id,
        "deployment_id": run.deployment_id,
        # The enumeration itself takes ten times as long to be written as JSON.
        "state_type": stretch.state_type and stretch.state_type.value,
        "state_name": stretch.state_name,
        "terminal": stretch.state_type in TERMINAL,
        "tag_keys": keys_of_tags(stretch.tags),
    }
