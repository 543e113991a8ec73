"""(q) background tasks: handed out to one of two servers, with a result that comes back; 3.x only"""
from common import *
if not V3: skip("3.x only")
from background import add
from prefect.futures import PrefectDistributedFuture
servers = [child("background.py", log=f"/tmp/q-{RUN}-{n}.log") for n in (1, 2)]
try:
    futures = [add.delay(n, n) for n in range(6)]
    require(all(isinstance(future, PrefectDistributedFuture) for future in futures), "delayed")
    results = [future.result(timeout=60) for future in futures]
    require(results == [0, 2, 4, 6, 8, 10], f"each came back once, {results}")
    async def read(c): return [await c.read_task_run(future.task_run_id) for future in futures]
    runs = with_client(read)
    require(all(run.state.name == "Completed" and run.run_count == 1 for run in runs), "each ran once")
finally:
    for server in servers: stop(server)
