"""Bodies may say only what can be kept and given back as it was."""

import json
from typing import Any

import pytest
from pydantic_core import from_json

from api.errors import InvalidRequest
from api.text import readable, refuse_unrepresentable, representable


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (rb'{"a": "x\u0000"}', ["body", "a"]),
        (rb'{"a": [{"b": "\u0000"}]}', ["body", "a", 0, "b"]),
        (rb'{"\u0000": 1}', ["body"]),
        (b'{"a": NaN}', ["body", "a"]),
        (b'{"a": [-Infinity]}', ["body", "a", 0]),
        (b'{"a": 1e999}', ["body", "a"]),
        (b'{"a": ' + b"1" * 250 + b"e99 }", ["body", "a"]),
        (b"1" * 250 + b"E+99", ["body"]),
        (b'{"a": ' + b"9" * 400 + b".5}", ["body", "a"]),
    ],
)
def test_what_cannot_be_kept_is_refused_and_its_place_named(body: bytes, where: list[Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        refuse_unrepresentable(body)
    assert refusal.value.details[0]["loc"] == where


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": "\\u0000"}',
        b'{"a": "NaN and Infinity"}',
        b'{"a": 1e-999}',
        b'{"a": 1e300}',
        b'{"a": ' + b"9" * 400 + b"}",
    ],
)
def test_what_only_looks_like_it_is_taken(body: bytes) -> None:
    refuse_unrepresentable(body)


def test_content_is_made_representable_where_nobody_can_be_told() -> None:
    content = from_json(rb'{"a\u0000": ["\u0000", 1e999, 1.5, NaN]}')
    assert representable(content) == {"a\ufffd": ["\ufffd", None, 1.5, None]}
    assert json.dumps(representable(content), allow_nan=False)


@pytest.mark.parametrize(
    ("body", "said"),
    [(b'{"a": [1]}', {"a": [1]}), (b"", None), (b"{not json", "{not json"), (b"\xff", "\ufffd")],
)
def test_a_body_is_repeated_as_far_as_it_can_be_read(body: bytes, said: Any) -> None:
    assert readable(body) == said
