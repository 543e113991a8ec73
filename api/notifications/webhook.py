"""Our own webhook: a signed POST of JSON to an address that was checked.

Redirects are not followed and proxies of the environment not asked: either would go to where nobody has looked.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

import httpx

from api.notifications.targets import Address, Target
from api.version import VERSION

SIGNATURE = "X-Flowledger-Signature"
TIMESTAMP = "X-Flowledger-Timestamp"
DELIVERY = "X-Flowledger-Delivery"

AGAIN = frozenset({408, 425, 429})
"""Refusals that say to come again: a time-out, too early, too many. Any other 4xx would be given to the same again."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256, in hexadecimal digits, over the timestamp, a dot and the body.

    With the timestamp in it a receiver can refuse what someone has recorded and sends again.
    """
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def headers_for(secret: str, delivery: str, body: bytes, at: datetime) -> dict[str, str]:
    """The headers of a delivery: its id is the same each time it is tried, the signature holds for that time."""
    timestamp = str(int(at.timestamp()))
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Flowledger/{VERSION}",
        DELIVERY: delivery,
        TIMESTAMP: timestamp,
        SIGNATURE: signature(secret, timestamp, body),
    }


def new_client() -> httpx.AsyncClient:
    """A client that goes nowhere by itself; connections are not kept, for each is to an address of its own choice."""
    return httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


async def post(
    client: httpx.AsyncClient, target: Target, addresses: Sequence[Address], body: bytes, headers: dict[str, str]
) -> int:
    """Send a body to the first of a host's addresses that takes a connection; the status it was answered with.

    Raises httpx.HTTPError and OSError. The answer's body is not read.
    """
    for last, address in _marked(addresses):
        try:
            return await _post(client, target, address, body, headers)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if last:
                raise
    raise OSError("The host has no address")


async def _post(
    client: httpx.AsyncClient, target: Target, address: Address, body: bytes, headers: dict[str, str]
) -> int:
    url = httpx.URL(target.url)
    there = url.copy_with(host=str(address))
    # The host is who is asked and whose certificate is looked at; the address is where.
    named = {**headers, "Host": url.netloc.decode("ascii")}
    extensions = {"sni_hostname": url.raw_host.decode("ascii").strip("[]")}
    async with client.stream("POST", there, content=body, headers=named, extensions=extensions) as response:
        return response.status_code


def _marked(addresses: Sequence[Address]) -> list[tuple[bool, Address]]:
    return [(address is addresses[-1], address) for address in addresses]


def is_final(status: int) -> bool:
    """Whether an answer means that asking again is of no use."""
    return 300 <= status < 500 and status not in AGAIN


def is_success(status: int) -> bool:
    return 200 <= status < 300


def describe(failure: BaseException) -> str:
    """What went wrong, in words that hold nothing of the url."""
    if isinstance(failure, TimeoutError | asyncio.TimeoutError | httpx.TimeoutException):
        return "There was no answer in time"
    if isinstance(failure, httpx.ConnectError):
        return "No connection could be made"
    if isinstance(failure, httpx.HTTPError):
        return f"The connection was broken ({type(failure).__name__})"
    if isinstance(failure, OSError):
        return "The host could not be found or reached"
    return f"It could not be sent ({type(failure).__name__})"
