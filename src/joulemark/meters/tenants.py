"""What else happened on the machine while it was measured: counters count everybody's joules.

Two looks, one before and one after a window, make its flags. ``contended``: programs that are not ours used more than a
tenth of the CPU time, or held a board, or a hypervisor took time away. ``throttled``: a core was slowed down because of
heat, or a board's clocks were held down (power cap or heat) at one of the looks. Limits are those of
:mod:`joulemark.judging.stability`. What cannot be seen is not flagged.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from joulemark.judging.stability import disturbances
from joulemark.machine.machine import ROOT, Activity, activity, conditions
from joulemark.meters.nvml import process_ids, throttle_reasons

SHORTEST_SECONDS = 1.0
"""Programs' CPU time is counted in ticks of 10 ms, so of shorter windows it tells nothing."""

FLAGS = {"load": "contended", "stolen time": "contended", "heat": "throttled"}

_STAT = re.compile(r"\d+ \(.*\) \S+ (\d+)(?: \S+){9} (\d+) (\d+) (\d+) (\d+) ", re.DOTALL)
"""proc_pid_stat(5): parent is field 4; user and system time are fields 14, 15, of children waited for 16, 17."""


@dataclass(frozen=True)
class Look:
    """The machine at one moment."""

    activity: Activity
    flags: frozenset[str]  # of its boards


def look(boards: Iterable[str] = (), root: Path = ROOT) -> Look:
    """What the machine has done up to now, and what its boards (by UUID) say; takes milliseconds."""
    own_seconds, own_pids = _own(root)
    seen = dataclasses.replace(activity(root), own_cpu_seconds=own_seconds)
    flags = set()
    for uuid in boards:
        others = set(process_ids(uuid) or ()) - own_pids
        # In a container the driver may tell numbers of the host: whose they are cannot be seen.
        if any((root / f"proc/{pid}").exists() for pid in others):
            flags.add("contended")
        if throttle_reasons(uuid):
            flags.add("throttled")
    return Look(seen, frozenset(flags))


def between(before: Look, after: Look) -> tuple[str, ...]:
    """Flags of the joules that were counted between two looks."""
    flags = {*before.flags, *after.flags}
    seen = conditions(before.activity, after.activity)
    if seen.seconds >= SHORTEST_SECONDS:
        flags |= {FLAGS[name] for name in disturbances(seen)}
    return tuple(sorted(flags))


def boards_of(sources: Iterable[object]) -> list[str]:
    """UUIDs of the boards among some sources."""
    return [uuid for source in sources if isinstance(uuid := getattr(source, "uuid", None), str)]


def _own(root: Path) -> tuple[float, set[int]]:
    """CPU seconds that this process and its descendants have used, dead ones that were waited for included; and who."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in root.glob("proc/[0-9]*/stat"):
        try:
            told = _STAT.match(path.read_text(errors="replace"))
        except OSError:
            continue  # it has ended
        if told:
            pid = int(path.parent.name)
            parents[pid] = int(told[1])
            ticks[pid] = sum(map(int, told.groups()[1:]))
    own = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in own} - own
        own |= more
        grown = bool(more)
    return sum(ticks.get(pid, 0) for pid in own) / os.sysconf("SC_CLK_TCK"), own
