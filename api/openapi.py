"""The description of the API, and the page that shows it, both made from the table of endpoints that is served."""

from collections.abc import Iterable
from html import escape
from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from api.endpoint import PREFIX, Endpoint
from api.version import VERSION

REFERENCE = "#/components/schemas/{model}"

ANY_BODY = ((413, "The body is too large"), (422, "The body is not what it must be"))
ANYWHERE = ((503, "The database does not answer"),)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem 1.5rem 4rem; }
body { color: #1c2733; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { margin-top: 2rem; border-bottom: 1px solid #d6dde4; }
details { border: 1px solid #d6dde4; border-radius: 6px; margin: .4rem 0; } details > div { padding: 0 1rem .6rem; }
summary { padding: .45rem .8rem; cursor: pointer; } code { font: 13px ui-monospace, monospace; }
.method { display: inline-block; width: 4.2rem; font-weight: 700; } .GET { color: #0a6c3a; } .POST { color: #0b57a4; }
.PATCH { color: #8a5a00; } .DELETE { color: #a3201d; } .what { color: #52606d; float: right; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .15rem .8rem .15rem 0; }
td { vertical-align: top; border-top: 1px solid #eef1f4; }
td:first-child { width: 16rem; } h3 { margin-bottom: .2rem; }
"""


def routes(endpoints: Iterable[Endpoint]) -> list[Route]:
    """The routes of the description and of its page, beside the API and under its prefix."""
    description = describe(list(endpoints))
    page = render(description)

    async def openapi_json(request: Request) -> Response:
        return JSONResponse(description)

    async def docs(request: Request) -> Response:
        return HTMLResponse(page)

    async def home(request: Request) -> Response:
        return RedirectResponse("/docs")

    described = [
        Route(prefix + path, handler)
        for prefix in ("", PREFIX)
        for path, handler in (("/openapi.json", openapi_json), ("/docs", docs))
    ]
    return [*described, Route("/", home)]


def describe(endpoints: list[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of the endpoints."""
    adapters = {id(e.body): TypeAdapter(e.body) for e in endpoints if e.body is not None}
    schemas, definitions = TypeAdapter.json_schemas(
        [(key, "validation", adapter) for key, adapter in adapters.items()], ref_template=REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        body = None if endpoint.body is None else schemas[id(endpoint.body), "validation"]
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Flowledger",
            "version": VERSION,
            "description": "The ledger of workflow runs, in the REST dialect of the Prefect server.",
        },
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _operation(endpoint: Endpoint, body: dict[str, Any] | None) -> dict[str, Any]:
    names = [part.strip("{}") for part in endpoint.path.split("/") if part.startswith("{")]
    answers = (*endpoint.answers, *(ANY_BODY if body is not None else ()), *ANYWHERE)
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[1]],
        "parameters": [_parameter(name, "path") for name in names]
        + [_parameter(name, "query") for name in endpoint.query]
        + [_parameter(name, "query", required=False) for name in endpoint.options],
        "responses": {str(status): {"description": meaning} for status, meaning in answers},
    }
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}, "required": True}
    return operation


def _parameter(name: str, place: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": {"type": "string"}}


def render(description: dict[str, Any]) -> str:
    """The description as a page that needs nothing but itself."""
    info = description["info"]
    sections: dict[str, list[str]] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            section = sections.setdefault(operation["tags"][0], [])
            section.append(_render_operation(method.upper(), path, operation, description["components"]["schemas"]))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in sorted(sections.items()))
    schemas = description["components"]["schemas"]
    shapes = "".join(
        f"<h3 id='{escape(name)}'>{escape(name)}</h3><table>{_render_fields(schema, schemas)}</table>"
        for name, schema in sorted(schemas.items())
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])} API</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} "
        f"The same as data: <a href=openapi.json>openapi.json</a>.</p>{body}<h2>Shapes</h2>{shapes}</html>"
    )


def _render_operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td><code>{status}</code><td>{escape(answer['description'])}"
        for status, answer in operation["responses"].items()
    )
    parameters = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code><td>in the {escape(parameter['in'])}"
        for parameter in operation["parameters"]
    )
    asked = f"<p>Parameters</p><table>{parameters}</table>" if parameters else ""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields = "" if schema is None else f"<p>Body</p><table>{_render_fields(schema, schemas)}</table>"
    return (
        f"<details><summary><span class='method {method}'>{method}</span><code>{escape(path)}</code>"
        f"<span class=what>{escape(operation['summary'])}</span></summary>"
        f"<div>{asked}{fields}<p>Answers</p><table>{answers}</table></div></details>"
    )


def _render_fields(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    target = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    required = target.get("required", [])
    rows = [
        f"<tr><td><code>{escape(name)}</code><td>{_type_name(field)}<td>{'required' if name in required else ''}"
        for name, field in target.get("properties", {}).items()
    ]
    return "".join(rows) or f"<tr><td>{_type_name(target)}"


def _type_name(schema: dict[str, Any]) -> str:
    """What a field holds, as HTML; a shape with a name is a link to its description."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"].rpartition("/")[2]))
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_type_name(one) for one in schema["anyOf"])
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    if schema.get("type") == "array":
        return f"list of {_type_name(schema.get('items', {}))}"
    return escape(str(schema.get("format") or schema.get("type") or "anything"))
