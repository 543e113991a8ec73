"""(o) a pause that waits for an input, refused and then resumed; inputs sent to a running flow, and its answer"""
from common import *
if V27: skip("no inputs before 2.14")
from prefect import flow
if V220:
    from prefect import pause_flow_run, resume_flow_run
else:
    from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.input.run_input import RunInput, receive_input, send_input

class Ask(RunInput):
    n: int
    name: str = "x"

@flow(name="o-pause-input", persist_result=False)
def asking():
    got = pause_flow_run(wait_for_input=Ask, timeout=90, poll_interval=1)
    assert (got.n, got.name) == (5, "y"), got
    got = pause_flow_run(wait_for_input=Ask.with_initial_data(description="again", n=1), timeout=90, poll_interval=1)
    assert (got.n, got.name) == (1, "x"), got
    return got.n

@flow(name="o-receiver")
async def receiver():
    handler = receive_input(str, timeout=60, poll_interval=1, with_metadata=True)
    said = await handler.__anext__()
    assert said.value == "hello receiver", said
    await said.respond("hello sender")

@flow(name="o-sender")
async def sender(receiver_id: str):
    out = send_input("hello receiver", flow_run_id=uuid.UUID(receiver_id))
    if out is not None: await out
    answered = await receive_input(str, timeout=60, poll_interval=1).__anext__()
    assert answered == "hello sender", answered

if len(sys.argv) > 1:
    from prefect import tags
    with tags(sys.argv[2]):
        if sys.argv[1] == "asking": asking(return_state=True)
        else: asyncio.run(receiver(return_state=True))
    sys.exit(0)

async def by_tag(c, tag): return await c.read_flow_runs(flow_run_filter=F.FlowRunFilter(tags=F.FlowRunFilterTags(all_=[tag])))
def start(what):
    tag = f"o-{what}-{RUN}"
    p = child(os.path.basename(__file__), what, tag)
    end = time.time() + 40
    while time.time() < end:
        r = with_client(by_tag, tag)
        if r: return p, r[0].id
        time.sleep(0.5)
    require(False, "flow run appeared")

p, fid = start("asking")
def resume(run_input):
    """once the client has written its schema, which it does after it paused"""
    async def go(c): return await c.resume_flow_run(fid, run_input=run_input)
    end = time.time() + 40
    while True:
        r = with_client(go)
        if "schema not found" not in str(getattr(r.details, "reason", "")) or time.time() > end: return r
        time.sleep(0.5)
fr = wait_flow_run(fid, ["Paused"])
require(set(fr.state.state_details.run_input_keyset) == {"description", "response", "schema"}, "the pause names its keys")
r = resume({"n": "many"}); print(r.status, r.details)
require(r.status.value == "REJECT" and "n" in r.details.reason, "an input that does not fit is refused")
require(read_flow_run(fid).state.name == "Paused", "the run is still paused")
require(resume({"n": 5, "name": "y"}).status.value == "ACCEPT", "an input that fits resumes")
end = time.time() + 40
while True:
    fr = wait_flow_run(fid, ["Paused", "Completed", "Failed"])
    if fr.state.name != "Paused" or fr.state.state_details.pause_key != "1": break
    require(time.time() < end, "the run left its first pause"); time.sleep(0.5)
require(resume(None).status.value == "ACCEPT", "no input is enough where all have defaults")
wait_flow_run(fid, ["Completed"])
p.wait(30)

p, fid = start("receiver")
wait_flow_run(fid, ["Running"])
st = asyncio.run(sender(str(fid), return_state=True))
require(st.is_completed(), f"the sender got its answer, is {st.name}: {st.message}")
wait_flow_run(fid, ["Completed"])
p.wait(30)
