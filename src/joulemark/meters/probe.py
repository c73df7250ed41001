"""Finds every energy counter of this machine, and says of the others why they are not there."""

from __future__ import annotations

from pathlib import Path

from joulemark.meters.nvml import find_nvml
from joulemark.meters.rapl import POWERCAP, find_rapl
from joulemark.meters.source import Source, Unavailable


def probe(root: Path = POWERCAP) -> tuple[list[Source], list[Unavailable]]:
    """Open all sources: processor packages below ``root`` (a powercap tree), then NVIDIA boards.

    The sources cover disjoint parts of the machine. The caller closes them.
    """
    packages, no_packages = find_rapl(root)
    boards, no_boards = find_nvml()
    return [*packages, *boards], [*no_packages, *no_boards]
