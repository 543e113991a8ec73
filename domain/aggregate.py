"""What an aggregate is: the fold of one stream of events, and nothing that is not in them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel

from domain.events import Event
from domain.times import Time

SNAPSHOT = "Snapshot"
"""What stands after the dot in the topic under which a store hands out a snapshot."""


class Aggregate:
    """The state that one stream of events adds up to.

    `kind` is its name in error messages. Only `apply` changes an aggregate, one event at a time and in version order;
    the same events give the same aggregate, whoever asked for them.
    """

    __slots__ = ("created", "deleted", "id", "updated", "version")

    kind: ClassVar[str]

    def __init__(self, id: UUID) -> None:
        self.id = id
        self.version = 0
        self.deleted = False
        self.created: Any = None
        self.updated: Any = None

    def apply(self, event: Event) -> None:
        """Take the next event in. Raises ValueError when it is not the next one."""
        if event.originator_version != self.version + 1:
            raise ValueError(
                f"{self.kind} {self.id} is at version {self.version}, not before {event.originator_version}"
            )
        self.fold(event)
        self.version += 1
        self.updated = event.recorded_at
        if self.version == 1:
            self.created = event.recorded_at

    def fold(self, event: Event) -> None:
        """What this kind of aggregate makes of one event."""
        raise TypeError(f"{self.kind} cannot fold {type(event).__name__}")

    def related_ids(self) -> Iterable[UUID]:
        """Other aggregates that deciding about this one needs."""
        return ()

    @classmethod
    def replay(cls, id: UUID, events: Iterable[Event]) -> Self:
        """The aggregate that these events, in version order, add up to."""
        aggregate = cls(id)
        for event in events:
            aggregate.apply(event)
        return aggregate


class Snapshot(BaseModel):
    """What the events of one stream up to `version` add up to, so that they need not be folded again."""

    id: UUID
    version: int
    created: Time
    updated: Time
    state: dict[str, Any]


class SnapshotAggregate(Aggregate):
    """An aggregate whose stream has no end, and which is therefore folded from its last snapshot on.

    A snapshot is taken of every version that is a multiple of `snapshot_every`; `snapshot` is the last one.
    `snapshot_type` names the fields that make up the state.
    """

    __slots__ = ("snapshot",)

    snapshot_every: ClassVar[int] = 100
    snapshot_type: ClassVar[type[BaseModel]]

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.snapshot: Snapshot | None = None

    def apply(self, event: Event) -> None:
        super().apply(event)
        if self.version % self.snapshot_every == 0:
            fields = {field: getattr(self, field) for field in self.snapshot_type.model_fields}
            state = self.snapshot_type(**fields).model_dump(mode="json")
            created: datetime = self.created
            self.snapshot = Snapshot(
                id=self.id, version=self.version, created=created, updated=event.recorded_at, state=state
            )

    @classmethod
    def restore(cls, snapshot: Snapshot) -> Self:
        """The aggregate as it was when the snapshot was taken."""
        aggregate = cls(snapshot.id)
        aggregate.version = snapshot.version
        aggregate.created, aggregate.updated = snapshot.created, snapshot.updated
        state = cls.snapshot_type.model_validate(snapshot.state)
        for field in cls.snapshot_type.model_fields:
            setattr(aggregate, field, getattr(state, field))
        aggregate.snapshot = snapshot
        return aggregate
