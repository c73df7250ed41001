"""Joulemark makes convolutional networks use less energy, and proves it.

The public names, loaded when first used: importing this module takes milliseconds and needs no torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulemark.benchmarking.run import benchmark as benchmark
    from joulemark.energy.model import energy_model as energy_model
    from joulemark.meters.meters import measure as measure
    from joulemark.nets.net import Net as Net
    from joulemark.techniques.technique import Range as Range
    from joulemark.techniques.technique import TechniqueError as TechniqueError
    from joulemark.techniques.technique import Workbench as Workbench
    from joulemark.techniques.technique import technique as technique
    from joulemark.workloads.recording import record as workload  # noqa: F401

_PUBLIC = {
    "Net": ("joulemark.nets.net", "Net"),
    "Range": ("joulemark.techniques.technique", "Range"),
    "TechniqueError": ("joulemark.techniques.technique", "TechniqueError"),
    "Workbench": ("joulemark.techniques.technique", "Workbench"),
    "benchmark": ("joulemark.benchmarking.run", "benchmark"),
    "energy_model": ("joulemark.energy.model", "energy_model"),
    "measure": ("joulemark.meters.meters", "measure"),
    "technique": ("joulemark.techniques.technique", "technique"),
    "workload": ("joulemark.workloads.recording", "record"),
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605  (a list of strings, made from the table above)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'joulemark' has no attribute {name!r}")
    found = _public(name)
    return globals().get(name, found)  # a module of that name, if the import bound one: the same object every time


def _public(name: str) -> Any:
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)


class _Called(ModuleType):
    """A module that bears the name of a public function, as `joulemark.benchmarking`: calling it calls the function."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return _public(self.__name__.rpartition(".")[2])(*args, **keywords)


class _Package(ModuleType):
    """This package. Importing a submodule binds its name here, which would hide a public function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PUBLIC and isinstance(value, ModuleType):
            value.__class__ = _Called
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
