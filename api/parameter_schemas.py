"""Whether parameters of runs fit the JSON schema of their deployment."""

from typing import Any

from domain import json_schema


class Misfit(Exception):
    """Parameters that do not fit; the sentence says which and why."""


class UnusableSchema(Exception):
    """A schema that nothing can be held against; the sentence says why."""


def check_parameters(parameters: dict[str, Any], schema: dict[str, Any], *, all_there: bool) -> None:
    """Raise Misfit for parameters that do not fit the schema, and UnusableSchema for one that is none.

    `all_there` says whether those that the schema requires must be there. Source: answers of server 3.9.1.
    """
    try:
        wrong = json_schema.misfit(parameters, schema, all_there=all_there)
    except json_schema.UnusableSchema as unusable:
        raise UnusableSchema(f"Invalid schema: {unusable}") from None
    if wrong is not None:
        raise Misfit(wrong)
