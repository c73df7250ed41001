"""Any net by its name: ours, a saved one, the user's own code, torchvision's, timm's or an ONNX file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from joulemark.nets.header import Format
from joulemark.nets.layers.masked import MaskedLayer
from joulemark.nets.net import Net, build, builders, usual_input_shape
from joulemark.nets.own_nets import PICKLES
from joulemark.subjects.counted_weights import parameters_and_nonzeros
from joulemark.subjects.user_code import build_module, input_shape, output_of
from joulemark.vocabulary import unknown_name_message
from joulemark.workloads.recording import record
from joulemark.workloads.workload import Workload

USUAL_SHAPE = (3, 224, 224)
"""Of torchvision's and timm's nets that state no other."""


@dataclasses.dataclass(frozen=True)
class Opened:
    """A net that can be run on random inputs."""

    name: str
    kind: str  # name of the builder, by which figures of the literature are found
    shape: tuple[int, ...]  # of one input, channels first
    parameters: int
    nonzeros: int
    dynamic: bool  # rows take different ways
    batch: int | None  # the only batch size that it takes; None: any
    runs: Callable[[Tensor, int], Workload]

    def record(self, images: Tensor, batch_size: int) -> Workload:
        """What is executed for ``images``; ``ValueError`` if the net does not run on them."""
        try:  # it may be the user's code, which may raise anything
            workload = self.runs(images, batch_size)
        except Exception as error:
            raise ValueError(
                f"{self.name} does not run on inputs of shape {self.shape}: {type(error).__name__}: {error}"
            ) from error
        if not workload.operations and not workload.unknown:
            raise ValueError(f"{self.name} executed no operator on inputs of shape {self.shape}")
        return workload


def open_net(name: str, shape: tuple[int, ...] | None = None) -> Opened:
    """Open a net by its name; ``shape`` of one input (channels first) is for a net that leaves it open.

    A builder's name, a saved ``.safetensors`` net, ``package.module:function``, a user's task file (``mine.py``), a
    name of torchvision or timm where they are installed, or an ``.onnx`` file. Raises ``ValueError`` that says in one
    sentence what is wrong.

    >>> open_net("lenet").parameters
    431080
    """
    if name.endswith(".safetensors"):
        return _saved(name, shape)
    if name.endswith(".onnx"):
        return _onnx(name, shape)
    if name.endswith(".py"):
        return _of_task_file(name, shape)
    if name.endswith(PICKLES):
        raise ValueError(
            f"{name} may be a pickle, which can run any code when it is opened: export the net to ONNX, or name a"
            " function that builds it, as package.module:function"
        )
    if ":" in name:
        module = build_module(name)
        return opened_module(name, name.partition(":")[2], module, input_shape(module, name, shape))
    if name in builders():
        return _built(name, shape)
    for package, find in (("torchvision", _torchvision), ("timm", _timm)):
        if find_spec(package) is not None and (found := _from_package(package, find, name)) is not None:
            module, usual = found
            return opened_module(f"{package}'s {name}", name, module.eval(), shape or usual)
    raise ValueError(_unknown(name))


def _saved(name: str, shape: tuple[int, ...] | None) -> Opened:
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"there is no file {name}")
    try:
        net = Net.from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return _of_its_shape(name, net, shape)


def _of_task_file(name: str, shape: tuple[int, ...] | None) -> Opened:
    """The net of a user's task. Unless ``shape`` says what an input is, its data are read."""
    from joulemark.benchmarking.own_task import net_of  # not above: no other net needs it

    return _of_its_shape(name, net_of(name, shape), shape)


def _of_its_shape(name: str, net: Net, shape: tuple[int, ...] | None) -> Opened:
    if shape is not None and shape != net.input_shape:
        asked, taken = (",".join(map(str, one)) for one in (shape, net.input_shape))
        raise ValueError(f"{name} takes inputs of shape {taken}, not {asked}")
    return opened_net(name, net)


def _built(name: str, shape: tuple[int, ...] | None) -> Opened:
    shape = shape or usual_input_shape(name)
    if shape is None:
        raise ValueError(
            f"builder {name!r} does not state its INPUT_SHAPE: give the shape of one input, as --shape 3,224,224"
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Built once: a Net would build a large one several times.
        return opened_module(name, name, build(name, {}).eval(), shape)


def opened_net(name: str, net: Net) -> Opened:
    """A net of ours, under that name."""
    module = net.module()
    plain = net.module(formats=False) if net.formats or net.parts else module  # quantised layers keep other tensors
    return opened_module(name, net.builder, module, net.input_shape, counted=plain, formats=net.formats)


def opened_module(
    name: str,
    kind: str,
    module: nn.Module,
    shape: tuple[int, ...],
    *,
    counted: nn.Module | None = None,
    formats: Any = None,
) -> Opened:
    """A torch module that takes inputs of ``shape``; ``kind`` names its builder. ``counted`` holds its parameters.

    Raises ``ValueError`` if its parameters cannot be counted, or lazy ones not be made.
    """
    if any(isinstance(weight, nn.parameter.UninitializedParameter) for weight in module.parameters()):
        output_of(module, name, torch.zeros(1, *shape))  # lazy layers get their shapes when they first run
    try:
        parameters, nonzeros = parameters_and_nonzeros(counted or module)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
    forms: dict[str, Format] = dict(formats or {})
    return Opened(
        name=name,
        kind=kind,
        shape=shape,
        parameters=parameters,
        nonzeros=nonzeros,
        dynamic=hasattr(module, "run") or any(isinstance(layer, MaskedLayer) for layer in module.modules()),
        batch=None,
        runs=lambda images, size: record(module, images, batch_size=size, formats=forms),
    )


def _onnx(name: str, shape: tuple[int, ...] | None) -> Opened:
    try:
        from joulemark.subjects.graph import record_graph
        from joulemark.subjects.onnx_file import open_onnx
    except ImportError as error:
        raise ValueError(f"{name} cannot be opened: install onnx and onnxruntime ({error})") from error
    file = open_onnx(name, shape)
    parameters, nonzeros = file.weights()
    return Opened(
        name=name,
        kind=Path(name).stem,
        shape=file.shape,
        parameters=parameters,
        nonzeros=nonzeros,
        dynamic=False,
        batch=file.batch,
        runs=lambda images, size: record_graph(file.graph, file.rows(images.numpy()), batch_size=size),
    )


def _from_package(
    package: str, find: Callable[[str], tuple[nn.Module, tuple[int, ...]] | None], name: str
) -> tuple[nn.Module, tuple[int, ...]] | None:
    """A net of an installed package, or None if it has none of that name; ``ValueError`` if the package is broken."""
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return find(name)
    except Exception as error:  # torchvision's wheel breaks at import beside another build of torch
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name!r} is no net of ours, and {package} failed when asked for it: {told}") from error


def _torchvision(name: str) -> tuple[nn.Module, tuple[int, ...]] | None:
    from torchvision import models

    if name not in models.list_models():
        return None
    size = getattr(models.get_model_weights(name).DEFAULT.transforms(), "crop_size", None)
    shape = (3, int(size[0]), int(size[0])) if size else USUAL_SHAPE
    return models.get_model(name, weights=None), shape


def _timm(name: str) -> tuple[nn.Module, tuple[int, ...]] | None:
    import timm

    if not timm.is_model(name):
        return None
    module = timm.create_model(name, pretrained=False)
    return module, tuple(getattr(module, "default_cfg", {}).get("input_size", USUAL_SHAPE))


def _unknown(name: str) -> str:
    if name and Path(name).exists():
        return f"{name} is no net that can be opened: give an .onnx file, a saved .safetensors net or a name"
    asked = [package for package in ("torchvision", "timm") if find_spec(package) is not None]
    elsewhere = f"; {' and '.join(asked)} have none of that name either" if asked else ""
    return (
        f"{unknown_name_message('net', name, builders())}{elsewhere}. Your own: package.module:function, an .onnx file "
        "or a saved .safetensors net"
    )
