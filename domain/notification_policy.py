"""The NotificationPolicy aggregate: who is told when a flow run enters a state, of which runs and of which states."""

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event


class SealedUrl(BaseModel):
    """Where notifications go: encrypted, for the address holds secrets, and as much of it as may be shown."""

    model_config = ConfigDict(frozen=True)

    sealed: str
    shown: str


class PolicyTerms(BaseModel):
    """What can be changed of a policy; null is a value, not an absence.

    No state names mean all states, no tags all runs. Notifications go to the `url`, or to that of a block document; one
    of the two is there. `signing_secret` is encrypted.
    """

    model_config = ConfigDict(frozen=True)

    is_active: bool = True
    state_names: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    message_template: str | None = None
    block_document_id: UUID | None = None
    url: SealedUrl | None = None
    signing_secret: str = ""

    def names(self, state_name: str) -> bool:
        """Whether this is a state to tell of."""
        return not self.state_names or state_name in self.state_names

    def covers(self, tags: Iterable[str]) -> bool:
        """Whether a run with these tags is one to tell of: with any of the policy's. Source: server 2.20.25."""
        return not self.tags or not set(self.tags).isdisjoint(tags)


class PolicyCreated(Event):
    TOPIC: ClassVar[str] = "NotificationPolicy.Created"

    terms: PolicyTerms

    @field_serializer("terms")
    def _all(self, terms: PolicyTerms) -> dict[str, Any]:
        return terms.model_dump(mode="json")


class PolicyUpdated(Event):
    """A caller changed those terms that are set in `changes`."""

    TOPIC: ClassVar[str] = "NotificationPolicy.Updated"

    changes: PolicyTerms

    @field_serializer("changes")
    def _only_what_was_set(self, changes: PolicyTerms) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class PolicyDeleted(Event):
    TOPIC: ClassVar[str] = "NotificationPolicy.Deleted"


POLICY_TOPICS = frozenset({PolicyCreated.TOPIC, PolicyUpdated.TOPIC, PolicyDeleted.TOPIC})


class NotificationPolicy(Aggregate):
    """A notification policy. One that was deleted keeps its terms: what was due by then is still delivered."""

    __slots__ = ("terms",)

    kind = "Flow run notification policy"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.terms = PolicyTerms(is_active=False)

    @property
    def speaks(self) -> bool:
        """Whether anything may become due by it."""
        return self.terms.is_active and not self.deleted

    def fold(self, event: Event) -> None:
        match event:
            case PolicyCreated():
                self.terms = event.terms
            case PolicyUpdated():
                changed = {field: getattr(event.changes, field) for field in event.changes.model_fields_set}
                self.terms = self.terms.model_copy(update=changed)
            case PolicyDeleted():
                self.deleted = True
            case _:
                super().fold(event)
