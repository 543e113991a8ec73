"""(k) a process worker runs what a deployment of its pool was asked to, cancels it, and obeys a paused pool."""
from pathlib import Path

from common import *
if V27: skip("no workers in 2.7")
from prefect import flow
from prefect.deployments import run_deployment
NAME = f"k-{RUN}"
cli("work-pool", "create", NAME, "--type", "process")
cli("work-pool", "ls"); cli("work-pool", "inspect", NAME)
for entrypoint in ("served.py:quick", "served.py:slow"):
    flow.from_source(source=str(Path(HERE)), entrypoint=entrypoint).deploy(name=NAME, work_pool_name=NAME, ignore_warnings=True)
w = subprocess.Popen([BIN, "worker", "start", "--pool", NAME, "--type", "process"], stdout=open(f"/tmp/{NAME}.log", "w"), stderr=subprocess.STDOUT)
try:
    fr = run_deployment(f"s-quick/{NAME}", parameters={"x": 42}, timeout=120, poll_interval=1, as_subflow=False)
    require(fr.state.name == "Completed" and fr.parameters["x"] == 42, f"the worker ran it, {fr.state.name}")
    require((fr.work_pool_name, fr.work_queue_name) == (NAME, "default"), "it went through the pool's default queue")
    slow = run_deployment(f"s-slow/{NAME}", timeout=0, as_subflow=False)
    wait_flow_run(slow.id, ["Running"], 90)
    cli("flow-run", "cancel", slow.id)
    wait_flow_run(slow.id, ["Cancelled"], 90)
    print("ok: the worker cancelled a run")
    cli("work-pool", "pause", NAME)
    held = run_deployment(f"s-quick/{NAME}", timeout=0, as_subflow=False)
    time.sleep(12)
    require(read_flow_run(held.id).state.is_scheduled(), "a paused pool hands nothing out")
    cli("work-pool", "resume", NAME)
    wait_flow_run(held.id, ["Completed"], 90)
    print("ok: what waited ran when the pool was resumed")
finally: stop(w)
cli("--no-prompt", "work-pool", "delete", NAME, ok=False)
