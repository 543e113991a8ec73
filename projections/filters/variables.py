"""The filter of variables."""

from collections.abc import Mapping
from typing import ClassVar

from projections.filters.criteria import AnyId, Entity, Name, Tags


class VariableFilter(Entity):
    """Which variables are meant. Fields are those of server 3.9.1; `value`, of text values, is of server 2.20.25."""

    TABLE: ClassVar[str] = "variables"
    COLUMNS: ClassVar[Mapping[str, str]] = {"value": "value_text"}

    id: AnyId | None = None
    name: Name | None = None
    value: Name | None = None
    tags: Tags | None = None
