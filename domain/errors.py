"""The ways a command can fail, each a type with fields and one clear sentence.

The HTTP border maps each type to one status; nothing else in the house needs to read their text.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID


class LedgerError(Exception):
    """What every refusal of a command is a kind of."""


class NotFound(LedgerError):
    """The aggregate a command names does not exist, or exists no longer."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(f"{kind} with id {id} not found")
        self.kind = kind
        self.id = id


class MissingReference(LedgerError):
    """A command would make something that points at an aggregate that does not exist."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(f"{kind} with id {id} does not exist")
        self.kind = kind
        self.id = id


class InputNotFound(LedgerError):
    """A command names an input that its flow run does not have."""

    def __init__(self, flow_run_id: UUID, key: str) -> None:
        super().__init__(f"Flow run {flow_run_id} has no input under the key {key}")
        self.flow_run_id = flow_run_id
        self.key = key


class InputKeyTaken(LedgerError):
    """A command would write an input under a key that another input of the flow run has."""

    def __init__(self, flow_run_id: UUID, key: str) -> None:
        super().__init__(f"Flow run {flow_run_id} has an input under the key {key} already")
        self.flow_run_id = flow_run_id
        self.key = key


class IdTaken(LedgerError):
    """A command would create an aggregate under an id that another stream already has."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(f"The id {id} of the new {kind.lower()} is already taken")
        self.kind = kind
        self.id = id


class UnknownWorkPool(LedgerError):
    """A command names a work pool that does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f'Work pool "{name}" not found.')
        self.name = name


class NoSuchWorkQueue(LedgerError):
    """The work queue that a command names, by its id or by its pool and its name, does not exist."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"Work pool queue '{queue}' not found.")
        self.queue = queue


class ReservedWorkPool(LedgerError):
    """A command would make, change or delete a work pool whose name is reserved."""

    def __init__(self, rest: str = "") -> None:
        super().__init__(f"Work pools starting with 'Prefect' are reserved for internal use{rest}.")


class DefaultQueue(LedgerError):
    """A command would delete the default queue of a work pool, which a pool keeps as long as it is."""

    def __init__(self, id: UUID) -> None:
        super().__init__(f"The work queue {id} is the default queue of its work pool and stays as long as that does.")
        self.id = id


class NoWorkQueue(LedgerError):
    """A run is to go to another queue than its deployment's, which has none."""

    def __init__(self, queue: str, deployment_id: UUID) -> None:
        super().__init__(
            f"Cannot create flow run in work queue {queue} because deployment {deployment_id} is not associated"
            " with a work pool. Please remove work_pool_name and try again."
        )
        self.queue = queue
        self.deployment_id = deployment_id


class ParametersUnchecked(LedgerError):
    """Parameters must fit a deployment's schema, and nobody has held them against it yet.

    Checking may take long, so it is not done under the ledger lock: whoever asked checks these `parameters` against
    this `schema`, and asks again saying that they fit those of the deployment's `version`.
    """

    def __init__(self, version: int, parameters: dict[str, Any], schema: dict[str, Any] | None) -> None:
        super().__init__("The parameters have not been checked against the deployment's schema")
        self.version = version
        self.parameters = parameters
        self.schema = schema


class JobVariablesUnchecked(LedgerError):
    """Job variables must fit the template of a work pool, and nobody has held them against it yet.

    Whoever asked checks these `variables` against the `template`, outside of the ledger lock, and asks again saying
    that those of this `stamp` fit. `all_there` says whether required ones must be there.
    """

    def __init__(
        self, stamp: tuple[UUID, int, int], variables: dict[str, Any], template: dict[str, Any], *, all_there: bool
    ) -> None:
        super().__init__("The job variables have not been checked against the work pool's template")
        self.stamp = stamp
        self.variables = variables
        self.template = template
        self.all_there = all_there


class SlugTaken(LedgerError):
    """A command would give a schedule the slug of another one of its deployment."""

    def __init__(self, slug: str) -> None:
        super().__init__("Schedule slugs must be unique within a deployment.")
        self.slug = slug


class SlugsMissing(LedgerError):
    """A command would change the schedules of a deployment, which have slugs, and names some without."""

    def __init__(self) -> None:
        super().__init__(
            "Please provide a slug for each schedule in your request to ensure schedules are updated correctly."
        )


class SlugConflict(LedgerError):
    """Two schedules are to take the place of the same one, or one would take the slug of another that stays."""

    def __init__(self, replaces: str, slug: str | None) -> None:
        super().__init__(f"The schedule '{replaces}' cannot become '{slug}': another schedule is in the way.")
        self.replaces = replaces
        self.slug = slug


class ScheduleMissing(LedgerError):
    """A command would add a schedule that says nothing of when to run."""

    def __init__(self) -> None:
        super().__init__("Unable to create new deployment schedules without a schedule configuration.")


class JobVariablesSettled(LedgerError):
    """Job variables of a run are to change, and it is too late for that, or no deployment says what they are for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeyReused(LedgerError):
    """A request carries the idempotency key of another one that asked for something else."""

    def __init__(self, key: str) -> None:
        super().__init__("This idempotency key was used for another request")
        self.key = key


class NoSuchLimit(LedgerError):
    """The concurrency limit that a command names, by its id or its name, does not exist."""

    def __init__(self, limit: UUID | str) -> None:
        super().__init__(f"There is no concurrency limit {limit}")
        self.limit = limit


class NameTaken(LedgerError):
    """A command would give an aggregate a name that another one of its kind has."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"There is a {kind.lower()} named {name} already")
        self.kind = kind
        self.name = name


class NoSuchVariable(LedgerError):
    """The variable that a command names, by its id or its name, does not exist."""

    def __init__(self, variable: UUID | str) -> None:
        super().__init__(f"There is no variable {variable}")
        self.variable = variable


class InUse(LedgerError):
    """A command would delete an aggregate on which others hang."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(f"{kind} {id} is in use")
        self.kind = kind
        self.id = id


class Stale(LedgerError):
    """A command was made from what an aggregate was like before it changed; its caller looks again."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(f"{kind} {id} has changed meanwhile")
        self.kind = kind
        self.id = id


class SchemaOfOtherType(LedgerError):
    """A block document would get a schema of another block type than its own."""

    def __init__(self, schema_id: UUID, block_type_id: UUID) -> None:
        super().__init__(f"Block schema {schema_id} is not one of block type {block_type_id}")
        self.schema_id = schema_id
        self.block_type_id = block_type_id


class MoreThanLimit(LedgerError):
    """A command asks for more slots than a limit has, so that it could never get them."""

    def __init__(self) -> None:
        super().__init__("Slots requested is greater than the limit")


class NoSlotDecay(LedgerError):
    """A command would use limits for a rate whose slots do not come free by themselves."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        super().__init__(f"A rate needs limits whose slots decay, which these do not: {', '.join(self.names)}")


class UnknownTopic(LedgerError):
    """The event store holds an event of a topic that this version of the code does not know."""

    def __init__(self, topic: str, class_version: int | None = None) -> None:
        what = topic if class_version is None else f"{topic} version {class_version}"
        super().__init__(f"No event is known under the topic {what}")
        self.topic = topic
        self.class_version = class_version


class StoreUnavailable(LedgerError):
    """The event store could not be reached or did not answer in time.

    `outcome_unknown` says that the batch was sent and may be durable; else nothing of it happened.
    """

    def __init__(self, reason: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(f"The event store is unavailable: {reason}")
        self.reason = reason
        self.outcome_unknown = outcome_unknown


class Unstorable(LedgerError):
    """The store refuses the data of a command, however often it is tried."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The data of this request cannot be stored: {reason}")
        self.reason = reason


class ForeignShape(LedgerError):
    """The read tables have another shape than this process projects into, so it must not append."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"The read tables have shape {found}, but this process writes shape {expected}")
        self.found = found
        self.expected = expected


class PayloadKeysMissing(LedgerError):
    """Payload is encrypted, and nobody said where its keys are: a missing setting is not an erasure."""

    def __init__(self) -> None:
        super().__init__("Payload of this ledger is encrypted: FLOWLEDGER_PAYLOAD_KEYS must say where its keys are")


class PayloadKeyMissing(LedgerError):
    """The key store neither has the key of a payload nor knows that it was destroyed."""

    def __init__(self, id: UUID) -> None:
        super().__init__(f"The key {id} of an encrypted payload is not in the key store, which is not the right one")
        self.id = id


class PayloadKeyGone(LedgerError):
    """The key of a run was destroyed while the ledger does not say that its payload was erased, as after a restore."""

    def __init__(self, id: UUID) -> None:
        super().__init__(f"The payload key of run {id} was destroyed: erase the run again before it goes on")
        self.id = id


class PayloadTampered(LedgerError):
    """An encrypted payload is not what was stored, or not where it was."""

    def __init__(self, id: UUID) -> None:
        super().__init__(f"A payload that is encrypted with the key {id} was changed or moved")
        self.id = id


class BeganInPlain(LedgerError):
    """A run has no key: what was stored of it in plain cannot be made unreadable where it was copied to."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(
            f"{kind} {id} cannot be erased, for its payload was stored in plain: it began without payload keys"
        )
        self.kind = kind
        self.id = id


class NotEnded(LedgerError):
    """A run whose payload is still needed cannot be erased."""

    def __init__(self, kind: str, id: UUID) -> None:
        super().__init__(f"{kind} {id} cannot be erased before it has ended")
        self.kind = kind
        self.id = id


class SharesKey(LedgerError):
    """A task run has no key of its own but that of the flow run it is part of."""

    def __init__(self, id: UUID, flow_run_id: UUID) -> None:
        super().__init__(f"Task run {id} can only be erased with flow run {flow_run_id}, whose key it shares")
        self.id = id
        self.flow_run_id = flow_run_id
