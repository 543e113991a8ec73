"""Where notifications may go: which url means what, and which addresses are refused.

Whoever may write policies could let the server call what only the server can reach (server-side request forgery), so
loopback, private and other special addresses are refused unless the settings allow them. It is said at once where that
is plain, and decided when a notification is sent: a name is resolved once, and what was checked is connected to.
"""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit, urlunsplit

import httpx

MASK = "********"

WEBHOOKS = {"http": "http", "https": "https", "json": "http", "jsons": "https"}
"""The schemes of our own webhook, with the one by which each is called."""

USUAL_PORTS = {"http": 80, "https": 443}

EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
"""Addresses of IPv6 that end in one of IPv4, which a gateway may go to (RFC 6052, RFC 8215, RFC 4291)."""

LONGEST_URL = 4000

RESOLVE_SECONDS = 3.0

Address = IPv4Address | IPv6Address


class UnusableTarget(ValueError):
    """A url that notifications cannot or must not go to; its text holds nothing of the url's secrets."""


@dataclass(frozen=True, slots=True)
class Target:
    """A url taken apart. `host` and `port` are there for webhooks; `scheme` is the one that the url was given with."""

    url: str
    scheme: str
    host: str | None = None
    port: int | None = None

    @property
    def is_webhook(self) -> bool:
        return self.host is not None


def parse_target(url: str) -> Target:
    """What a url means. Raises UnusableTarget."""
    if len(url) > LONGEST_URL:
        raise UnusableTarget(f"The url has more than {LONGEST_URL} characters.")
    if any(character <= " " or character == "\x7f" for character in url):
        raise UnusableTarget("The url has blanks in it.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnusableTarget("The url is none.") from None
    scheme = parts.scheme.lower()
    if not scheme or "://" not in url:
        raise UnusableTarget("The url has no scheme.")
    if scheme not in WEBHOOKS:
        return Target(url, scheme)
    if not parts.hostname:
        raise UnusableTarget("The url names no host.")
    called = WEBHOOKS[scheme]
    plain = urlunsplit((called, parts.netloc, parts.path or "/", parts.query, ""))
    try:
        httpx.URL(plain)
    except httpx.InvalidURL:
        raise UnusableTarget("The url is none.") from None
    return Target(plain, scheme, parts.hostname, port or USUAL_PORTS[called])


def shown(target: Target) -> str:
    """As much of a url as may be shown: no more than its scheme, and the host and the port where that is one."""
    if not target.is_webhook:
        return f"{target.scheme}://{MASK}"
    host = target.host or ""
    if ":" in host:
        host = f"[{host}]"
    port = "" if target.port == USUAL_PORTS[WEBHOOKS[target.scheme]] else f":{target.port}"
    return f"{target.scheme}://{host}{port}/{MASK}"


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and does not lead to one that is not.

    Source: the registries of special addresses of IANA, as the standard library has them; RFC 4291, RFC 3056, RFC 4380.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            return is_public(address.sixtofour)
        # The second is the client behind a network address translator; whoever asks for it wants no other.
        if address.teredo is not None or address.scope_id is not None or address.is_site_local:
            return False
        if any(address in network for network in EMBEDDING):
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return (
        address.is_global
        and not address.is_private
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not address.is_loopback
        and not address.is_link_local
    )


async def resolve(host: str, port: int | None) -> list[Address]:
    """All addresses of a host. Raises OSError where there are none, or not in time."""
    try:
        return [ip_address(host)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        looking = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = await asyncio.wait_for(looking, RESOLVE_SECONDS)
    except UnicodeError:
        raise OSError("The name of the host is none") from None
    return list(dict.fromkeys(ip_address(str(address[0])) for *_, address in found))


def refuse_private(addresses: Iterable[Address]) -> None:
    """Raise UnusableTarget where any address of a host is not public: which one is taken is not ours to say."""
    if not all(map(is_public, addresses)):
        raise UnusableTarget(
            "The url leads to an address that is not public;"
            " FLOWLEDGER_NOTIFICATIONS_ALLOW_PRIVATE_TARGETS allows that."
        )


async def check_target(url: str, *, allow_private: bool) -> Target:
    """The target of a policy that is made; what cannot be resolved now may be later. Raises UnusableTarget."""
    target = parse_target(url)
    if target.host is not None and not allow_private:
        try:
            addresses = await resolve(target.host, target.port)
        except OSError:
            return target
        refuse_private(addresses)
    return target
