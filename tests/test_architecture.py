"""Imports run api -> projections -> domain, never back, and the domain does no I/O."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"domain": {"projections", "api", "scripts"}, "projections": {"api", "scripts"}, "api": {"scripts"}}
DOMAIN_MAY_IMPORT = {"domain", "pydantic", "pydantic_core", "pendulum", "eventsourcing", "jsonschema", "referencing"}
# The dates of cron expressions and of recurrence rules: pure calculation.
DOMAIN_MAY_IMPORT |= {"croniter", "dateutil"}
IO = {"socket", "http", "urllib", "asyncio", "subprocess", "sqlite3", "pathlib", "io"}


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_from_one_above_it(room: str) -> None:
    wrong = {str(path): imported(path) & FORBIDDEN[room] for path in (ROOT / room).rglob("*.py")}
    assert not any(wrong.values()), wrong


def test_the_domain_imports_no_library_that_reaches_outside() -> None:
    for path in (ROOT / "domain").rglob("*.py"):
        foreign = imported(path) - sys.stdlib_module_names - DOMAIN_MAY_IMPORT
        assert not foreign, f"{path}: {foreign}"
        assert not imported(path) & IO, f"{path}: {imported(path) & IO}"


def test_no_file_holds_two_rooms() -> None:
    files = (path for room in (*FORBIDDEN, "scripts", "tests") for path in (ROOT / room).rglob("*.py"))
    assert not [str(path) for path in files if lines(path) > 500]


def lines(path: Path) -> int:
    return path.read_text().count("\n")
