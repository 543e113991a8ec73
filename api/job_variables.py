"""Whether the variables of jobs fit the template of their work pool: outside of the ledger lock, for it may take long.

A template says in `variables` what variables there are, as a JSON schema, with default values. Source: server 3.9.1.
"""

import asyncio
from typing import Any

from api.errors import Refused
from domain import json_schema
from domain.errors import JobVariablesUnchecked


async def check_template(template: dict[str, Any], doing: str) -> None:
    """Raise Refused (422) where default values do not fit what a template says of them."""
    schema = template.get("variables")
    if schema:
        defaults = _defaults(schema)
        known = {name: value for name, value in defaults.items() if value is not None and not _is_reference(value)}
        await _check(known, schema, f"{doing} work pool", all_there=False)


async def check_variables(unchecked: JobVariablesUnchecked, doing: str) -> None:
    """Raise Refused (422) where variables, over the defaults, do not fit the template.

    Defaults that do not fit, or are to be looked up elsewhere, are left out, and then no variable need be there.
    """
    schema = unchecked.template["variables"]
    defaults = _defaults(schema)
    usable = await asyncio.to_thread(_usable, defaults, schema)
    given = {name: value for name, value in unchecked.variables.items() if value is not None or name not in defaults}
    all_there = unchecked.all_there and len(usable) == len(defaults)
    await _check({**usable, **given}, schema, doing, all_there=all_there)


def _defaults(schema: Any) -> dict[str, Any]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return {}
    return {
        name: described["default"]
        for name, described in properties.items()
        if isinstance(described, dict) and "default" in described
    }


def _usable(defaults: dict[str, Any], schema: Any) -> dict[str, Any]:
    try:
        return {
            name: value
            for name, value in defaults.items()
            if not _is_reference(value) and json_schema.misfit({name: value}, schema, all_there=False) is None
        }
    except json_schema.UnusableSchema:
        return {}


def _is_reference(value: Any) -> bool:
    """Whether a default value names a block that holds the value."""
    return isinstance(value, dict) and "$ref" in value


async def _check(variables: dict[str, Any], schema: Any, doing: str, *, all_there: bool) -> None:
    try:
        wrong = await asyncio.to_thread(json_schema.misfit, variables, schema, all_there=all_there)
    except json_schema.UnusableSchema as unusable:
        raise Refused(422, f"Invalid schema: {unusable}") from None
    if wrong is not None:
        raise Refused(422, f"Error {doing}: {wrong}")
