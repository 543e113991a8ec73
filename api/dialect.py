"""Which generation of client a request comes from, told by its headers.

Source: headers recorded from clients 2.7.12, 2.20.25 and 3.9.1. Clients from 2.8 on name themselves in `User-Agent`;
2.7 sends the bare python-httpx agent with `X-PREFECT-API-VERSION`. Scripts may name any version.
"""

import re
from functools import lru_cache

ORION_AGENT = re.compile(r"prefect/2\.[0-7](\D|$)")

RENEWING_VERSION = (3, 4, 11)
"""The first version of the client that keeps the lease of its run's slot alive. Source: server 3.9.1."""

VERSION = re.compile(r"prefect/(\d+)\.(\d+)\.(\d+)")

STRICT = "strict"

SERVER_VERSION = "3.9.1"
"""The version that callers are told they speak to, unless they name one of their own: that of the default dialect."""


@lru_cache(maxsize=1024)
def dialect_of(user_agent: str, api_version: str, default: str) -> str:
    """The dialect of a caller with these headers, else the default; where that is `strict`, all callers get it."""
    if default == STRICT:
        return STRICT
    if user_agent.startswith("prefect/"):
        if ORION_AGENT.match(user_agent):
            return "orion"
        return "prefect-2" if user_agent.startswith("prefect/2.") else "prefect-3"
    if api_version and user_agent.startswith("python-httpx/"):
        return "orion"
    return default


@lru_cache(maxsize=1024)
def renews_leases(user_agent: str) -> bool:
    """Whether a client keeps the lease of its run's slot alive while it runs."""
    version = VERSION.match(user_agent)
    return version is not None and tuple(map(int, version.groups())) >= RENEWING_VERSION


def version_for(user_agent: str) -> str:
    """The server version to tell a caller: its own, for clients refuse a server of another major version."""
    if user_agent.startswith("prefect/"):
        return user_agent.removeprefix("prefect/").split(" ")[0] or SERVER_VERSION
    return SERVER_VERSION
