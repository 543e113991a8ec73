"""Notifications to what is no webhook of ours: chats, mail and whatever else apprise has an address for.

It is loaded when first needed, for that takes a while, and works in threads, for it blocks. Redirects are not followed.
A host in the address is checked before; but apprise resolves it again by itself, and an address may lead to further
hosts in ways of its service's own, so that what holds for our webhook cannot be promised here.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from api.notifications.targets import Target, UnusableTarget, refuse_private, resolve

LOCAL = frozenset({"blink1", "dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Schemes that stay on the machine of the server."""

OWN = frozenset({"json", "jsons"})
"""Schemes that are our own webhook's, though apprise knows them too."""

SENDING = ThreadPoolExecutor(max_workers=8, thread_name_prefix="notifies")
"""Threads that send. One that hangs holds no other threads, and what it sends is given up meanwhile."""


async def is_known(target: Target) -> bool:
    """Whether apprise has a service for a url: one by its scheme, or one whose web address this is."""
    if target.scheme in OWN or target.scheme == "http":
        return False
    return await asyncio.to_thread(_service, target.url) is not None


async def check(target: Target, *, allow_private: bool) -> None:
    """Raise UnusableTarget where apprise knows no such url, and where it leads to what is not public."""
    service = await asyncio.to_thread(_service, target.url)
    if service is None:
        raise UnusableTarget("No service is known for the url.")
    if allow_private:
        return
    if target.scheme in LOCAL:
        raise UnusableTarget("The url leads to the server's own machine.")
    for host in set(_hosts(target, service)):
        try:
            addresses = await resolve(host, None)
        except OSError:
            # Where a host stands in other urls there may be a token.
            continue
        refuse_private(addresses)


async def notify(target: Target, *, subject: str, message: str) -> bool:
    """Send a message; whether the service took it."""
    sending = asyncio.get_running_loop().run_in_executor(SENDING, _notify, target.url, subject, message)
    return await sending


def _hosts(target: Target, service: Any) -> Iterator[str]:
    try:
        named = urlsplit(target.url).hostname
    except ValueError:
        named = None
    for host in (named, getattr(service, "host", None), getattr(service, "smtp_host", None)):
        if isinstance(host, str) and host:
            yield host


def _service(url: str) -> Any:
    import apprise

    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is not None:
        service.redirects = False
    return service


def _notify(url: str, subject: str, message: str) -> bool:
    service = _service(url)
    return service is not None and bool(service.notify(body=message, title=subject))
