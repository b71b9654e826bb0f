"""Threads that torch computes with: those asked for, or no more than this process may use.

OpenMP sees how many processors a process may run on, and not the share of them that a container or a cluster's job is
given: on 64 processors with a quota of two it starts 64 threads, which wait for one another.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

VARIABLE = "OMP_NUM_THREADS"


def processors(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors that this process may use: its affinity, and the quota of its control group (version 1 or 2)."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(groups)
    return able if quota is None else max(1, min(able, math.ceil(quota)))


def _quota(groups: Path) -> float | None:
    try:
        words = (groups / "cpu.max").read_text(encoding="ascii").split()
    except OSError:
        try:
            words = [
                (groups / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            ]
        except OSError:
            return None
    try:
        quota, period = map(int, words)
    except ValueError:  # "max": no quota
        return None
    return quota / period if quota > 0 and period > 0 else None


def use(number: int | None) -> None:
    """Compute with so many threads; with None no more than there are processors, unless the variable is set."""
    if number is None:
        if VARIABLE in os.environ or processors() == os.cpu_count():
            return
        number = processors()
    os.environ[VARIABLE] = str(number)  # read when torch is imported, here and in processes that are started
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)


def crowded() -> str | None:
    """A note where other programs keep the processors busy."""
    if VARIABLE in os.environ or not hasattr(os, "getloadavg"):
        return None
    load, able = os.getloadavg()[0], processors()
    if load < 1.5 * able:
        return None
    return f"note: {able} processors are shared by about {load:.0f} programs; --threads 1 is often faster then"
