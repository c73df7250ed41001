"""`joulemark.profile`: a net layer by layer, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from joulemark.energy.model import EnergyModel, energy_model
from joulemark.nets.net import Net
from joulemark.notebook.showing import as_text, framed
from joulemark.notebook.subject import Subject, in_evaluation, named, needed_shape, real_inputs, shape_of_one
from joulemark.profiling.opening import Opened, open_net, opened_module, opened_net
from joulemark.profiling.profile import Profile, batch_size_of, profile_net
from joulemark.profiling.profile_page import render_profile
from joulemark.profiling.profile_text import as_renderables

MOST_BATCH = 4096
"""As of the command."""


class ShownProfile(Profile, frozen=True, kw_only=True):
    """A profile that prints as ``joulemark profile`` does; a notebook shows its page. Its fields are the figures."""

    def __repr__(self) -> str:
        return as_text(as_renderables(self))

    def _repr_html_(self) -> str:
        return framed(render_profile((self,)))


def profile(
    subject: Subject,
    *,
    shape: Sequence[int] | None = None,
    images: Any = None,
    batch_size: int | None = None,
    models: str | EnergyModel | Sequence[str | EnergyModel] = "row-stationary",
) -> ShownProfile:
    """What a net executes, layer by layer: MACs, bytes, and the joules that energy models give it.

    ``subject`` is a name as on the command line ("resnet50", "model.onnx", or "mine.py" and "package.module:build",
    which run that code), a ``Net`` or a torch module. ``shape`` is that of one input, channels first, where the net
    leaves it open. ``images``, a tensor or array (inputs, *shape) in whole batches, are run in place of random inputs,
    so that zeros are those of real data. ``models`` are names of ``joulemark list models``, or models. The joules are
    modelled, and those of a named model's hardware, not of this machine. Raises ``ValueError`` for what cannot be run
    or is unknown.

    >>> lenet = profile("lenet")
    >>> lenet.models[0].joules.kind.value, lenet.proxies["macs_per_input"]
    ('modelled', 2293000.0)
    """
    if batch_size is not None and (type(batch_size) is not int or not 1 <= batch_size <= MOST_BATCH):
        raise ValueError(f"batch_size={batch_size!r:.80}: give a whole number, 1 to {MOST_BATCH}")
    chosen = _models(models)
    row = shape_of_one(shape)
    rows = None if images is None else real_inputs(images, row)
    net = _opened(subject, row, None if rows is None else rows.shape[1:])
    given = None
    if rows is not None:
        given = torch.from_numpy(real_inputs(rows, net.shape))
        size = batch_size_of(net, batch_size)
        if len(given) % size:
            raise ValueError(f"{len(given)} images are no whole batches of {size}: give a multiple of {size}")
    made = profile_net(net, chosen, batch_size=batch_size, images=given)
    return ShownProfile(**{field: getattr(made, field) for field in made.__struct_fields__})


def _opened(subject: Subject, shape: tuple[int, ...] | None, of_images: tuple[int, ...] | None) -> Opened:
    """The net, of ``shape`` or else that of the images where it leaves it open."""
    name = named(subject)
    if name is not None:
        return open_net(name, shape or (None if name.endswith((".safetensors", ".py")) else of_images))
    if isinstance(subject, Net):
        if shape is not None and shape != subject.input_shape:
            raise ValueError(f"shape={shape} does not fit the net, which takes {subject.input_shape}")
        return opened_net(subject.builder, subject)
    assert isinstance(subject, torch.nn.Module)  # noqa: S101  (named() refuses all else)
    kind = type(subject).__name__
    return opened_module(kind, kind, in_evaluation(subject), needed_shape(subject, shape or of_images))


def _models(models: str | EnergyModel | Sequence[str | EnergyModel]) -> list[EnergyModel]:
    """The models named or given, each once. ``ValueError`` for one that there is not or that cannot be made."""
    listed: list[Any] = list(models) if isinstance(models, list | tuple) else [models]
    made: list[EnergyModel] = []
    for one in listed:
        try:
            made.append(energy_model(one) if isinstance(one, str) else one)
        except (TypeError, ImportError) as error:
            raise ValueError(f"the energy model {one!r} cannot be used: {error}") from error
        if not callable(getattr(made[-1], "estimate", None)):
            raise ValueError(f"{one!r:.80} is no energy model: give a name of `joulemark list models`, or a model")
    names = [one.name for one in made]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"models={models!r:.80}: name one model at least, and each once")
    return made
