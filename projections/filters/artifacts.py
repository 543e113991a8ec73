"""The filters of artifacts, and of the latest artifact of each key."""

from collections.abc import Mapping
from typing import ClassVar

from projections.filters.condition import compare
from projections.filters.criteria import AnyId, AnyOrNotAnyText, Entity, Name, Test


class Key(Name):
    """`exists_`: whether it has a key at all."""

    TESTS: ClassVar[Mapping[str, Test]] = {
        **Name.TESTS,
        "exists_": lambda column, wanted: compare("{} IS NOT NULL" if wanted else "{} IS NULL", column),
    }

    exists_: bool | None = None


class ArtifactFilter(Entity):
    """Which artifacts are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "artifacts"

    id: AnyId | None = None
    key: Key | None = None
    flow_run_id: AnyId | None = None
    task_run_id: AnyId | None = None
    type: AnyOrNotAnyText | None = None


class LatestArtifactFilter(Entity):
    """Which keys are meant, by their latest artifacts. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "latest_artifacts"

    latest_id: AnyId | None = None
    key: Key | None = None
    flow_run_id: AnyId | None = None
    task_run_id: AnyId | None = None
    type: AnyOrNotAnyText | None = None
