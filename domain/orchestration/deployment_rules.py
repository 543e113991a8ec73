"""The rules of concurrency limits on deployments: so many runs of a deployment are under way at the same time.

A run takes its slot before anything is started for it, under a lease that its client renews while it runs.
Source: server 3.9.1.
"""

from datetime import timedelta

from domain.flow_run import FlowRun
from domain.orchestration.rule import ACCEPT, Abort, Accept, Fact, FlowRunContext, Reject, Rule, Verdict
from domain.states import ALL_STATES, State, StateDetails, StateType, cancelled

SLOT_WAIT_SECONDS = 30
REACHED = "Deployment concurrency limit reached."

UNDER_WAY = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
"""The states in which a flow run of a deployment holds a slot."""


class KeepDeploymentSlot(Rule[FlowRun]):
    """A run under way keeps its slot under its lease; one whose lease ran out before it started needs a new slot.

    Dialects: prefect-3, strict.
    """

    from_types = UNDER_WAY
    to_types = UNDER_WAY
    needs = frozenset({Fact.DEPLOYMENT})

    def decide(self, context: FlowRunContext) -> Verdict:
        initial = context.initial
        lease = initial.state_details.deployment_concurrency_lease_id if initial else None
        if initial is None or lease is None:
            return ACCEPT
        kept = context.proposed.altered(deployment_concurrency_lease_id=lease)
        starts = context.proposed.type is StateType.RUNNING and initial.type is StateType.PENDING
        limit = context.deployment.limit if context.deployment else None
        if not starts or not context.renews_leases or limit is None or lease in limit.holdings:
            return Accept(kept)
        if limit.free >= 1:
            return take(context, limit.id)
        message = "The slot of the deployment was lost before the run started, and none is free."
        state = cancelled(context.state_id, context.decided_at, message)
        return Reject("The lease of the deployment's slot ran out, and its concurrency limit is reached.", state)


class TakeDeploymentSlot(Rule[FlowRun]):
    """A run of a limited deployment takes a slot when it becomes pending; without one it is put off or cancelled.

    Dialects: prefect-3, strict.
    """

    from_types = ALL_STATES - UNDER_WAY
    to_types = frozenset({StateType.PENDING})
    before_any = True
    needs = frozenset({Fact.DEPLOYMENT})

    def decide(self, context: FlowRunContext) -> Verdict:
        deployment = context.deployment
        if deployment is None or deployment.limit is None:
            return ACCEPT
        if deployment.limit.limit == 0:
            return Abort("The concurrency limit of the deployment is 0, so that the run could never start.")
        if deployment.limit.free >= 1:
            return take(context, deployment.limit.id)
        if deployment.cancels_new:
            return Reject(REACHED, cancelled(context.state_id, context.decided_at, REACHED))
        return Reject(REACHED, _awaiting_slot(context))


def take(context: FlowRunContext, limit_id: object) -> Accept:
    """The verdict by which a flow run holds a slot of its deployment under a new lease."""
    state = context.proposed.altered(deployment_concurrency_lease_id=context.lease_id)
    return Accept(state, {"slots": {limit_id: context.lease_id}})


def _awaiting_slot(context: FlowRunContext) -> State:
    at = context.decided_at + timedelta(seconds=SLOT_WAIT_SECONDS)
    return State(
        id=context.state_id,
        type=StateType.SCHEDULED,
        name="AwaitingConcurrencySlot",
        timestamp=context.decided_at,
        state_details=StateDetails(deferred=False, scheduled_time=at),
    )
