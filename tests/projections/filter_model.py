"""The filter language in plain Python: what a filter, as its JSON, means for documents as the API shows them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Document = dict[str, Any]
Filter = dict[str, Any]
KINDS = ("flows", "deployments", "flow_runs", "task_runs")
WORK = ("work_pools", "work_pool_queues")
"""What else filters may be of: the pools and queues of the things of these kinds."""


def _listed(value: Any, asked: Filter) -> Iterable[bool]:
    """What `any_` and `not_any_` say of a value; an unknown value is neither in a list nor, for sure, outside of it."""
    if asked.get("any_") is not None:
        yield value in asked["any_"] and value is not None
    if asked.get("not_any_") is not None:
        yield not asked["not_any_"] or (value is not None and value not in asked["not_any_"])


def _null(value: Any, asked: Filter) -> Iterable[bool]:
    if asked.get("is_null_") is not None:
        yield (value is None) is asked["is_null_"]


def _like(value: str, asked: Filter) -> Iterable[bool]:
    if asked.get("like_") is not None:
        yield asked["like_"].lower() in value.lower()
    if asked.get("startswith_") is not None:
        yield any(value.lower().startswith(beginning.lower()) for beginning in asked["startswith_"])


def _between(value: Any, asked: Filter, low: str, high: str) -> Iterable[bool]:
    if asked.get(low) is not None:
        yield value is not None and value >= asked[low]
    if asked.get(high) is not None:
        yield value is not None and value <= asked[high]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _of_time(value: str | None, asked: Filter) -> bool:
    ends = {end: _time(asked.get(end)) for end in ("after_", "before_")}
    return all([*_between(_time(value), ends, "after_", "before_"), *_null(value, asked)])


def _tags(tags: list[str], asked: Filter) -> bool:
    said = []
    if asked.get("all_") is not None:
        said.append(set(asked["all_"]) <= set(tags))
    if asked.get("any_") is not None:
        said.append(bool(set(asked["any_"]) & set(tags)))
    if asked.get("is_null_") is not None:
        said.append((not tags) is asked["is_null_"])
    return _joined(asked, said)


def _joined(asked: Filter, said: Iterable[bool]) -> bool:
    listed = list(said)
    return not listed or (any(listed) if asked.get("operator") == "or_" else all(listed))


def _state(document: Document, asked: Filter) -> bool:
    said = []
    for part in ("type", "name"):
        said.extend(_listed(document[f"state_{part}"], asked.get(part) or {}))
    return _joined(asked, said)


@dataclass
class Model:
    """A world of documents by kind, and what filters find in it."""

    documents: dict[str, list[Document]]
    by_id: dict[str, Document] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_id = {document["id"]: document for kind in (*KINDS, *WORK) for document in self.documents[kind]}

    def found(self, kind: str, filters: dict[str, Filter | None]) -> list[Document]:
        """The documents of a kind that fit filters of all kinds, in no particular order."""
        return [one for one in self.documents[kind] if self._fits_all(kind, one, filters)]

    def _fits_all(self, kind: str, one: Document, filters: dict[str, Filter | None]) -> bool:
        if not self._fits(kind, one, filters.get(kind)):
            return False
        others = {name: filter for name, filter in filters.items() if name != kind and filter is not None}
        return bool(getattr(self, f"_{kind}_across")(one, others))

    def _some(self, kind: str, filter: Filter | None, of: Callable[[Document], bool]) -> bool:
        return any(of(one) and self._fits(kind, one, filter) for one in self.documents[kind])

    def _some_run(self, of: Callable[[Document], bool], others: dict[str, Filter]) -> bool:
        """Whether one flow run fits and, where one is asked for, has a task run that fits."""
        if not {"flow_runs", "task_runs"} & others.keys():
            return True
        return any(
            of(run) and self._fits("flow_runs", run, others.get("flow_runs")) and self._has_task(run, others)
            for run in self.documents["flow_runs"]
        )

    def _has_task(self, run: Document, others: dict[str, Filter]) -> bool:
        asked = others.get("task_runs")
        return asked is None or self._some("task_runs", asked, lambda task: task["flow_run_id"] == run["id"])

    def _in_queue(self, one: Document, others: dict[str, Filter]) -> bool:
        """Whether something is in a queue that fits, in a pool that does, where that is asked."""
        if not set(WORK) & others.keys():
            return True
        queue = self.by_id.get(one["work_queue_id"])
        return (
            queue is not None
            and self._fits("work_pool_queues", queue, others.get("work_pool_queues"))
            and self._fits("work_pools", self.by_id[queue["work_pool_id"]], others.get("work_pools"))
        )

    def _flows_across(self, flow: Document, others: dict[str, Filter]) -> bool:
        of_flow: Callable[[Document], bool] = lambda one: one["flow_id"] == flow["id"]  # noqa: E731
        return self._some_run(of_flow, others) and (
            not {"deployments", *WORK} & others.keys()
            or self._some(
                "deployments", others.get("deployments"), lambda one: of_flow(one) and self._in_queue(one, others)
            )
        )

    def _deployments_across(self, deployment: Document, others: dict[str, Filter]) -> bool:
        flow = self.by_id[deployment["flow_id"]]
        of_deployment: Callable[[Document], bool] = lambda run: run["deployment_id"] == deployment["id"]  # noqa: E731
        return (
            self._fits("flows", flow, others.get("flows"))
            and self._in_queue(deployment, others)
            and self._some_run(of_deployment, others)
        )

    def _flow_runs_across(self, run: Document, others: dict[str, Filter]) -> bool:
        deployment = self.by_id.get(run["deployment_id"])
        return (
            self._fits("flows", self.by_id[run["flow_id"]], others.get("flows"))
            and self._in_queue(run, others)
            and ("deployments" not in others or self._fits_one("deployments", deployment, others["deployments"]))
            and self._has_task(run, others)
        )

    def _task_runs_across(self, task: Document, others: dict[str, Filter]) -> bool:
        if not others:
            return True
        run = self.by_id.get(task["flow_run_id"])
        return (
            run is not None
            and self._fits("flow_runs", run, others.get("flow_runs"))
            and self._flow_runs_across(
                run, {name: others[name] for name in others.keys() & {"flows", "deployments", *WORK}}
            )
        )

    def _fits_one(self, kind: str, one: Document | None, filter: Filter) -> bool:
        return one is not None and self._fits(kind, one, filter)

    def _fits(self, kind: str, one: Document, filter: Filter | None) -> bool:
        if filter is None:
            return True
        asked = {name: criteria for name, criteria in filter.items() if name != "operator" and criteria is not None}
        return _joined(filter, (self._answer(kind, one, name, criteria) for name, criteria in asked.items()))

    def _answer(self, kind: str, one: Document, name: str, asked: Filter) -> bool:
        match name:
            case "id" | "idempotency_key" | "flow_version" | "type":
                return all(_listed(one[name], asked))
            case "name":
                return all([*_listed(one["name"], asked), *_like(one["name"], asked)])
            case "tags":
                return _tags(one["tags"], asked)
            case "state":
                return _state(one, asked)
            case "flow_run_id":
                null = asked.get("is_null_", False)
                by_list = not null and asked.get("any_") is not None
                return all(_listed(one[name], asked)) if by_list else all(_null(one[name], {"is_null_": null}))
            case "deployment_id" | "parent_task_run_id" | "work_queue_name":
                return _joined(asked, [*_listed(one[name], asked), *_null(one[name], asked)])
            case "paused":
                return asked.get("eq_") is None or one["paused"] is asked["eq_"]
            case "is_schedule_active":
                return asked.get("eq_") is None or one["paused"] is not asked["eq_"]
            case "concurrency_limit":
                limit = one["concurrency_limit"]
                return all([*_between(limit, asked, "ge_", "le_"), *_null(limit, asked)])
            case "flow_or_deployment_name":
                flow = self.by_id[one["flow_id"]]
                return asked.get("like_") is None or any([*_like(one["name"], asked), *_like(flow["name"], asked)])
            case "deployment":
                has_none = all(deployment["flow_id"] != one["id"] for deployment in self.documents["deployments"])
                return asked.get("is_null_") is None or has_none is asked["is_null_"]
            case "parent_flow_run_id":
                parent = self.by_id.get(one["parent_task_run_id"], {"flow_run_id": None})
                return all(_listed(parent["flow_run_id"], asked))
            case "subflow_runs":
                is_subflow = any(run["parent_task_run_id"] == one["id"] for run in self.documents["flow_runs"])
                return asked.get("exists_") is None or is_subflow is asked["exists_"]
            case "created_by":
                by_whom = [False for question in ("id_", "type_") if asked.get(question) is not None]
                return _joined(asked, [*by_whom, *_null(None, asked)])
            case "start_time" | "end_time" | "expected_start_time" | "next_scheduled_start_time":
                return _of_time(one[name], asked)
            case _:
                raise KeyError(f"{kind} have no field {name} in this model")


def _key(one: Document, name: str) -> Any:
    match name:
        case "ID":
            return None
        case "NAME":
            return one["name"]
        case "START_TIME":
            return _time(one["start_time"] or one["expected_start_time"])
        case _:
            return _time(one[name.lower()])


def ordered(documents: Iterable[Document], sort: str) -> list[Document]:
    """The documents in an order; what is not known comes after all that is, and ids decide between equals."""
    name, _, direction = sort.rpartition("_")

    def place(one: Document) -> tuple[Any, ...]:
        key = _key(one, name)
        return (key is None, key if key is not None else 0, one["id"])

    return sorted(documents, key=place, reverse=direction == "DESC")
