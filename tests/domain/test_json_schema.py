"""Schemas of callers: what fits is let through, what does not is named, and no schema takes the ledger along."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from domain.json_schema import UnusableSchema, misfit

PATTERN = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}


class Inner(BaseModel):
    word: str = "x"
    pair: tuple[int, str] | None = None


class Model(BaseModel):
    number: int
    share: float | None = None
    inner: Inner
    many: list[Inner] = []
    named: dict[str, int] = {}


models = st.builds(
    Model,
    number=st.integers(),
    share=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    inner=st.builds(Inner, word=st.text(), pair=st.none() | st.tuples(st.integers(), st.text())),
    many=st.lists(st.builds(Inner, word=st.text()), max_size=3),
    named=st.dictionaries(st.text(), st.integers(), max_size=3),
)


@given(models)
def test_what_a_model_of_pydantic_writes_fits_its_schema(model: Model) -> None:
    assert misfit(json.loads(model.model_dump_json()), Model.model_json_schema()) is None


@given(models, st.sampled_from(["number", "share", "inner", "many", "named"]))
def test_a_field_of_another_type_is_named(model: Model, field: str) -> None:
    wrong = misfit({**model.model_dump(mode="json"), field: True}, Model.model_json_schema())
    assert wrong is not None
    assert wrong.startswith(f"Validation failed for field '{field}'. Failure reason: ")


@pytest.mark.parametrize(
    ("described", "required", "fits"),
    [
        ({"type": "integer"}, [], True),
        ({"type": "integer"}, ["a"], False),
        ({"type": "integer", "default": 1}, [], False),
        ({"anyOf": [{"type": "integer"}]}, [], False),
    ],
)
def test_null_stands_for_a_field_that_nobody_needs_as_in_schemas_of_pydantic_1(
    described: dict[str, Any], required: list[str], fits: bool
) -> None:
    schema = {"type": "object", "properties": {"a": described}, "required": required}
    assert (misfit({"a": None}, schema) is None) is fits


@pytest.mark.parametrize(("pair", "fits"), [([1, "x"], True), (["x", 1], False)])
def test_tuples_are_understood_as_pydantic_1_writes_them(pair: list[Any], fits: bool) -> None:
    schema = {"properties": {"pair": {"type": "array", "items": [{"type": "integer"}, {"type": "string"}]}}}
    assert (misfit({"pair": pair}, schema) is None) is fits


@pytest.mark.timeout(20)
def test_a_pattern_takes_time_in_proportion_to_the_text() -> None:
    assert misfit({"a": "a" * 100_000}, PATTERN) is None
    assert misfit({"a": "a" * 100_000 + "!"}, PATTERN) is not None


def test_a_pattern_that_cannot_be_searched_for_in_bounded_time_is_left_to_the_client() -> None:
    assert misfit({"a": "b"}, {"properties": {"a": {"pattern": "(?=a)"}}}) is None
    assert misfit({"a": "b"}, {"patternProperties": {"(?=a)a": {"type": "integer"}}}) is None
    assert "'b'" in (misfit({"a": "b"}, {"patternProperties": {"(a+)+$": {"type": "integer"}}}) or "")
    closed = {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False}
    assert misfit({"a" * 50: 1}, closed) is None
    assert "not allowed" in (misfit({"a" * 50 + "b": 1}, closed) or "")


@pytest.mark.timeout(20)
def test_a_schema_that_multiplies_itself_is_given_up() -> None:
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
    with pytest.raises(UnusableSchema, match="steps"):
        misfit({}, {"$defs": {**twice, "a60": {}}, "$ref": "#/$defs/a0"})


@pytest.mark.timeout(20)
def test_many_items_are_told_apart_in_bounded_time() -> None:
    many = {"a": [{"n": n} for n in range(20_000)]}
    unique = {"properties": {"a": {"uniqueItems": True}}}
    assert misfit(many, unique) is None
    assert misfit({"a": [{"n": 1}, {"n": 1}]}, unique) is not None


def test_nothing_is_fetched() -> None:
    wrong = misfit({}, {"$ref": "http://127.0.0.1:1/schema.json"})
    assert wrong is not None
    assert "127.0.0.1" in wrong


def test_a_reference_to_what_is_no_schema_is_said() -> None:
    with pytest.raises(UnusableSchema):
        misfit({}, {"$ref": "#/required", "required": []})


keywords = st.sampled_from(
    ["$ref", "type", "items", "properties", "required", "enum", "allOf", "not", "minimum", "multipleOf", "$defs", "a"]
)
leaves = st.none() | st.booleans() | st.integers() | st.sampled_from(["#", "#/a", "#/a/0", "#/$defs/a", "object", "a"])
schemas = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=4),
    max_leaves=12,
)
values = st.recursive(
    leaves | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(values, schemas)
def test_whatever_is_called_a_schema_is_answered_or_said_to_be_unusable(value: Any, schema: Any) -> None:
    try:
        wrong = misfit(value, schema)
    except UnusableSchema as unusable:
        assert str(unusable)
    else:
        assert wrong is None or wrong.startswith("Validation failed")
