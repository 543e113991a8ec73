"""The dialect of a request comes from the headers that recorded clients send."""

import pytest

from api.dialect import dialect_of, version_for


@pytest.mark.parametrize(
    ("user_agent", "api_version", "dialect"),
    [
        ("prefect/3.9.1 (API 0.8.4)", "0.8.4", "prefect-3"),
        ("prefect/2.20.25 (API 0.8.4)", "0.8.4", "prefect-2"),
        ("prefect/2.8.0 (API 0.8.4)", "0.8.4", "prefect-2"),
        ("prefect/2.7.12 (API 0.8.4)", "0.8.4", "orion"),
        ("python-httpx/0.23.3", "0.8.4", "orion"),
        ("python-httpx/0.28.1", "", "the default"),
        ("curl/8.0", "", "the default"),
        ("", "", "the default"),
    ],
)
def test_the_headers_tell_the_dialect(user_agent: str, api_version: str, dialect: str) -> None:
    assert dialect_of(user_agent, api_version, "the default") == dialect


def test_callers_are_told_a_version_they_can_talk_to() -> None:
    assert version_for("prefect/2.20.25 (API 0.8.4)") == "2.20.25"
    assert version_for("prefect/3.4.0 (API 0.8.4)") == "3.4.0"
    assert version_for("python-httpx/0.28.1").startswith("3.")
