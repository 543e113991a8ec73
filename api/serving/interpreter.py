"""How the Python interpreter is set for a process that has an event loop, a ledger thread and thousands of aggregates.

Cycle collector: aggregates and what they hold make no cycles, yet every full collection walks through all of them. With
the usual thresholds that took a quarter of the CPU time of creations and stopped the process for 0.2 s at a time (64
connections, 99th percentile 220 ms against 42 ms without). A look at the youngest stops it too, for as long as there
are many of them: 20 looks at 20,000 each led to one of 0.2 s at the next older, ten at 2,000 lead to one of 10 ms.

Switch interval: the ledger thread holds the ledger lock, which all processes wait for, while it waits for the
interpreter lock after each of its statements. With the usual 5 ms between switches two processes made 3,600 to 4,400
runs a second, with 0.2 ms 5,060 (64 connections, 2 cores).

Memory: the C library gives what a long answer took back to the system at once and asks for it anew with the next one,
page by page. A list of 200 documents met 155 page faults, and none where the memory is kept.
"""

import contextlib
import ctypes
import gc
import sys

YOUNG, MIDDLE, OLD = 2_000, 10, 2_000
"""Net allocations before the youngest are looked at; then how many such looks lead to one at the next older."""

SWITCH_SECONDS = 0.0002

KEPT_BYTES = 32 << 20
"""How much unused memory is kept, and how large a piece may be that is kept."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What `mallopt` calls these (malloc.h of glibc)."""


def settle_interpreter() -> None:
    """Leave what has been loaded so far to itself, look at old objects seldom, let threads take turns quickly, and keep
    some memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    # Other C libraries have no such setting.
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
