"""The workloads: what each asks of a server, over and over, for one window."""

from __future__ import annotations

import itertools
import json
import math
import uuid
from collections.abc import Callable, Iterator

from scripts.benchmarking.api_client import Api
from scripts.benchmarking.load import UNTIL_DRY, Chain, LoadFailed, Step, Timing
from scripts.benchmarking.load_client import LoadClient
from scripts.benchmarking.measurement import Target, Window, measure
from scripts.benchmarking.verification import check_created, check_lifecycles, check_reads

_RUNS_TO_READ = 500
_PREPARING_CONNECTIONS = 16
# Numbers of equal length, so that every create request has the same content length.
_FIRST_NUMBER = 1_000_000


def create(target: Target, connections: int, timing: Timing) -> Window:
    """POST /flow_runs/ with state PENDING, tags and parameters."""
    token = _new_token("create")
    chains = _create_chains(target, token, "PENDING")
    window, load = measure(target, "create", chains, connections, timing)
    check_created(target.api, token, load, window)
    return window


def lifecycle(target: Target, connections: int, timing: Timing) -> Window:
    """POST /flow_runs/{id}/set_state: PENDING, RUNNING, COMPLETED, for one SCHEDULED run after the other."""
    if connections not in target.lifecycles_per_second:
        _probe_lifecycles(target, connections)
    token = _new_token("lifecycle")
    wanted = target.lifecycles_per_second[connections] * (timing.warmup + timing.seconds)
    run_ids = _make_runs(target, token, "SCHEDULED", math.ceil(1.5 * wanted) + 2 * connections)
    window, load = measure(target, "lifecycle", _lifecycle_chains(target.api, run_ids), connections, timing)
    if load.seconds and load.latencies:
        target.lifecycles_per_second[connections] = len(load.latencies) / load.seconds / 3
    check_lifecycles(target.api, token, run_ids, load, window)
    return window


def read_one(target: Target, connections: int, timing: Timing) -> Window:
    """GET /flow_runs/{id} over a few hundred runs, in turn."""
    if not target.run_ids:
        target.run_ids = _make_runs(target, _new_token("read"), "PENDING", _RUNS_TO_READ)
    # The run's own id in the answer shows that it was this run that was read.
    chains: list[Chain] = [
        (Step(target.api.request("GET", f"/flow_runs/{run_id}"), 200, f'"{run_id}"'.encode()),)
        for run_id in target.run_ids
    ]
    window, _ = measure(target, "read-one", itertools.cycle(chains), connections, timing)
    check_reads(target.api, target.run_ids, window)
    return window


def echo(target: Target, connections: int, timing: Timing) -> Window:
    """POST /echo with the body of a create request; for the bare echo app, which sends it back."""
    body = json.dumps(_run_body(str(uuid.uuid4()), _new_token("create"), "PENDING", _FIRST_NUMBER))
    chain = (Step(target.api.request("POST", "/echo", json.loads(body)), 200, b'"PENDING"'),)
    window, _ = measure(target, "echo", itertools.repeat(chain), connections, timing)
    return window


def lifecycles(target: Target, count: int) -> list[Chain]:
    """Chains that take so many runs, made now, from SCHEDULED through PENDING and RUNNING to COMPLETED."""
    return _lifecycle_chains(target.api, _make_runs(target, _new_token("lifecycle"), "SCHEDULED", count))


WORKLOADS: dict[str, Callable[[Target, int, Timing], Window]] = {
    "create": create,
    "lifecycle": lifecycle,
    "read-one": read_one,
}
"""The workloads that any server of the dialect can be put under."""


def _new_token(workload: str) -> str:
    """A tag by which the runs of one window are found again."""
    return f"{workload}-{uuid.uuid4().hex}"


def _run_body(flow_id: str, token: str, state_type: str, number: int) -> dict[str, object]:
    return {
        "flow_id": flow_id,
        "tags": ["benchmark", token],
        "state": {"type": state_type, "name": state_type.capitalize()},
        "name": f"run-{number}",
        "parameters": {"x": number, "name": "marvin"},
    }


def _create_chains(target: Target, token: str, state_type: str) -> Iterator[Chain]:
    if target.flow_id is None:
        target.flow_id = target.api.post("/flows/", {"name": "benchmark"})["id"]
    first = target.api.request("POST", "/flow_runs/", _run_body(target.flow_id, token, state_type, _FIRST_NUMBER))
    text = f'"{state_type}"'.encode()
    # Encoding every body anew would cost as much as sending it, so only the end, which holds the number, is made anew.
    ending = b'"name":"run-%d","parameters":{"x":%d,"name":"marvin"}}'
    fixed = first.removesuffix(ending % (_FIRST_NUMBER, _FIRST_NUMBER))
    for number in itertools.count(_FIRST_NUMBER):
        yield (Step(fixed + ending % (number, number), 201, text),)


def _make_runs(target: Target, token: str, state_type: str, count: int) -> list[str]:
    """Makes runs outside any window and answers their ids; raises LoadFailed when one cannot be made."""
    chains = itertools.islice(_create_chains(target, token, state_type), count)
    client = LoadClient(
        target.api.address, chains, _PREPARING_CONNECTIONS, UNTIL_DRY, lambda body: json.loads(body)["id"]
    )
    load = client.run()
    if load.chains_done != count:
        raise LoadFailed(f"only {load.chains_done} of {count} runs could be made beforehand: {load.first_problem}")
    return load.extracted


def _lifecycle_chains(api: Api, run_ids: list[str]) -> list[Chain]:
    bodies = [{"state": {"type": state_type}} for state_type in ("PENDING", "RUNNING", "COMPLETED")]
    return [
        [Step(api.request("POST", f"/flow_runs/{run_id}/set_state", body), 201, b'"ACCEPT"') for body in bodies]
        for run_id in run_ids
    ]


def _probe_lifecycles(target: Target, connections: int) -> None:
    """Learns about how many lifecycles a second the target does, to know how many runs a window needs."""
    run_ids = _make_runs(target, _new_token("probe"), "SCHEDULED", 30 + 3 * connections)
    load = LoadClient(target.api.address, _lifecycle_chains(target.api, run_ids), connections, UNTIL_DRY).run()
    if not load.latencies:
        raise LoadFailed(f"no lifecycle could be driven: {load.first_problem}")
    target.lifecycles_per_second[connections] = len(load.latencies) / load.seconds / 3
