"""One of several server processes on one port: told what to do on standard input, gone when that ends.

Started by `api.serving.supervisor` as `python -m api.serving.worker <descriptor>`: it reads one line of JSON (an
`Assignment`) from standard input, writes one byte to the descriptor when it accepts connections, and stops as soon as
standard input closes, which the kernel does even if the parent is killed.
"""

import os
import signal
import sys
import threading
import time

import uvicorn
from pydantic import BaseModel, SecretStr

from api.serving.address import Address, bind_shared
from api.serving.http_server import make_server
from api.serving.logs import configure_logging
from api.settings import Settings

# What closing the application may take, after the grace given to its requests.
CLOSING_SECONDS = 5


class Assignment(BaseModel):
    """What a worker needs to know. It holds secrets, so it goes through a pipe and never through arguments."""

    settings: dict[str, object]
    conninfo: str
    app_factory: str
    address: Address

    @classmethod
    def of(cls, settings: Settings, conninfo: str, app_factory: str, address: Address) -> "Assignment":
        """Put the settings into a form that JSON can carry, secret ones included."""
        secrets = {name: value.get_secret_value() for name, value in settings if isinstance(value, SecretStr)}
        return cls(
            settings={**settings.model_dump(mode="json"), **secrets},
            conninfo=conninfo,
            app_factory=app_factory,
            address=address,
        )

    def read_settings(self) -> Settings:
        """Give the settings of the parent process, whatever the environment of this one says."""
        return Settings.model_validate(self.settings)


def main() -> None:
    """Serve until told to stop or left alone."""
    ready = int(sys.argv[1])
    assignment = Assignment.model_validate_json(sys.stdin.buffer.readline())
    settings = assignment.read_settings()
    configure_logging(settings.log_level)
    listener = bind_shared(assignment.address)
    server = make_server(settings, assignment.conninfo, assignment.app_factory, lambda: _tell(ready))
    # uvicorn passes a signal on to the handlers it found, once it has finished: these make that harmless.
    signal.signal(signal.SIGTERM, server.handle_exit)
    signal.signal(signal.SIGINT, server.handle_exit)
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _tell(ready: int) -> None:
    os.write(ready, b"+")


def _stop_with_parent(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    server.should_exit = True
    # Nobody is left to hurry a server that is stuck.
    time.sleep(CLOSING_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
