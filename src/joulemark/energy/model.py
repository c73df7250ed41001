"""What an energy model is, and how one is found by name.

An energy model turns a recorded workload into joules per input: on hardware that is not here, hence *modelled*, never
measured. The vocabulary finds one by name and calls it without arguments, a third party's as ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from joulemark.record import EnergyReport, Record
from joulemark.vocabulary import look_up, names, unknown_name_message
from joulemark.workloads.workload import Workload

LEARNED = "learned"
"""A model that is calibrated belongs to one machine: it is made with a name, and is not among the installed models."""


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
    return tuple(sorted(names("energy model")))


def energy_model(name: str) -> EnergyModel:
    """Import and make the installed model of that name, or a variant of it ("datasheet:tesla-t4").

    A name that ends in .toml is the path of a file that describes an accelerator. "learned:onnxruntime" is the profile
    that ``joulemark calibrate --backend onnxruntime`` wrote for this machine, and a name that ends in .json the path of
    one.

    Raises ``ValueError`` for a name that no model or more than one model has and for a profile that cannot be used here
    (missing, unfinished, of another machine), and for an entry point that gives something else than a model.

    >>> energy_model("row-stationary").name
    'row-stationary'
    """
    if name.endswith(".toml"):
        own: EnergyModel = look_up("model from a file", "accelerator")(Path(name))
        if own.name in energy_model_names():
            raise ValueError(f"{name} takes the name {own.name!r} of a model that is there: give it another")
        return own
    if name.endswith(".json") or name.partition(":")[0] == LEARNED:
        calibrated: EnergyModel = look_up("model from a file", LEARNED)(name)
        return calibrated
    name, colon, variant = name.partition(":")
    make = look_up("energy model", name)
    where = names("energy model")[name]
    try:
        model = make() if callable(make) else make
    except Exception as error:  # an installed package's
        raise ValueError(f"the energy model {name!r} ({where}) raised {type(error).__name__}: {error}") from error
    if not isinstance(model, EnergyModel):
        raise ValueError(f"{where} is not an energy model: it needs name, sources and estimate(workload)")
    if not colon:
        return model
    offered = model.variants if isinstance(model, Varied) else {}
    if not isinstance(model, Varied) or variant not in offered:
        raise ValueError(unknown_name_message(f"variant of the energy model {name!r}", variant, offered))
    return model.variant(variant)
