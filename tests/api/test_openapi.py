"""The description of the API is made from what is served, and the page shows all of it."""

from typing import Any

from api.app import ENDPOINTS
from api.openapi import describe, render

DESCRIPTION = describe(list(ENDPOINTS))


def references(node: Any) -> set[str]:
    """All shapes that a part of the description refers to."""
    if isinstance(node, dict):
        own = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    if isinstance(node, list):
        return set().union(*map(references, node))
    return set()


def test_every_endpoint_is_described_once() -> None:
    described = [(method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods]
    assert sorted(described) == sorted((endpoint.method, f"/api{endpoint.path}") for endpoint in ENDPOINTS)


def test_every_shape_that_is_referred_to_is_described() -> None:
    assert references(DESCRIPTION) <= set(DESCRIPTION["components"]["schemas"])


def test_every_parameter_of_a_path_is_described() -> None:
    for path, methods in DESCRIPTION["paths"].items():
        for operation in methods.values():
            in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert in_path == {part.strip("{}") for part in path.split("/") if part.startswith("{")}


def test_a_parameter_that_may_be_left_out_says_so() -> None:
    parameters = DESCRIPTION["paths"]["/api/flow_runs/{id}/graph-v2"]["get"]["parameters"]
    assert {parameter["name"]: parameter["required"] for parameter in parameters} == {"id": True, "since": False}


def test_the_page_shows_every_path_and_links_only_to_what_it_shows() -> None:
    page = render(DESCRIPTION)
    for path in DESCRIPTION["paths"]:
        assert f"<code>{path}</code>" in page
    for name in references(DESCRIPTION):
        assert f"id='{name}'" in page
