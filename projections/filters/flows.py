"""The filter of flows."""

from collections.abc import Iterator
from typing import ClassVar

from projections.filters.condition import Condition, exists, negated
from projections.filters.criteria import AnyOrNotAnyId, Entity, JoinedCriteria, Name, Tags


class DeploymentOfFlow(JoinedCriteria):
    """Whether the flow has no deployment."""

    is_null_: bool | None = None

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        if self.is_null_ is not None:
            deployed = exists("FROM read.deployments AS any_deployment WHERE any_deployment.flow_id = flows.id")
            yield negated(deployed) if self.is_null_ else deployed


class FlowFilter(Entity):
    """Which flows are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "flows"

    id: AnyOrNotAnyId | None = None
    name: Name | None = None
    tags: Tags | None = None
    deployment: DeploymentOfFlow | None = None
