"""The ConcurrencyLimit aggregate: how many slots there are under a name, who holds them, and since when.

One kind of limit serves three uses, told by its name: `tag:<tag>` limits the task runs that carry a tag,
`deployment:<id>` the flow runs of a deployment, any other name whatever clients agree on. Source: server 3.9.1.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import SnapshotAggregate
from domain.events import Event

USUAL_OCCUPANCY = 2.0
"""Seconds for which a slot is taken to be held as long as none was given back yet."""

SHORTEST_OCCUPANCY = 0.1
"""Seconds below which the mean time a slot is held does not count: nobody should ask again more often."""

LONGEST_DECAY = 10 * 365 * 24 * 3600.0
"""Seconds after which slots that decay are worth asking for again at the latest: ten years, as for a retry."""

SlotCount = Annotated[int, Field(ge=0, lt=2**31)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Holder(BaseModel):
    """Who holds slots: a run or a deployment, by its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["flow_run", "task_run", "deployment"]
    id: UUID


class Holding(BaseModel):
    """Slots that one holder has, and until when if they are leased. Callers that say nothing have no `holder`.

    `leased` says that they were taken under a lease, also where that no longer runs out by itself.
    """

    model_config = ConfigDict(frozen=True)

    slots: int
    since: datetime
    holder: Holder | None = None
    expires_at: datetime | None = None
    leased: bool = False
    actor: str


class LimitCreated(Event):
    """A limit came to be, with slots in use from the start where its creator said so."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.Created"

    name: str
    limit: int
    active: bool = True
    slot_decay_per_second: float = 0.0
    active_slots: int = 0
    denied_slots: int = 0


class LimitChanges(BaseModel):
    """The fields of a limit that a caller may update; only those that were set and are not null are meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    limit: SlotCount | None = None
    active: bool | None = None
    slot_decay_per_second: Decay | None = None
    active_slots: SlotCount | None = None
    denied_slots: SlotCount | None = None


class LimitUpdated(Event):
    """A caller changed a limit. `active_slots` says how many slots are in use, whoever held them before."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.Updated"

    changes: LimitChanges

    @field_serializer("changes")
    def _only_what_was_set(self, changes: LimitChanges) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_none=True)


class SlotsTaken(Event):
    """Someone holds slots now; `holding` is the id by which they are given back: of the lease, or of the run."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.SlotsTaken"

    holding: UUID
    slots: int
    holder: Holder | None = None
    expires_at: datetime | None = None


class LeaseRenewed(Event):
    """A holding lasts until another time; null means that it no longer expires by itself."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.LeaseRenewed"

    holding: UUID
    expires_at: datetime | None = None


class SlotsReleased(Event):
    """A holding ended: its holder gave it back or ended, its lease expired, or someone reset the limit."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.SlotsReleased"

    holding: UUID
    reason: Literal["returned", "expired", "holder ended", "reset"]


class SlotsReturned(Event):
    """Slots that were taken without a lease or a holder were given back; callers may say how long they had them."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.SlotsReturned"

    slots: int
    occupancy_seconds: float | None = None


class SlotsDenied(Event):
    """Someone asked for slots and did not get them."""

    TOPIC: ClassVar[str] = "ConcurrencyLimit.SlotsDenied"

    slots: int
    holder: Holder | None = None


class LimitDeleted(Event):
    TOPIC: ClassVar[str] = "ConcurrencyLimit.Deleted"


class LimitSnapshot(BaseModel):
    """All that the events of a limit up to one version add up to."""

    model_config = ConfigDict(frozen=True)

    name: str
    limit: int
    active: bool
    slot_decay_per_second: float
    holdings: dict[UUID, Holding]
    level: float
    level_at: datetime | None
    denied_slots: int
    mean_occupancy: float


class ConcurrencyLimit(SnapshotAggregate):
    """A limit. Its name is unique among the limits that were not deleted.

    `holdings` are the slots in use of a limit without decay. A limit with decay is a bucket that slots fill and that
    runs dry by itself: `level` is how full it was at `level_at`; its holdings say only who took what.
    """

    __slots__ = (
        "active",
        "denials",
        "denied_slots",
        "holdings",
        "level",
        "level_at",
        "limit",
        "mean_occupancy",
        "name",
        "slot_decay_per_second",
    )

    kind = "Concurrency Limit"
    snapshot_type = LimitSnapshot

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.name = ""
        self.limit = 0
        self.active = True
        self.slot_decay_per_second = 0.0
        self.holdings: dict[UUID, Holding] = {}
        self.level = 0.0
        self.level_at: datetime | None = None
        self.denied_slots = 0
        self.mean_occupancy = USUAL_OCCUPANCY
        self.denials: dict[tuple[str, Holder | None], SlotsDenied] = {}

    @property
    def decays(self) -> bool:
        return self.slot_decay_per_second > 0

    def level_after(self, at: datetime) -> float:
        """How full the bucket of a limit with decay is at a time."""
        if self.level_at is None:
            return self.level
        seconds = max((at - self.level_at).total_seconds(), 0.0)
        return max(self.level - self.slot_decay_per_second * seconds, 0.0)

    def in_use(self, at: datetime) -> float:
        """How many slots are in use at a time; leases that have expired by then hold none."""
        if self.decays:
            return self.level_after(at)
        return sum(holding.slots for holding in self.holdings.values() if not _over(holding, at))

    def expired(self, at: datetime) -> list[UUID]:
        """The holdings whose lease has run out."""
        return [id for id, holding in self.holdings.items() if _over(holding, at)]

    def apply(self, event: Event) -> None:
        super().apply(event)
        # A refusal is the last one only while nothing else happens to the limit.
        if not isinstance(event, SlotsDenied):
            self.denials = {}

    def fold(self, event: Event) -> None:
        match event:
            case SlotsTaken():
                self._take(event)
            case SlotsReleased():
                self._release(event.holding, event.recorded_at)
            case SlotsReturned():
                self._give_back(event)
            case LeaseRenewed():
                holding = self.holdings.get(event.holding)
                if holding is not None:
                    self.holdings[event.holding] = holding.model_copy(update={"expires_at": event.expires_at})
            case SlotsDenied():
                self.denied_slots += event.slots
                self.denials[event.actor, event.holder] = event
            case LimitCreated():
                self.name, self.limit, self.active = event.name, event.limit, event.active
                self.slot_decay_per_second = event.slot_decay_per_second
                self._occupy(event.active_slots, event)
                self.denied_slots = event.denied_slots
            case LimitUpdated():
                self._change(event)
            case LimitDeleted():
                self.deleted = True
                self.holdings = {}
            case _:
                super().fold(event)

    def _take(self, event: SlotsTaken) -> None:
        at = event.recorded_at
        if self.decays:
            self.level, self.level_at = self.level_after(at) + event.slots, at
            if event.holder is None and event.expires_at is None:
                return
        self.holdings[event.holding] = Holding(
            slots=event.slots,
            since=at,
            holder=event.holder,
            expires_at=event.expires_at,
            leased=event.expires_at is not None,
            actor=event.actor,
        )

    def _release(self, id: UUID, at: datetime) -> None:
        holding = self.holdings.pop(id, None)
        if holding is None:
            return
        self._learn((at - holding.since).total_seconds())
        self.denied_slots = max(self.denied_slots - holding.slots, 0)
        if self.decays:
            self.level, self.level_at = max(self.level_after(at) - holding.slots, 0.0), at

    def _give_back(self, event: SlotsReturned) -> None:
        """Slots of callers that said nothing go back oldest first, those of holders only by their own id."""
        at, left = event.recorded_at, event.slots
        for id, holding in list(self.holdings.items()):
            if holding.holder is not None or holding.leased or not left:
                continue
            gone = min(holding.slots, left)
            left -= gone
            if gone == holding.slots:
                del self.holdings[id]
            else:
                self.holdings[id] = holding.model_copy(update={"slots": holding.slots - gone})
        if event.occupancy_seconds is not None:
            self._learn(event.occupancy_seconds)
        self.denied_slots = max(self.denied_slots - event.slots, 0)
        if self.decays:
            self.level, self.level_at = max(self.level_after(at) - event.slots, 0.0), at

    def _change(self, event: LimitUpdated) -> None:
        at, changes = event.recorded_at, event.changes
        used = self.in_use(at)
        for field in ("name", "limit", "active", "denied_slots"):
            value = getattr(changes, field)
            if value is not None:
                setattr(self, field, value)
        if changes.slot_decay_per_second is not None:
            self.slot_decay_per_second = changes.slot_decay_per_second
            self.level, self.level_at = (used, at) if self.decays else (0.0, None)
        if changes.active_slots is not None:
            self._occupy(changes.active_slots, event)

    def _occupy(self, slots: int, event: LimitCreated | LimitUpdated) -> None:
        """So many slots are in use, by whom nobody said; who held slots until now does no longer."""
        at = event.recorded_at
        self.holdings = {}
        if self.decays:
            self.level, self.level_at = float(slots), at
        elif slots:
            self.holdings[self.id] = Holding(slots=slots, since=at, actor=event.actor)

    def _learn(self, seconds: float) -> None:
        """A slot was held for so long: the mean follows, more slowly the more slots there are."""
        weight = 1 / (2 * max(self.limit, 1))
        self.mean_occupancy += (max(seconds, 0.0) - self.mean_occupancy) * weight

    def wait_seconds(self, slots: int, at: datetime, longest: float) -> float:
        """After how many seconds asking for so many slots again is worth while; at most `longest` without decay."""
        if self.decays:
            seconds = max(self.level_after(at) + slots - self.limit, 0.0) / self.slot_decay_per_second
            return min(seconds, LONGEST_DECAY)
        share = (slots + self.denied_slots) / max(self.limit, 1)
        return min(max(self.mean_occupancy, SHORTEST_OCCUPANCY) * share, longest)


def _over(holding: Holding, at: datetime) -> bool:
    return holding.expires_at is not None and holding.expires_at <= at
