"""Scopes: which part of the machine a source covers, so that no joule is counted twice.

A scope is a path from the outermost part that contains it, like a file's:

    wall                               all that the plug gives
    wall/platform                      psys of Intel: processor, memory and more of the board
    wall/platform/package-0            a processor package; /die-1 of it, and in either /core and /uncore
    wall/platform/dram-0               the memory beside that package
    wall/module-0                      a module with processor, memory and accelerator (Grace Hopper, Jetson)
    wall/board-GPU-4d2c...             an accelerator board

Energies may be added only where no path contains another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

WALL = "wall"
PLATFORM = "wall/platform"


def contains(outer: str, inner: str) -> bool:
    """Whether ``inner`` is ``outer`` itself or a part of it.

    >>> contains("wall/platform/package-1", "wall/platform/package-1/core")
    True
    >>> contains("wall/platform/package-1", "wall/platform/package-10")
    False
    """
    return f"{inner}/".startswith(f"{outer}/")


def overlap(one: str, other: str) -> bool:
    """Whether a joule could be in both scopes.

    A module holds processors, memory and boards, but nothing tells which: it overlaps with all but other modules.

    >>> overlap("wall/module-0", "wall/board-GPU-aa"), overlap("wall/module-0", "wall/module-1")
    (True, False)
    """
    if contains(one, other) or contains(other, one):
        return True
    return _of_module(one) != _of_module(other)


def refuse_overlap(paths: Iterable[str]) -> None:
    """Raise ``ValueError`` if two of the scopes overlap, so that their sum would count energy twice."""
    for one, other in itertools.combinations(paths, 2):
        if overlap(one, other):
            raise ValueError(
                f"each scope must be there once, or its energy is counted twice: {title(one)} ({one}) and "
                f"{title(other)} ({other}) overlap; leave one of them out"
            )


def title(path: str) -> str:
    """The scope in words, as tables and records have it.

    >>> title("wall/platform/package-0/die-1/core")
    'processor package-0-die-1 core'
    >>> title("wall/board-GPU-aa")
    'accelerator board GPU-aa'
    """
    outer, *parts = path.removeprefix(f"{PLATFORM}/").removeprefix(f"{WALL}/").split("/")
    if path == PLATFORM:
        return "platform psys"
    if outer.startswith("board-"):
        outer = f"accelerator board {outer.removeprefix('board-')}"
    elif outer.startswith("package-"):
        outer = f"processor {outer}"
    elif outer.startswith("dram-"):
        outer = f"memory {outer}"
    die = [f"-{part}" for part in parts if part.startswith("die-")]
    return "".join([outer, *die, *(f" {part}" for part in parts if not part.startswith("die-"))])


def _of_module(path: str) -> bool:
    return path.startswith("wall/module-")
