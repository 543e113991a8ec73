"""SIGINT, SIGTERM and SIGHUP: requests to stop, whatever the server is doing when they come."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Receiver = Callable[[int, FrameType | None], None]


class StopSignals:
    """Hands requests to stop to whoever can act on them, for the time of a `with` block in the main thread.

    While starting, the first one raises `KeyboardInterrupt`, and those after it are ignored so that they do not cut
    the clean-up short. `hand_to` gives them to a running server, `ignore` lets the clean-up after it finish.
    """

    def __init__(self) -> None:
        self._receiver: Receiver = self._interrupt
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            # An ignored SIGHUP is how nohup keeps a server alive when its terminal closes.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def hand_to(self, receiver: Receiver) -> None:
        """Let `receiver` (called as a signal handler) decide from now on."""
        self._receiver = receiver

    def ignore(self) -> None:
        """Do nothing about further requests: the end is under way."""
        self._receiver = lambda number, frame: None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._receiver(number, frame)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.ignore()
        raise KeyboardInterrupt
