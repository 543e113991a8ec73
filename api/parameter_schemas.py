"""Whether parameters of runs fit the JSON schema of their deployment (draft 2020-12)."""

from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match
from jsonschema.validators import extend
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

Errors = Iterator[ValidationError]
META_SCHEMA = Draft202012Validator(Draft202012Validator.META_SCHEMA)


class Misfit(Exception):
    """Parameters that do not fit; the sentence says which and why."""


class UnusableSchema(Exception):
    """A schema that nothing can be held against; the sentence says why."""


def check_parameters(parameters: dict[str, Any], schema: dict[str, Any], *, all_there: bool) -> None:
    """Raise Misfit for parameters that do not fit the schema, and UnusableSchema for one that is none.

    `all_there` says whether those that the schema requires must be there. Nothing is fetched: a schema that refers to
    one elsewhere fits nothing. Source: answers of server 3.9.1.
    """
    schema = in_todays_words(schema)
    try:
        wrong = best_match(META_SCHEMA.iter_errors(schema))
        if wrong is not None:
            raise UnusableSchema(f"Invalid schema: {wrong.message}")
        error = best_match((COMPLETE if all_there else PARTIAL)(schema, registry=Registry()).iter_errors(parameters))
    except RecursionError:
        raise UnusableSchema("Invalid schema: Unable to validate schema with circular references.") from None
    except Unresolvable as unresolvable:
        raise Misfit(f"Validation failed. Failure reason: {unresolvable}") from None
    except (ValueError, ArithmeticError) as what:
        # An address or a number in the schema that nothing can be done with.
        raise UnusableSchema(f"Invalid schema: {what}") from None
    if error is None:
        return
    where = error.json_path.removeprefix("$").removeprefix(".")
    raise Misfit(f"Validation failed{f' for field {where!r}' if where else ''}. Failure reason: {error.message}")


def in_todays_words(schema: Any) -> Any:
    """The schema with `prefixItems` where it has a list of `items`, as pydantic 1 writes tuples."""
    if isinstance(schema, list):
        return [in_todays_words(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_tuple = isinstance(schema.get("items"), list)
    return {
        "prefixItems" if is_tuple and word == "items" else word: in_todays_words(value)
        for word, value in schema.items()
    }


def _properties(validator: Any, properties: Any, instance: Any, schema: Any) -> Errors:
    """As the standard has it, but a property that is neither required nor has a default may be null.

    Clients that make their schemas with pydantic 1 write `str | None` as `str`.
    """
    if not validator.is_type(instance, "object"):
        return
    required = schema.get("required", ())
    for name, subschema in properties.items():
        if name not in instance:
            continue
        typed = isinstance(subschema, dict) and "type" in subschema and "default" not in subschema
        if instance[name] is None and name not in required and typed:
            continue
        yield from validator.descend(instance[name], subschema, path=name, schema_path=name)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Errors:
    if validator.is_type(instance, "string") and not matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Errors:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text, in a time that is linear in its length.

    Patterns are Rust's, as in pydantic, for nobody's pattern may keep the process busy. One that only Python knows
    (such as one that looks ahead) is found in any text: clients check their parameters themselves as well.
    """
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        return True
    return validator.isinstance_python(text)


_OWN_KEYWORDS: dict[str, Any] = {
    "properties": _properties,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
}
_extend: Callable[..., Callable[..., Any]] = extend
COMPLETE = _extend(Draft202012Validator, _OWN_KEYWORDS)
PARTIAL = _extend(COMPLETE, {"required": lambda validator, required, instance, schema: iter(())})
