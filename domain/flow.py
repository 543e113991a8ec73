"""The Flow aggregate: a name under which runs are made."""

from typing import Any, ClassVar
from uuid import UUID

from domain.aggregate import Aggregate
from domain.events import Event

Labels = dict[str, bool | int | float | str]


class FlowCreated(Event):
    TOPIC: ClassVar[str] = "Flow.Created"

    name: str
    tags: list[str]
    labels: Labels


class FlowUpdated(Event):
    TOPIC: ClassVar[str] = "Flow.Updated"

    tags: list[str]


class FlowDeleted(Event):
    TOPIC: ClassVar[str] = "Flow.Deleted"


class Flow(Aggregate):
    """A flow. Its name is unique among the flows that were not deleted."""

    __slots__ = ("labels", "name", "tags")

    kind = "Flow"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.name = ""
        self.tags: list[str] = []
        self.labels: dict[str, Any] = {}

    def fold(self, event: Event) -> None:
        match event:
            case FlowCreated():
                self.name = event.name
                self.tags = event.tags
                self.labels = dict(event.labels)
            case FlowUpdated():
                self.tags = event.tags
            case FlowDeleted():
                self.deleted = True
            case _:
                super().fold(event)
