"""The filter of flows."""

from typing import ClassVar

from projections.filters.criteria import AnyOrNotAnyId, Entity, Name, NotYet, Tags


class FlowFilter(Entity):
    """Which flows are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "flows"

    id: AnyOrNotAnyId | None = None
    name: Name | None = None
    tags: Tags | None = None
    deployment: NotYet = None
