"""Signals: the values between layers that have to be integers too, so that a runtime never leaves them.

Products in integers gain little where every sum, average or concatenation around them is in floats. Runtimes compute
those in 8 bits as well, if what they read was rounded where it was made, once, for all readers. The rule is the usual
one of hardware-aware quantisation (H. Wu et al., "Integer quantization for deep learning inference", 2020; ONNX
Runtime's and OpenVINO's own quantisers were looked at, and place their pairs so):

- what is added to something, averaged, or put beside other channels is rounded, and what is put together in one scale;
- what several products read, or one behind a pooling, is rounded before it: rounding and taking the largest commute;
- a sum or concatenation whose result nobody wants in integers stays in floats.

A value is rounded by a module: on its way into one, or out of one. Where none has it to itself, as in a net that is one
long ``forward``, it stays as it is, but for what a convolution puts out: if anything but one product reads that, it is
rounded in any case, since else no runtime computes the convolution in integers.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import getitem
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from joulemark.nets.flow import MOVES, PRODUCTS, loose, trace

Side = Literal["in", "out"]

aten = torch.ops.aten
SUMS = frozenset({aten.add.Tensor, aten.add_.Tensor})
AVERAGES = frozenset({aten.mean.dim, aten.avg_pool2d.default, aten._adaptive_avg_pool2d.default})
JOINS = frozenset({aten.cat.default})
ACTIVATIONS = frozenset({aten.relu.default, aten.relu_.default, aten.hardtanh.default, aten.hardtanh_.default})
"""What a runtime fuses into the product or sum before it: a value is rounded behind it."""
VIEWS = MOVES - ACTIVATIONS - {aten.max_pool2d_with_indices.default}
"""What changes no value and no order."""
CARRIES = (MOVES - ACTIVATIONS) | {aten.slice.Tensor, aten.permute.default, getitem}
"""What hands on values as they are, or zeros beside them: the same before rounding as after it."""


@torch.library.custom_op("joulemark::mark", mutates_args=())
def mark(x: Tensor, path: str, side: str) -> Tensor:
    """Shows in a trace that a value goes into or out of the module at ``path``."""
    return x.clone()


MARK = torch.ops.joulemark.mark.default


@dataclasses.dataclass(frozen=True)
class Signal:
    """One value that is rounded: what the module at ``path`` is given ("in") or gives ("out").

    Signals with the same ``scale`` share one, and with them the layers ``products``, which read nothing else. With
    ``relu`` a ReLU is all that reads it, and the range is that behind it.
    """

    path: str
    side: Side
    scale: int
    products: tuple[str, ...]
    relu: bool = False


def signals(module: nn.Module, input_shape: tuple[int, ...]) -> list[Signal]:
    """The values of a float module that are rounded, beside the inputs of its products, in the order of the trace.

    >>> class Block(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv, self.relu = nn.Conv2d(2, 2, 1), nn.ReLU()
    ...     def forward(self, x):
    ...         return self.relu(x + self.conv(x))
    >>> net = nn.Sequential(nn.ReLU(), Block(), nn.Conv2d(2, 2, 1)).eval()
    >>> [(one.path, one.side, one.products) for one in signals(net, (2, 4, 4))]
    [('0', 'out', ('1.conv',)), ('1.conv', 'out', ()), ('2', 'out', ())]
    """
    with _marked(module) as calls:
        nodes = [node for _, node in trace(module, input_shape)]
    wanted, scales = _wanted(nodes)
    spots = {value: spot for value in scales if (spot := _spot(value, wanted[value], calls)) is not None}
    products = defaultdict(set)
    for node in nodes:
        if node.target in PRODUCTS and (origin := _origin(_activation(node))) in spots:
            products[scales[origin]].add(_nearest(_activation(node)))
    found = [Signal(*spots[value], scales[value], tuple(sorted(products[scales[value]]))) for value in spots]
    rounded = {
        _nearest(_activation(node))
        for node in nodes
        if node.target in PRODUCTS and (_result(node) in spots or _feeds_one_product(_result(node)))
    }
    outside = {path: relu for path, relu in loose(module, input_shape).items() if path not in rounded}
    return found + [Signal(path, "out", -number, (), relu) for number, (path, relu) in enumerate(outside.items(), 1)]


@contextlib.contextmanager
def _marked(module: nn.Module) -> Iterator[Counter[str]]:
    """Within it every module marks what it is given and gives; how often each was called is counted."""
    calls: Counter[str] = Counter()

    def hooks(path: str, part: nn.Module) -> list[Any]:
        def given(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
            calls[path] += 1
            return (mark(inputs[0], path, "in"), *inputs[1:]) if inputs and _is_signal(inputs[0]) else None

        def gives(_: nn.Module, inputs: Any, output: Any) -> Any:
            return mark(output, path, "out") if _is_signal(output) else None

        return [part.register_forward_pre_hook(given), part.register_forward_hook(gives)]

    held = [one for path, part in module.named_modules() if path for one in hooks(path, part)]
    try:
        yield calls
    finally:
        for one in held:
            one.remove()


def _is_signal(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32 and value.dim() > 1


def _wanted(nodes: Sequence[fx.Node]) -> tuple[dict[fx.Node, set[fx.Node]], dict[fx.Node, int]]:
    """Value -> the operators that want it rounded; and the number of the scale of each, in the order of the trace."""
    readers: dict[fx.Node, set[fx.Node]] = defaultdict(set)
    joined: dict[fx.Node, fx.Node] = {}  # value -> one whose scale it shares
    for node in reversed(nodes):
        if node.target in PRODUCTS:
            readers[_origin(_activation(node))].add(node)
        elif node.target in SUMS | AVERAGES | JOINS:
            operands = _operands(node)
            if operands is None or not readers[_result(node)]:
                continue
            for operand in operands:
                readers[_origin(operand)].add(node)
                if node.target in JOINS:
                    one, other = _root(joined, _origin(operand)), _root(joined, _result(node))
                    joined |= {one: other} if one is not other else {}
    found = {value: some for value, some in readers.items() if some and not _served(value, some)}
    numbers = {node: number for number, node in enumerate(nodes)}
    return found, {value: numbers[_root(joined, value)] for value in nodes if value in found}


def _root(joined: Mapping[fx.Node, fx.Node], value: fx.Node) -> fx.Node:
    while value in joined:
        value = joined[value]
    return value


def _activation(product: fx.Node) -> fx.Node:
    """What a product multiplies with its weights."""
    given: Any = product.args[1 if product.target is aten.addmm.default else 0]
    return given  # type: ignore[no-any-return]


def _nearest(value: fx.Node) -> str:
    """The module that was given a value last; of what a layer multiplies, the layer."""
    while value.target in VIEWS:
        value = value.all_input_nodes[0]
    return str(value.args[1]) if value.target is MARK else ""


def _operands(node: fx.Node) -> list[fx.Node] | None:
    """The values that a sum, average or join reads; ``None`` for one with constants or parameters among them.

    And for an average with ``ceil_mode``: where its window passes the border, ONNX Runtime's 8-bit kernel (1.32)
    divides by the whole window, and its float kernel by what is inside.
    """
    if node.target is aten.avg_pool2d.default and any(node.args[4:5]):
        return None
    given: Any = node.args[0] if node.target in JOINS else node.args[: 2 if node.target in SUMS else 1]
    return list(given) if all(isinstance(one, fx.Node) and one.op != "get_attr" for one in given) else None


def _result(node: fx.Node) -> fx.Node:
    """A sum with the activation that alone reads it, as a runtime computes it; else the node itself."""
    readers = _readers(node)
    return readers[0] if len(readers) == 1 and readers[0].target in ACTIVATIONS else node


def _origin(value: fx.Node) -> fx.Node:
    """Where a value was made: behind it nothing but hands it on."""
    while value.target in CARRIES or value.target is MARK or _pads_zeros(value):
        value = value.all_input_nodes[0]
    return value


def _pads_zeros(node: fx.Node) -> bool:
    return node.target is aten.constant_pad_nd.default and node.args[2:] in ((), (0,), (0.0,))


def _readers(value: fx.Node) -> list[fx.Node]:
    """The operators that read a value, marks left out."""
    found: list[fx.Node] = []
    for reader in value.users:
        found += _readers(reader) if reader.target is MARK else [reader]
    return found


def _served(value: fx.Node, readers: set[fx.Node]) -> bool:
    """Whether the pair of a product itself is enough: one product reads the value, as it is."""
    (reader,) = readers if len(readers) == 1 else (None,)
    return reader is not None and reader.target in PRODUCTS and reader in _readers(value)


def _feeds_one_product(value: fx.Node) -> bool:
    readers = _readers(value)
    return len(readers) == 1 and readers[0].target in PRODUCTS


def _spot(value: fx.Node, wanting: set[fx.Node], calls: Mapping[str, int]) -> tuple[str, Side] | None:
    """The first module that hands ``value`` on to all who want it, and to whom it comes once; ``None`` without one."""
    firsts = {reader for reader in _readers(value) if _leads_to(reader, wanting)}
    waiting = [value]
    while waiting:
        node = waiting.pop(0)
        for mark_ in [one for one in node.users if one.target is MARK]:
            path, side = mark_.args[1:]
            if calls[str(path)] == 1 and firsts <= set(_readers(mark_)):
                return str(path), side  # type: ignore[return-value]
            waiting.append(mark_)
    return None


def _leads_to(reader: fx.Node, wanting: set[fx.Node]) -> bool:
    if reader in wanting:
        return True
    return (reader.target in CARRIES or _pads_zeros(reader)) and any(
        _leads_to(one, wanting) for one in _readers(reader)
    )
