"""Data of blocks: sealed and opened, secrets masked, changes merged without writing masks over secrets."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from api.block_secrets import MASK, Sealer, WrongKey, hidden, merged

KEYS = [Fernet.generate_key().decode() for _ in range(3)]

names = st.sampled_from(["a", "b", "c"])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, values, max_size=3)
secrets = st.lists(
    st.lists(names, min_size=1, max_size=2).map(".".join) | names.map(lambda name: f"{name}.*"), max_size=3
)


@settings(deadline=None)
@given(objects)
def test_what_was_sealed_is_opened_by_any_of_the_keys(data: dict[str, Any]) -> None:
    sealed = Sealer([KEYS[0]]).seal(data)
    assert Sealer([KEYS[1], KEYS[0]]).open(sealed) == data
    assert str(data) not in sealed


def test_another_key_is_told_apart_from_broken_data() -> None:
    with pytest.raises(WrongKey):
        Sealer([KEYS[2]]).open(Sealer([KEYS[0]]).seal({"a": 1}))


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("a", {"a": MASK, "b": {"c": "2", "d": {"e": "3"}}, "n": None}),
        ("b.c", {"a": "1", "b": {"c": MASK, "d": {"e": "3"}}, "n": None}),
        ("b.*", {"a": "1", "b": {"c": MASK, "d": {"e": MASK}}, "n": None}),
        ("b", {"a": "1", "b": {"c": MASK, "d": {"e": MASK}}, "n": None}),
        ("n", {"a": "1", "b": {"c": "2", "d": {"e": "3"}}, "n": None}),
        ("nothing", {"a": "1", "b": {"c": "2", "d": {"e": "3"}}, "n": None}),
    ],
)
def test_secrets_are_masked_by_their_paths(secret: str, expected: dict[str, Any]) -> None:
    assert hidden({"a": "1", "b": {"c": "2", "d": {"e": "3"}}, "n": None}, [secret]) == expected


@settings(deadline=None)
@given(objects, secrets)
def test_sending_back_what_was_shown_changes_nothing(data: dict[str, Any], secrets: list[str]) -> None:
    assert merged(data, hidden(data, secrets), secrets, whole=False) == data
    assert merged(data, hidden(data, secrets), secrets, whole=True) == data


def test_changes_are_laid_over_the_data_or_replace_it() -> None:
    data = {"a": "1", "b": "2"}
    assert merged(data, {"b": "3"}, ["a"], whole=False) == {"a": "1", "b": "3"}
    assert merged(data, {"b": "3"}, ["a"], whole=True) == {"b": "3"}
    assert merged(data, {"a": "new"}, ["a"], whole=False) == {"a": "new", "b": "2"}
