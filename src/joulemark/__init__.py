"""Joulemark makes convolutional networks use less energy, and proves it.

The public names, loaded when first used: importing this module takes milliseconds and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulemark.energy.model import energy_model as energy_model
    from joulemark.nets.channels import channel_groups as channel_groups
    from joulemark.nets.channels import keep_channels as keep_channels
    from joulemark.nets.net import Net as Net
    from joulemark.notebook.audit import audit as audit
    from joulemark.notebook.measure import measure as measure
    from joulemark.notebook.own import custom_task as custom_task
    from joulemark.notebook.profile import profile as profile
    from joulemark.notebook.study import benchmark as benchmark
    from joulemark.techniques.technique import Range as Range
    from joulemark.techniques.technique import TechniqueError as TechniqueError
    from joulemark.techniques.technique import Workbench as Workbench
    from joulemark.techniques.technique import technique as technique
    from joulemark.vocabulary import register as register
    from joulemark.workloads.recording import record as workload  # noqa: F401

    __version__: str

_PUBLIC = {
    "Net": ("joulemark.nets.net", "Net"),
    "Range": ("joulemark.techniques.technique", "Range"),
    "TechniqueError": ("joulemark.techniques.technique", "TechniqueError"),
    "Workbench": ("joulemark.techniques.technique", "Workbench"),
    "audit": ("joulemark.notebook.audit", "audit"),
    "benchmark": ("joulemark.notebook.study", "benchmark"),
    "channel_groups": ("joulemark.nets.channels", "channel_groups"),
    "custom_task": ("joulemark.notebook.own", "custom_task"),
    "energy_model": ("joulemark.energy.model", "energy_model"),
    "keep_channels": ("joulemark.nets.channels", "keep_channels"),
    "measure": ("joulemark.notebook.measure", "measure"),
    "profile": ("joulemark.notebook.profile", "profile"),
    "register": ("joulemark.vocabulary", "register"),
    "technique": ("joulemark.techniques.technique", "technique"),
    "workload": ("joulemark.workloads.recording", "record"),
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605  (a list of strings, made from the table above)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("joulemark")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'joulemark' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)
