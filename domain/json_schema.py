"""Whether a value fits a JSON schema that a caller wrote: draft 2020-12, without I/O and in bounded time.

Decisions are made under the ledger lock, so neither a pattern nor a schema that refers to itself may keep it. What
cannot be checked in bounded time is not checked; clients check what they load against their own models anyway.
"""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import Draft202012Validator, create
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema
from pydantic_core import ValidationError as Mismatch
from referencing import Registry
from referencing.exceptions import Unresolvable

MOST_STEPS = 200_000
"""How many keywords and names of a schema one check may look at."""

NO_SCHEMAS = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are values, not schemas."""

UNCHECKED = frozenset({"unevaluatedItems", "unevaluatedProperties"})


class UnusableSchema(Exception):
    """A schema by which nothing can be checked, and why."""


class _TooManySteps(Exception):
    pass


def misfit(value: Any, schema: Any, *, all_there: bool = True) -> str | None:
    """What is wrong with a value that a schema describes, in one or two sentences, or None where it fits.

    The wording is that of server 3.9.1. As there, what pydantic 1 writes is understood: null for a property that is not
    required and has no default, and tuples as lists of `items`. Formats are not asserted, and nothing is fetched.
    `all_there` says whether required properties must be there. Raises UnusableSchema.
    """
    try:
        schema = _with_prefix_items(schema)
        Draft202012Validator.check_schema(schema)
        validator = _validator_class(_Steps(all_there))(schema, registry=Registry())
        error = best_match(validator.iter_errors(value))
    except SchemaError as unusable:
        raise UnusableSchema(unusable.message) from unusable
    except RecursionError as endless:
        raise UnusableSchema("Unable to validate schema with circular references.") from endless
    except _TooManySteps as long:
        raise UnusableSchema("Checking it takes too many steps.") from long
    except Unresolvable as unresolvable:
        return f"Validation failed. Failure reason: {unresolvable}"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as odd:
        # References may lead to parts of a schema that are none, which the check of the schema does not see.
        raise UnusableSchema("It refers to what is no schema.") from odd
    if error is None:
        return None
    field = error.json_path.removeprefix("$").removeprefix(".")
    where = f" for field {field!r}" if field else ""
    return f"Validation failed{where}. Failure reason: {error.message}"


class _Steps:
    """The keywords of each schema that a check comes to, and how many it may still look at."""

    def __init__(self, all_there: bool) -> None:
        self.left = MOST_STEPS
        self._skipped = UNCHECKED if all_there else UNCHECKED | {"required"}

    def __call__(self, schema: Any) -> Iterable[tuple[str, Any]]:
        self.left -= 1 + sum(len(value) for value in schema.values() if isinstance(value, list | dict))
        if self.left < 0:
            raise _TooManySteps
        return [(keyword, value) for keyword, value in schema.items() if keyword not in self._skipped]


def _validator_class(steps: _Steps) -> Any:
    ours = {
        "additionalProperties": _additional_properties,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "properties": _properties,
        "uniqueItems": _unique_items,
    }
    return create(
        meta_schema=Draft202012Validator.META_SCHEMA,
        validators={**Draft202012Validator.VALIDATORS, **ours},
        applicable_validators=steps,
    )


def _properties(validator: Any, properties: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    required = schema.get("required", ())
    for name, described in properties.items():
        if name not in value or (value[name] is None and name not in required and _may_be_null(described)):
            continue
        yield from validator.descend(value[name], described, path=name, schema_path=name)


def _may_be_null(described: Any) -> bool:
    return isinstance(described, dict) and "type" in described and "default" not in described


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, described in patterns.items():
        for name, part in value.items():
            if _matcher(pattern) is not None and _matches(pattern, name):
                yield from validator.descend(part, described, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [name for name in value if name not in known and not any(_matches(one, name) for one in patterns)]
    if isinstance(allowed, dict):
        for name in extra:
            yield from validator.descend(value[name], allowed, path=name)
    elif not allowed and extra:
        names = ", ".join(map(repr, extra))
        verb = "was" if len(extra) == 1 else "were"
        yield ValidationError(f"Additional properties are not allowed ({names} {verb} unexpected)")


def _matches(pattern: str, text: str) -> bool:
    matcher = _matcher(pattern)
    if matcher is None:
        return True
    try:
        matcher.validate_python(text)
    except Mismatch:
        return False
    return True


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> SchemaValidator | None:
    """Searches in time linear in the text; None for a pattern that needs more, as one that looks ahead does."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except PatternError:
        return None


def _unique_items(validator: Any, unique: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if unique and isinstance(value, list) and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
        yield ValidationError(f"{value!r} has non-unique elements")


def _with_prefix_items(schema: Any) -> Any:
    """The schema with lists of `items` under the name that they have had since draft 2020-12."""
    if isinstance(schema, list):
        return [_with_prefix_items(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: part if name in NO_SCHEMAS else _with_prefix_items(part) for name, part in schema.items()}
    if isinstance(changed.get("items"), list) and "prefixItems" not in changed:
        changed["prefixItems"] = changed.pop("items")
    return changed
