"""What rules say about task runs that no recorded transition shows."""

import pytest

from tests.domain.conftest import Desk, proposed


@pytest.mark.parametrize("ended", ["FAILED", "CRASHED", "CANCELLED"])
def test_a_task_run_of_orion_that_ended_runs_again_only_in_a_next_attempt_of_its_flow_run(
    desk: Desk, ended: str
) -> None:
    desk.dialect = "orion"
    flow_run = desk.flow_run()
    desk.propose("flow", flow_run, proposed("RUNNING"), force=True)
    task_run = desk.task_run(flow_run)
    for type in ("RUNNING", ended):
        assert desk.propose("task", task_run, proposed(type)).status == "ACCEPT"

    refused = desk.propose("task", task_run, proposed("RUNNING"))
    assert (refused.status, refused.details["reason"]) == ("ABORT", "This run has already terminated.")

    desk.propose("flow", flow_run, proposed("RUNNING"), force=True)
    again = desk.propose("task", task_run, proposed("RUNNING"))
    assert again.state is not None
    assert (again.status, again.state.name, desk.run(task_run).run_count) == ("ACCEPT", "Retrying", 1)
