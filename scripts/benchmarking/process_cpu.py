"""CPU time of a process and all that descends from it, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ProcessGone(Exception):
    """There is no process of this `pid` to account for."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"There is no process {pid}.")
        self.pid = pid


def tree_cpu_seconds(pid: int) -> float:
    """User and system seconds used so far by the process `pid`, its descendants and their reaped children.

    A descendant that ended counts through the parent that reaped it. One that ends between the reading of its
    parent and its own is missed: good for servers and pooled connections, not for short-lived processes.
    Raises ProcessGone when `pid` is not running.
    """
    parents, ticks = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name in the second field may hold blanks and brackets, so counting starts after the last bracket.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    if pid not in ticks:
        raise ProcessGone(pid)
    return sum(ticks[each] for each in ticks if _descends(each, pid, parents)) / _TICKS_PER_SECOND


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid != ancestor:
        if pid not in parents:
            return False
        pid = parents[pid]
    return True


class MachineCpu(NamedTuple):
    """CPU seconds of all cores since boot: those spent working, and all that passed."""

    busy: float
    total: float


def machine_cpu_seconds() -> MachineCpu:
    """The machine's CPU time so far, from the first line of /proc/stat."""
    user, nice, system, idle, iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    busy = user + nice + system + irq + softirq + steal
    return MachineCpu(busy / _TICKS_PER_SECOND, (busy + idle + iowait) / _TICKS_PER_SECOND)
