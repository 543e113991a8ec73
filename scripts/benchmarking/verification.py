"""Reads the work of a window back through the API: a rate counts only when the store holds what was answered.

Each check notes what it read in the window's `facts` and what is wrong in its `problems`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scripts.benchmarking.api_client import Api
from scripts.benchmarking.load import LoadResult
from scripts.benchmarking.measurement import Window

_LIFECYCLE = ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]


def check_created(api: Api, token: str, load: LoadResult, window: Window) -> None:
    """As many PENDING runs bear the token as creates were answered; one, read back, is as it was asked for."""
    _expect_count(window, "PENDING runs", _count(api, token, "PENDING"), load.chains_done)
    _expect_count(window, "runs in any state", _count(api, token), load.chains_done)
    found = api.post("/flow_runs/filter", {"flow_runs": _with_tag(token), "limit": 1})
    if not found:
        window.problems.append("no created run can be listed")
        return
    run = api.get(f"/flow_runs/{found[0]['id']}")
    if token not in run["tags"] or run["parameters"].get("name") != "marvin":
        window.problems.append(f"run {run['id']} was not created as asked: {run['tags']} {run['parameters']}")
    _expect_history(api, run["id"], ["PENDING"], window)


def check_lifecycles(api: Api, token: str, run_ids: list[str], load: LoadResult, window: Window) -> None:
    """Done chains are COMPLETED runs, the others still SCHEDULED; runs begun, midway and last are booked right."""
    done = load.chains_done
    window.facts["prepared"] = len(run_ids)
    _expect_count(window, "COMPLETED runs", _count(api, token, "COMPLETED"), done)
    _expect_count(window, "untouched SCHEDULED runs", _count(api, token, "SCHEDULED"), len(run_ids) - done)
    for position in sorted({0, done // 2, done - 1} if done else set()):
        run = api.get(f"/flow_runs/{run_ids[position]}")
        booked = (
            run["state_type"] == "COMPLETED"
            and run["run_count"] == 1
            and run["start_time"]
            and run["end_time"]
            and datetime.fromisoformat(run["start_time"]) < datetime.fromisoformat(run["end_time"])
            and run["total_run_time"] > 0
        )
        if not booked:
            books = {key: run[key] for key in ("state_type", "run_count", "start_time", "end_time", "total_run_time")}
            window.problems.append(f"run {run['id']} is not booked as one completed run: {books}")
        _expect_history(api, run["id"], _LIFECYCLE, window)


def check_reads(api: Api, run_ids: list[str], window: Window) -> None:
    """The store holds all the runs that were read, and one of them is whole."""
    found = api.post("/flow_runs/count", {"flow_runs": {"id": {"any_": run_ids}}})
    _expect_count(window, "runs to read", found, len(run_ids))
    run = api.get(f"/flow_runs/{run_ids[0]}")
    if run["id"] != run_ids[0] or run["state_type"] != "PENDING" or run["state"]["type"] != run["state_type"]:
        window.problems.append(f"run {run_ids[0]} is not read as the PENDING run it is: {run}")


def _with_tag(token: str) -> dict[str, Any]:
    return {"tags": {"all_": [token]}}


def _count(api: Api, token: str, *state_types: str) -> int:
    runs = _with_tag(token)
    if state_types:
        runs["state"] = {"type": {"any_": list(state_types)}}
    return int(api.post("/flow_runs/count", {"flow_runs": runs}))


def _expect_count(window: Window, what: str, found: int, answered: int) -> None:
    window.facts[what] = found
    if found != answered:
        window.problems.append(f"{what}: {answered} by the answers, {found} in the store")


def _expect_history(api: Api, run_id: str, expected: list[str], window: Window) -> None:
    states = [state["type"] for state in api.get(f"/flow_run_states/?flow_run_id={run_id}")]
    if states != expected:
        window.problems.append(f"run {run_id} went through {states}, not {expected}")
