"""(r) a flow that is retried has subflows and two hundred mapped tasks; every attempt is in the books"""
from common import *
from prefect import flow, task
from prefect.context import FlowRunContext
@task
def double(x): return 2 * x
@flow(name="r-inner")
def inner(x): return double(x)
@flow(name="r-middle")
def middle(x): return inner(x) + 1
@flow(name="r-outer", retries=1)
def outer():
    values = [future.result() for future in double.map(list(range(200)))]
    total = middle(1)
    if FlowRunContext.get().flow_run.run_count == 1: raise ValueError("first attempt fails")
    return len(values) + total, str(FlowRunContext.get().flow_run.id)
total, fid = outer()
require(total == 203, f"the second attempt came to an end, {total}")
fr = wait_flow_run(uuid.UUID(fid), ["Completed"])
require(fr.run_count == 2, f"two attempts, {fr.run_count}")
async def states(c): return [state.name for state in await c.read_flow_run_states(fr.id)]
names = with_client(states)
require(names[:3] == ["Pending", "Running", "AwaitingRetry"] and names[-1] == "Completed", f"states {names}")
async def count(c):
    seen = await c.read_task_runs(flow_run_filter=F.FlowRunFilter(id=F.FlowRunFilterId(any_=[fr.id])), limit=200)
    more = await c.read_task_runs(flow_run_filter=F.FlowRunFilter(id=F.FlowRunFilterId(any_=[fr.id])), limit=200, offset=200)
    return [*seen, *more]
end = time.time() + 30
while True:
    runs = with_client(count)
    mapped = [run for run in runs if run.task_key.startswith("double")]
    if (len(mapped) >= 200 and all(run.state and run.state.is_completed() for run in mapped)) or time.time() > end: break
    time.sleep(1)
require(len(mapped) >= 200 and all(run.state.is_completed() for run in mapped), f"{len(mapped)} mapped task runs")
async def children(c):
    return await c.read_flow_runs(flow_filter=F.FlowFilter(name=F.FlowFilterName(any_=["r-middle"])), flow_run_filter=F.FlowRunFilter(parent_task_run_id=F.FlowRunFilterParentTaskRunId(any_=[run.id for run in runs if run not in mapped])))
require(len(with_client(children)) >= 1, "the subflows hang on their parent")
