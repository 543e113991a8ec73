"""Payloads: what people put into runs, told apart from the facts that are kept for ever, so that it can be erased.

A field is marked as payload where it is declared, with what stands in its place once it is gone. Where keys are kept,
the payload of a run's events is stored encrypted under one key, beside the facts, which anyone may read:

    {"sealed":{"key":"<id of the key>","fields":["state.message"],"data":"<base64>"},"recorded_at":...}

What is stored is what seals hash, so the chain holds with the keys and without them. A run whose key was destroyed, or
of which an event says that its payload was erased, is read as if nobody had ever put anything into those fields.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar, get_args
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from domain.errors import PayloadKeyGone, PayloadKeysMissing

M = TypeVar("M", bound=BaseModel)

SEALED = b'{"sealed":'
"""How the JSON of an event begins that has a sealed payload; no event has a field of that name."""

Fields = Mapping[str, "Payload | Fields"]


@dataclass(frozen=True)
class Payload:
    """Marks a field, in its annotation, as payload; `gone` is what stands in its place once it was erased."""

    gone: Any = None


class Keyring(Protocol):
    """The keys of payloads, by the id of the run that each was made for. Raises StoreUnavailable when out of reach."""

    def make(self, ids: Iterable[UUID]) -> None:
        """Make keys, each once, that will be there whatever happens from now on."""

    def seal(self, key: UUID, payload: bytes, about: bytes) -> bytes | None:
        """The payload encrypted, to be opened only together with what it is `about`; None where the key is destroyed.

        Raises PayloadKeyMissing for a key that there never was.
        """

    def open(self, key: UUID, sealed: bytes, about: bytes) -> bytes | None:
        """The payload that was sealed; None where the key is destroyed.

        Raises PayloadKeyMissing and PayloadTampered.
        """

    def forget(self, ids: Iterable[UUID] | None) -> None:
        """Look these keys up anew before they are used again; None means all."""


class ErasedKeys:
    """A ring on which every key is destroyed: by it, every sealed payload is read as erased."""

    def make(self, ids: Iterable[UUID]) -> None:
        """Nothing is made."""

    def seal(self, key: UUID, payload: bytes, about: bytes) -> bytes | None:
        return None

    def open(self, key: UUID, sealed: bytes, about: bytes) -> bytes | None:
        return None

    def forget(self, ids: Iterable[UUID] | None) -> None:
        """Nothing is known."""


def without_payload(model: M) -> M:
    """The same with every payload gone; what was empty stays as it was."""
    changes: dict[str, Any] = {}
    for name, what in _marked(type(model)).items():
        value = getattr(model, name)
        if value is None:
            continue
        gone = what.gone if isinstance(what, Payload) else without_payload(value)
        if gone is not value and gone != value:
            changes[name] = gone
    return model.model_copy(update=changes) if changes else model


def payload_paths(model: type[BaseModel]) -> dict[str, Payload]:
    """The payload fields of a model, and of those in it, as paths with dots."""
    return dict(_paths(_marked(model), ""))


def sealed_state(
    model: type[BaseModel], facts: dict[str, Any], key: UUID, keyring: Keyring, about: bytes
) -> bytes | None:
    """The facts of an event as JSON with their payload sealed; None where they have none. Raises PayloadKeyGone."""
    payload = dict(_taken(facts, _marked(model), ""))
    if not payload:
        return None
    sealed = keyring.seal(key, to_json(payload, inf_nan_mode="null"), about)
    if sealed is None:
        raise PayloadKeyGone(key)
    head = {"key": key, "fields": list(payload), "data": b64encode(sealed).decode()}
    return to_json({"sealed": head, **facts}, inf_nan_mode="null")


def opened_facts(model: type[BaseModel], state: bytes, keyring: Keyring | None, about: bytes) -> dict[str, Any]:
    """The facts of an event with its payload in place, or with what stands for it once it is gone.

    Raises PayloadKeysMissing without a ring, and what opening raises.
    """
    if keyring is None:
        raise PayloadKeysMissing
    facts: dict[str, Any] = from_json(state)
    head = facts.pop("sealed")
    opened = keyring.open(UUID(head["key"]), b64decode(head["data"]), about)
    if opened is None:
        marked = payload_paths(model)
        payload = {path: marked.get(path, Payload()).gone for path in head["fields"]}
    else:
        payload = from_json(opened)
    for path, value in payload.items():
        *way, name = path.split(".")
        place = facts
        for step in way:
            place = place[step]
        place[name] = value
    return facts


def key_of(state: bytes) -> UUID | None:
    """The id of the key that the payload in an event's JSON is sealed under; None where none is sealed."""
    return UUID(from_json(state)["sealed"]["key"]) if state.startswith(SEALED) else None


def _taken(facts: dict[str, Any], marked: Fields, way: str) -> Iterator[tuple[str, Any]]:
    """Take the payload that is there out of facts, each with its path."""
    for name, what in marked.items():
        value = facts.get(name)
        if not isinstance(what, Payload):
            if value is not None:
                yield from _taken(value, what, f"{way}{name}.")
        elif value is not None and value != what.gone:
            yield f"{way}{name}", facts.pop(name)


def _paths(marked: Fields, way: str) -> Iterator[tuple[str, Payload]]:
    for name, what in marked.items():
        if isinstance(what, Payload):
            yield f"{way}{name}", what
        else:
            yield from _paths(what, f"{way}{name}.")


@cache
def _marked(model: type[BaseModel]) -> Fields:
    """What is payload of a model, by the names of fields; of models in it, what is payload of those."""
    found: dict[str, Payload | Fields] = {}
    for name, field in model.model_fields.items():
        marker = next((mark for mark in field.metadata if isinstance(mark, Payload)), None)
        if marker is not None:
            found[name] = marker
            continue
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel) and (marked := _marked(inner)):
                found[name] = marked
    return found
