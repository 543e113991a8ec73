"""What an aggregate is: the fold of one stream of events, and nothing that is not in them."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self
from uuid import UUID

from domain.events import Event


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
