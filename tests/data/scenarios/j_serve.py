"""(j) served deployment with interval schedule + run_deployment + CLI"""
from common import *
if V27: skip("no serve in 2.7; see j_agent.py")
from prefect.deployments import run_deployment
NAME = f"j-{RUN}"
p = child("served.py", NAME, 20, log=f"/tmp/{NAME}.log")
try:
    async def dep(c):
        try: return await c.read_deployment_by_name(f"s-quick/{NAME}")
        except Exception as e: return None
    end = time.time() + 60
    while time.time() < end and not (d := with_client(dep)): time.sleep(1)
    require(d, "deployment registered"); print("status", d.status)
    require(len(d.schedules) == 1 and d.schedules[0].schedule.interval.total_seconds() == 20, "interval schedule stored")
    fr = run_deployment(f"s-quick/{NAME}", parameters={"x": 42}, timeout=90, poll_interval=1)
    require(fr.state.name == "Completed" and fr.parameters["x"] == 42, f"run_deployment run Completed, {fr.state.name}")
    fr2 = run_deployment(f"s-quick/{NAME}", timeout=0, as_subflow=False)
    wait_flow_run(fr2.id, ["Completed"], 60)
    async def sched(c):
        return await c.read_flow_runs(flow_run_filter=F.FlowRunFilter(deployment_id=F.FlowRunFilterDeploymentId(any_=[d.id])), sort=S.FlowRunSort.EXPECTED_START_TIME_ASC)
    end = time.time() + 100
    while time.time() < end:
        rs = [r for r in with_client(sched) if r.auto_scheduled]
        if any(r.state.name == "Completed" for r in rs): break
        time.sleep(2)
    require(any(r.state.name == "Completed" for r in rs), f"a scheduled run completed ({len(rs)} auto scheduled)")
    os.environ["COLUMNS"] = "240"
    cli("deployment", "ls")
    cli("deployment", "run", f"s-quick/{NAME}", "--param", "x=7")
    cli("deployment", "schedule", "ls", f"s-quick/{NAME}")
    cli("deployment", "schedule", "pause", f"s-quick/{NAME}", d.schedules[0].id, ok=False)
    cli("deployment", "schedule", "resume", f"s-quick/{NAME}", d.schedules[0].id, ok=False)
    if V3: cli("deployment", "run", f"s-quick/{NAME}", "--watch", ok=False, timeout=90)
finally: stop(p)
cli("--no-prompt", "deployment", "delete", f"s-quick/{NAME}", ok=False)
