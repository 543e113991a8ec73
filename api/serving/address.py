"""The address the API listens on: taken before anything else is started, so that a clash shows at once."""

import socket
from dataclasses import dataclass

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class AddressUnusable(Exception):
    """Nothing can listen at `host` and `port`; `problem` says why, the message does so in one sentence."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host = host
        self.port = port
        self.problem = problem
        super().__init__(f"Cannot listen on {host} port {port}: {problem}.")


@dataclass(frozen=True)
class Address:
    """A numeric address and the port that was found for it (never 0)."""

    family: socket.AddressFamily
    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL for a client on this machine, without a slash at its end."""
        host = WILDCARDS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def take_address(host: str, port: int) -> tuple[Address, socket.socket]:
    """Bind a socket that nobody else has; it does not listen yet, and keeps others away as long as it is open.

    `port` 0 finds a free one. Of several addresses that `host` stands for, an IPv4 one is preferred. Raises
    `AddressUnusable`.
    """
    family, numeric_host = _resolve(host, port)
    listener = _bind(family, numeric_host, port, shared=False)
    return Address(family, numeric_host, listener.getsockname()[1]), listener


def take_shared_address(host: str, port: int) -> tuple[Address, socket.socket]:
    """Do the same as `take_address` with a socket that lets worker processes bind the same port beside it.

    It never listens itself, so it gets no connections. Raises `AddressUnusable`.
    """
    # Without sharing first: the kernel would let two servers of one user share the port without a word.
    address, alone = take_address(host, port)
    alone.close()
    return address, bind_shared(address)


def bind_shared(address: Address) -> socket.socket:
    """Bind one more socket to an address taken by `take_shared_address`. Raises `AddressUnusable`."""
    return _bind(address.family, address.host, address.port, shared=True)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressUnusable(host, port, error.strerror or str(error)) from error
    family, _, _, _, target = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(target[0])


def _bind(family: socket.AddressFamily, host: str, port: int, *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AddressUnusable(host, port, (error.strerror or str(error)).lower()) from error
    return listener
