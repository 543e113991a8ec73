"""What a task run depends on, as columns of its row: the edges of the graph of a flow run."""

from uuid import UUID

from domain.task_run import FlowRunResult, TaskInputs, TaskRunResult
from projections.documents import as_json
from projections.rows import Row

PARENTS = "__parents__"
"""The input by which clients name the task runs that a task was called in (client 3.x)."""


def dependency_columns(inputs: TaskInputs) -> Row:
    """The runs that task inputs are results of, each once, in the order in which they are first named."""
    upstream: dict[UUID, None] = {}
    encapsulating: dict[UUID, None] = {}
    named: dict[UUID, TaskRunResult | FlowRunResult] = {}
    for name, values in inputs.items():
        for value in values:
            if isinstance(value, TaskRunResult | FlowRunResult):
                (encapsulating if name == PARENTS else upstream)[value.id] = None
                named.setdefault(value.id, value)
    return {
        "upstream": list(upstream),
        "encapsulating": list(encapsulating),
        "dependencies": as_json(list(named.values())).decode(),
    }
