"""The workloads of reading: lists, counts, histories and graphs over a large number of runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from scripts.benchmarking.api_client import Api
from scripts.benchmarking.dataset import DAY, FLOWS, GRAPHS, TAGS
from scripts.benchmarking.load import Chain, Step, Timing
from scripts.benchmarking.measurement import Target, Window, measure

Body = dict[str, Any]

COMPLETED = {"state": {"type": {"any_": ["COMPLETED"]}}}
NEWEST = {"sort": "START_TIME_DESC"}
OF_FLOWS = [
    {"flows": {"name": {"any_": [f"flow-{number}"]}}, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    for number in range(FLOWS)
]
WITH_TAGS = [{"flow_runs": {"tags": {"all_": [f"tag-{number}"]}}} for number in range(TAGS)]
QUARTERS = {
    "history_start": DAY.isoformat(),
    "history_end": (DAY + timedelta(days=1)).isoformat(),
    "history_interval_seconds": 900,
}


@dataclass(frozen=True)
class Query:
    """What is asked, in turn: a method, a path and bodies; `digest` says what of an answer any server must give alike.

    `paths` are made when the server is there, for some name a run.
    """

    name: str
    bodies: Sequence[Body | None]
    path: str
    digest: Callable[[Any], Any]
    graph_of: int | None = None

    def requests(self, api: Api) -> list[tuple[str, str, Body | None]]:
        """The method, the path and the body of each request."""
        if self.graph_of is None:
            return [("POST", self.path, body) for body in self.bodies]
        asked = {"flows": {"name": {"any_": [f"graph-{self.graph_of}"]}}, "limit": 1}
        run = api.post("/flow_runs/filter", asked)[0]["id"]
        return [("GET", self.path.format(id=run), None)]

    def window(self, target: Target, connections: int, timing: Timing) -> Window:
        """One window of these requests; its facts hold what the answers to the first and the last come to."""
        requests = self.requests(target.api)
        # What every good answer begins with, or has somewhere, is all that is looked for on the way.
        chains: list[Chain] = [(Step(target.api.request(*request), 200, b""),) for request in requests]
        answers = [_asked(target.api, *request) for request in (requests[0], requests[-1])]
        window, _ = measure(target, self.name, itertools.cycle(chains), connections, timing)
        window.facts["digest"] = [self.digest(answer) for answer in answers]
        if not any(answers):
            window.problems.append("the answers hold nothing")
        return window


def _asked(api: Api, method: str, path: str, body: Body | None) -> Any:
    return api.get(path) if method == "GET" else api.post(path, body)


def _ids(runs: list[Any]) -> list[str]:
    return [run["id"] for run in runs]


def _history(intervals: list[Any]) -> list[Any]:
    return [
        sorted((state["state_name"], state["count_runs"]) for state in interval["states"]) for interval in intervals
    ]


def _nodes(graph: Any) -> list[Any]:
    # Prefect names a parent as often as that has inputs itself.
    return sorted((id, sorted({edge["id"] for edge in node["parents"]})) for id, node in graph["nodes"])


def _same(answer: Any) -> Any:
    return answer


QUERIES = (
    Query("list-200 by state", [{**NEWEST, "flow_runs": COMPLETED, "limit": 200}], "/flow_runs/filter", _ids),
    Query(
        "list-50 at offset 1000",
        [{**NEWEST, "flow_runs": COMPLETED, "limit": 50, "offset": 1000}],
        "/flow_runs/filter",
        _ids,
    ),
    Query("list-200 by tag", [{**NEWEST, "limit": 200, **body} for body in WITH_TAGS], "/flow_runs/filter", _ids),
    Query("list-200 across", [{**NEWEST, "limit": 200, **body} for body in OF_FLOWS], "/flow_runs/filter", _ids),
    Query("count", [{}], "/flow_runs/count", _same),
    Query("count by state", [{"flow_runs": COMPLETED}], "/flow_runs/count", _same),
    Query("count by tag", WITH_TAGS, "/flow_runs/count", _same),
    Query("count across", OF_FLOWS, "/flow_runs/count", _same),
    Query("history of 96 buckets", [QUARTERS], "/flow_runs/history", _history),
    *(Query(f"graph-v2 of {size}", [None], "/flow_runs/{id}/graph-v2", _nodes, size) for size in GRAPHS),
    *(
        Query(f"graph of {size}", [None], "/flow_runs/{id}/graph", lambda nodes: sorted(_ids(nodes)), size)
        for size in GRAPHS
    ),
)
"""Everything that is measured, in its order."""


def compare_digests(windows: Sequence[Window]) -> None:
    """Note as a problem where servers answered the same question on the same data differently."""
    first: dict[tuple[str, Any], Window] = {}
    for window in windows:
        if "digest" not in window.facts:
            continue
        asked = (window.workload, window.facts.get("flow_runs"))
        known = first.setdefault(asked, window)
        if known.facts["digest"] != window.facts["digest"]:
            window.problems.append(f"answered otherwise than {known.server}")
