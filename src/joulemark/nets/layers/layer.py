"""The contract of a kind of layer: one file says how a layer trains, runs, is counted and exported, and what it needs.

A kind comes into a net in one of two ways.

1. A **number format** (:class:`joulemark.nets.header.Format`) names a :class:`LayerKind` of the vocabulary. It stands
   in for a layer of the net and takes over its weights: in one form while the net trains, in another when it runs.
2. An **edit or a builder** puts a module of the kind into the net.

Either way the module itself says the rest, each by an attribute that may be left out:

- ``needs``: the one word of the kernel without which its saving is only simulated ("int8", "mask", "columns", ...);
- ``form``: the number format of its weights and inputs, for the workload;
- ``counts``: operators of its own -> the rule that counts them, and ``free``: names of those that cost nothing;
- ``onnx_translations()``: operators of its own -> a function that writes them in ONNX;
- ``stochastic = True``: its outputs are random by design, also when it runs;
- ``received(x)``: what its products get of an input, where that is not the input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from joulemark.nets.header import Format


class Recorder(Protocol):
    """What a counting rule ``(recorder, arguments, output)`` writes to."""

    def tally(
        self, operator: str, source: Tensor, output: Tensor, weight: Tensor | None = None, **geometry: Any
    ) -> Any:
        """The running sums of this operator, with one more call booked: add its MACs to ``macs``."""
        ...


CountRule = Callable[[Any, tuple[Any, ...], Tensor], None]


def _as_it_was(layer: nn.Module, form: Format) -> Format:
    return form


@dataclasses.dataclass(frozen=True)
class LayerKind:
    """How layers with one kind of number format train and run.

    ``trained(layer, form)`` gives the layer as it trains: a module whose parameters are those of ``layer``, under the
    same names, and through which gradients pass (straight-through). ``deployed(layer, form)`` gives it as it runs.
    Both raise ``ValueError`` for a layer or bits that the kind cannot do. ``needs(form)`` is the word of the kernel
    that makes the saving real. ``learned(layer, form)`` gives the format after training, where a trained layer learned
    something about it; of a layer in another form, the format as it was.
    """

    trained: Callable[[nn.Module, Format], nn.Module]
    deployed: Callable[[nn.Module, Format], nn.Module]
    needs: Callable[[Format], str]
    learned: Callable[[nn.Module, Format], Format] = _as_it_was


class StandIn(nn.Module):
    """A module that stands in for a layer and has its parameters, under their own names.

    Whatever else code reads of the layer (``in_features``, ``stride``) is read of the layer itself, which is kept
    beside the module and not inside it, so that no name of a parameter changes.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in layer.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name in ("weight", "bias"):
            if getattr(layer, name, self) is None:
                self.register_parameter(name, None)
        object.__setattr__(self, "stands_for", layer)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            layer = self.__dict__.get("stands_for")
            if layer is None:
                raise
            return getattr(layer, name)


def words(module: nn.Module) -> frozenset[str]:
    """The words of all kernels that the layers of a module need."""
    return frozenset(word for _, word in needy(module))


def needy(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Path and word of every layer that needs a kernel."""
    for path, layer in module.named_modules():
        word = getattr(layer, "needs", None)
        if isinstance(word, str):
            yield path, word


def is_stochastic(module: nn.Module) -> bool:
    """Whether a net says of itself, or of a part, that its outputs are random by design."""
    return any(getattr(part, "stochastic", False) for part in module.modules())


def own_counts(module: nn.Module) -> Mapping[Any, CountRule]:
    """The counting rules that layers of a module bring."""
    return {operator: rule for layer in module.modules() for operator, rule in getattr(layer, "counts", {}).items()}


def own_free(module: nn.Module) -> frozenset[str]:
    """Names of operators that cost nothing by the word of a layer of a module."""
    return frozenset(name for layer in module.modules() for name in getattr(layer, "free", ()))


def own_translations(module: nn.Module) -> dict[Any, Any]:
    """The operators that layers of a module bring, as ONNX."""
    found: dict[Any, Any] = {}
    for translations in {getattr(type(layer), "onnx_translations", None) for layer in module.modules()}:
        found |= translations() if translations is not None else {}
    return found
