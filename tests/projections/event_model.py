"""The filter of events in plain Python: what a filter, as its JSON, means for events as the API shows them."""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

Document = dict[str, Any]
Filter = dict[str, Any]
Labels = dict[str, str]


def expected(events: Iterable[Document], asked: Filter) -> list[Document]:
    """The events that fit, in the order that is asked for."""
    descending = asked.get("order", "DESC") == "DESC"
    found = sorted(
        (event for event in events if fits(event, asked)),
        key=lambda event: (datetime.fromisoformat(event["occurred"]), event["id"]),
        reverse=descending,
    )
    if not (asked.get("resource") or {}).get("distinct"):
        return found
    first: dict[str, Document] = {}
    for event in found:
        first.setdefault(event["resource"]["prefect.resource.id"], event)
    return [event for event in found if event in first.values()]


def fits(event: Document, asked: Filter) -> bool:
    occurred = asked["occurred"]
    at = datetime.fromisoformat(event["occurred"])
    if not datetime.fromisoformat(occurred["since"]) <= at <= datetime.fromisoformat(occurred["until"]):
        return False
    ids = (asked.get("id") or {}).get("id")
    return (
        (not ids or event["id"] in ids)
        and _named(event["event"], asked.get("event") or {})
        and _resource(event["resource"], asked.get("resource") or {})
        and all(_some_related(event["related"], one) for one in _several(asked.get("related")))
        and all(
            not _asks(one) or any(_resource(labels, one) for labels in [event["resource"], *event["related"]])
            for one in _several(asked.get("any_resource"))
        )
        and _text(event, asked.get("text"))
    )


def _several(asked: Any) -> list[Filter]:
    return asked if isinstance(asked, list) else [asked] if asked else []


def _asks(asked: Filter) -> bool:
    return any(asked.get(field) for field in ("id", "id_prefix", "labels"))


def _named(name: str, asked: Filter) -> bool:
    return (
        (not asked.get("name") or name in asked["name"])
        and (not asked.get("prefix") or name.startswith(tuple(asked["prefix"])))
        and name not in (asked.get("exclude_name") or ())
        and not name.startswith(tuple(asked.get("exclude_prefix") or ()))
    )


def _resource(labels: Labels, asked: Filter) -> bool:
    id = labels["prefect.resource.id"]
    return (
        (not asked.get("id") or id in asked["id"])
        and (not asked.get("id_prefix") or id.startswith(tuple(asked["id_prefix"])))
        and _labelled(labels, asked.get("labels"))
    )


def _some_related(related: list[Labels], asked: Filter) -> bool:
    if not any(asked.get(field) for field in ("id", "role", "resources_in_roles", "labels")):
        return True
    return any(
        (not asked.get("id") or labels["prefect.resource.id"] in asked["id"])
        and (not asked.get("role") or labels["prefect.resource.role"] in asked["role"])
        and (
            not asked.get("resources_in_roles")
            or [labels["prefect.resource.id"], labels["prefect.resource.role"]] in asked["resources_in_roles"]
        )
        and _labelled(labels, asked.get("labels"))
        for labels in related
    )


def _labelled(labels: Labels, asked: dict[str, Any] | None) -> bool:
    return all(
        any(_like(labels.get(label), pattern) for pattern in ([wanted] if isinstance(wanted, str) else wanted))
        for label, wanted in (asked or {}).items()
    )


def _like(value: str | None, pattern: str) -> bool:
    if value is None:
        return False
    plain = re.escape(pattern.removeprefix("!")).replace(r"\*", ".*").replace(r"\?", ".")
    return (re.fullmatch(plain, value, re.DOTALL) is not None) is not pattern.startswith("!")


def _text(event: Document, asked: Filter | None) -> bool:
    """Words without quotes only."""
    if asked is None:
        return True
    parts = (event["resource"], event["related"], event["payload"])
    searched = " ".join([event["event"], *(json.dumps(part, ensure_ascii=False) for part in parts)]).lower()
    plain = []
    for word in asked["query"].lower().split():
        found = word.lstrip("+-!") in searched
        if word[0] == "+" and not found:
            return False
        if word[0] in "-!" and found:
            return False
        if word[0] not in "+-!":
            plain.append(found)
    return not plain or any(plain)
