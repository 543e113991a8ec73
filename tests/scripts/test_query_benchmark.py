"""What is told of measured queries: ratios of the same data, and nothing of answers that differ."""

from rich.console import Console

from scripts.benchmarking.measurement import Window
from scripts.benchmarking.queries import QUERIES, compare_digests
from scripts.benchmarking.query_comparison import FLOWLEDGER, PREFECT, query_table


def window(server: str, p50_ms: float, cpu_ms: float, flow_runs: int = 100, digest: object = 1) -> Window:
    facts = {"flow_runs": flow_runs, "digest": [digest]}
    return Window(server, "count", 1, p50_ms=p50_ms, cpu_ms={"server": cpu_ms / 2, "db": cpu_ms / 2}, facts=facts)


def test_a_window_that_was_answered_otherwise_is_not_verified() -> None:
    ours, theirs, otherwise = window(FLOWLEDGER, 1, 1), window(PREFECT, 1, 1), window(PREFECT, 1, 1, digest=2)
    compare_digests([ours, theirs])
    assert ours.verified and theirs.verified
    compare_digests([ours, otherwise])
    assert ours.verified
    assert otherwise.problems == [f"answered otherwise than {FLOWLEDGER}"]


def test_the_table_tells_how_servers_and_sizes_compare() -> None:
    console = Console(record=True, width=200)
    unverified = window(FLOWLEDGER, 900, 900)
    unverified.problems.append("wrong")
    measured = [
        *(window(FLOWLEDGER, p50, 0.5) for p50 in (1.0, 2.0, 9.0)),
        unverified,
        *(window(PREFECT, 40, cpu) for cpu in (9.0, 10.0, 11.0)),
        window(FLOWLEDGER, 3.0, 0.75, flow_runs=1000),
    ]
    console.print(query_table(measured))
    small, large = (line for line in console.export_text().splitlines() if "count" in line)
    assert [cell.strip() for cell in small.split("│")[2:-1]] == [
        "100",
        "1",
        "2.00",
        "0.00",
        "0.50",
        "0.50-0.50",
        "10.00",
        "20.0",
        "1.00",
    ]
    assert [cell.strip() for cell in large.split("│")[2:-1]][-3:] == ["", "", "1.50"]


def test_each_query_has_a_name_of_its_own_and_something_to_ask() -> None:
    assert len({query.name for query in QUERIES}) == len(QUERIES)
    assert all(query.bodies for query in QUERIES)
