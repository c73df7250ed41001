"""What an energy model is, and how one is found by name.

An energy model turns a recorded workload into joules per input: on hardware that is not here, hence *modelled*, never
measured. Ours are entry points too, so a third party's model is loaded, checked and named exactly as they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from joulemark.record import EnergyReport, Record, Workload, unknown_name

GROUP = "joulemark.energy_models"
"""Entry-point group; each entry is called without arguments and returns an :class:`EnergyModel`."""

OURS = (
    EntryPoint("row-stationary", "joulemark.energy.accelerator:Accelerator", GROUP),
    EntryPoint("row-stationary-horowitz", "joulemark.energy.accelerator:horowitz", GROUP),
    EntryPoint("row-stationary-accelergy", "joulemark.energy.accelerator:accelergy", GROUP),
    EntryPoint("systolic", "joulemark.energy.systolic:Systolic", GROUP),
    EntryPoint("datasheet", "joulemark.energy.datasheet:DataSheet", GROUP),
    EntryPoint("microcontroller", "joulemark.energy.microcontroller:Microcontroller", GROUP),
)

LEARNED = EntryPoint("learned", "joulemark.energy.learned:named_model", GROUP)
"""Called with a name. It belongs to one machine and is not among the installed models; by its text alone, so that what
does not ask for it does not depend on its code."""


@runtime_checkable
class EnergyModel(Protocol):
    """Joules of a workload, by layer and component, with what they rest on."""

    @property
    def name(self) -> str:
        """Short name, unique among models: boards and records carry it."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Where method and constants come from, one sentence each."""
        ...

    def estimate(self, workload: Workload) -> EnergyReport:
        """Joules per input, whole net and layer by layer; what the model does not describe lowers its coverage."""
        ...


class Published(Record, frozen=True, kw_only=True):
    """A figure of the literature for one net, to be shown beside what a model says of it."""

    net: str  # name of the builder
    input_shape: tuple[int, ...]
    joules: float  # per input
    source: str
    remark: str  # how it was got


@runtime_checkable
class Compared(Protocol):
    """A model that knows what the literature says of some nets on its hardware."""

    @property
    def published(self) -> tuple[Published, ...]:
        """Those figures."""
        ...


@runtime_checkable
class Varied(Protocol):
    """A model of several devices: ``name:variant`` asks for one of them."""

    @property
    def variants(self) -> Mapping[str, str]:
        """Names and what they are."""
        ...

    def variant(self, name: str) -> EnergyModel:
        """The model of that device, one of ``variants``."""
        ...


@runtime_checkable
class Filled(Protocol):
    """A model that depends on more than code: on a file of this machine or of the user's."""

    @property
    def content(self) -> str:
        """Content key of that: with another one, what rests on the model is made again."""
        ...


def energy_model_names() -> tuple[str, ...]:
    """Names of all installed models, sorted; nothing is imported.

    >>> "row-stationary" in energy_model_names()
    True
    """
    return tuple(sorted({point.name for point in _points()}))


def energy_model(name: str) -> EnergyModel:
    """Import and make the installed model of that name, or a variant of it ("datasheet:tesla-t4").

    A name that ends in .toml is the path of a file that describes an accelerator. "learned:onnxruntime" is the profile
    that ``joulemark calibrate --backend onnxruntime`` wrote for this machine, and a name that ends in .json the path of
    one.

    Raises ``ValueError`` for a name that no model or more than one model has and for a profile that cannot be used here
    (missing, unfinished, of another machine), ``TypeError`` for an entry point that
    gives something else than a model.

    >>> energy_model("row-stationary").name
    'row-stationary'
    """
    if name.endswith(".toml"):
        from joulemark.energy.accelerator import from_file

        own = from_file(Path(name))
        if own.name in energy_model_names():
            raise ValueError(f"{name} takes the name {own.name!r} of a model that is there: give it another")
        return own
    if name.endswith(".json") or name.partition(":")[0] == LEARNED.name:
        calibrated: EnergyModel = LEARNED.load()(name)
        return calibrated
    name, colon, variant = name.partition(":")
    named = sorted({point.value: point for point in _points() if point.name == name}.items())
    if not named:
        names = energy_model_names()
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else "there are: " + ", ".join(names)
        raise ValueError(f"no energy model is called {name!r}; {hint}")
    if len(named) > 1:
        raise ValueError(f"more than one energy model is called {name!r}: " + ", ".join(value for value, _ in named))
    value, point = named[0]
    model = point.load()()
    if not isinstance(model, EnergyModel):
        raise TypeError(f"{value} is not an energy model: it needs name, sources and estimate(workload)")
    if not colon:
        return model
    offered = model.variants if isinstance(model, Varied) else {}
    if not isinstance(model, Varied) or variant not in offered:
        raise ValueError(unknown_name(f"variant of the energy model {name!r}", variant, offered))
    return model.variant(variant)


def _points() -> tuple[EntryPoint, ...]:
    return (*OURS, *entry_points(group=GROUP))
