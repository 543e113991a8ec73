"""What filters look like: the fields and questions of the recorded server, and refusals of everything else."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from domain.ids import new_id
from domain.states import StateType
from projections.filters import (
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    LogFilter,
    TaskRunFilter,
    WorkerFilter,
    WorkPoolFilter,
    WorkQueueFilter,
)

STRANGER = str(new_id())

# What each field may be asked, as server 3.9.1 publishes it, and one field of deployments that 2.7.12 has.
QUESTIONS = {
    FlowFilter: {
        "id": "any_ not_any_",
        "name": "any_ like_",
        "tags": "all_ is_null_ operator",
        "deployment": "is_null_ operator",
    },
    FlowRunFilter: {
        "id": "any_ not_any_",
        "name": "any_ like_",
        "tags": "all_ any_ is_null_ operator",
        "deployment_id": "any_ is_null_ operator",
        "work_queue_name": "any_ is_null_ operator",
        "state": "name operator type",
        "flow_version": "any_",
        "start_time": "after_ before_ is_null_",
        "end_time": "after_ before_ is_null_",
        "expected_start_time": "after_ before_",
        "next_scheduled_start_time": "after_ before_",
        "parent_flow_run_id": "any_ operator",
        "parent_task_run_id": "any_ is_null_ operator",
        "idempotency_key": "any_ not_any_",
        "created_by": "id_ is_null_ operator type_",
    },
    DeploymentFilter: {
        "id": "any_ not_any_",
        "name": "any_ like_",
        "flow_or_deployment_name": "like_",
        "paused": "eq_",
        "is_schedule_active": "eq_",
        "tags": "all_ any_ is_null_ operator",
        "work_queue_name": "any_",
        "concurrency_limit": "ge_ is_null_ le_",
    },
    TaskRunFilter: {
        "id": "any_",
        "name": "any_ like_",
        "tags": "all_ is_null_ operator",
        "state": "name operator type",
        "start_time": "after_ before_ is_null_",
        "end_time": "after_ before_ is_null_",
        "expected_start_time": "after_ before_",
        "subflow_runs": "exists_",
        "flow_run_id": "any_ is_null_ operator",
    },
    LogFilter: {
        "level": "ge_ le_",
        "timestamp": "after_ before_",
        "flow_run_id": "any_",
        "task_run_id": "any_ is_null_",
        "text": "query",
    },
    WorkPoolFilter: {"id": "any_", "name": "any_", "type": "any_"},
    WorkQueueFilter: {"id": "any_", "name": "any_ startswith_"},
    WorkerFilter: {"last_heartbeat_time": "after_ before_", "status": "any_ not_any_"},
}


@pytest.mark.parametrize("model", QUESTIONS)
def test_filters_have_the_fields_and_questions_of_the_recorded_server(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()

    def questions(field: dict[str, Any]) -> str:
        references = [option["$ref"].rpartition("/")[2] for option in field.get("anyOf", []) if "$ref" in option]
        return " ".join(sorted(schema["$defs"][references[0]]["properties"])) if references else "-"

    fields = {name: questions(field) for name, field in schema["properties"].items() if name != "operator"}
    assert fields == QUESTIONS[model]
    assert schema["$defs"]["Operator"]["enum"] == ["and_", "or_"]


@pytest.mark.parametrize(
    ("model", "filter"),
    [
        (FlowFilter, {"flow": {}}),
        (FlowFilter, {"name": {"starts_": "a"}}),
        (FlowRunFilter, {"state": {"type": {"like_": "RUN"}}}),
        (FlowRunFilter, {"tags": {"none_": []}}),
        (TaskRunFilter, {"id": {"not_any_": []}}),
        (LogFilter, {"level": {"eq_": 1}}),
    ],
)
def test_an_unknown_field_is_refused_at_any_depth(model: type[BaseModel], filter: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(filter)
    assert [error["type"] for error in refusal.value.errors()] == ["extra_forbidden"]


@pytest.mark.parametrize(
    ("model", "filter"),
    [
        (FlowRunFilter, {"id": {"any_": ["no uuid"]}}),
        (FlowRunFilter, {"state": {"type": {"any_": [*StateType, "DONE"]}}}),
        (FlowRunFilter, {"operator": "xor_"}),
        (FlowRunFilter, {"start_time": {"after_": "yesterday"}}),
        (FlowRunFilter, {"start_time": {"after_": "0001-01-01T00:00:00+14:00"}}),
        (LogFilter, {"text": {"query": "x" * 201}}),
        (LogFilter, {"text": {}}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(model: type[BaseModel], filter: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(filter)
    assert len(refusal.value.errors()) == 1


def test_no_value_of_a_caller_becomes_part_of_a_statement() -> None:
    marker = "m4rk3r"
    texts, ids = {"any_": [marker, marker], "like_": marker}, {"any_": [STRANGER], "not_any_": [STRANGER]}
    filters = [
        FlowFilter.model_validate({"name": texts, "id": ids, "tags": {"all_": [marker]}}),
        FlowRunFilter.model_validate(
            {"state": {"name": {"any_": [marker], "not_any_": [marker]}}, "flow_version": {"any_": [marker]}, "id": ids}
        ),
        LogFilter.model_validate(
            {"text": {"query": f"{marker} -{marker} +{marker}"}, "flow_run_id": {"any_": [STRANGER]}}
        ),
    ]
    for filter in filters:
        condition = filter.condition()
        statement = condition.text.as_string(None)
        assert marker not in statement
        assert STRANGER not in statement
        assert statement.count("%s") == len(condition.values) > 0
