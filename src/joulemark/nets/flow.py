"""Flow: which operator reads what a layer puts out, from one traced run of a module.

What a runtime can fuse depends on this and not on names or on the order of children: a batch norm goes into a
convolution only if nothing else reads the convolution, an integer convolution needs integers on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from operator import getitem

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

aten = torch.ops.aten

NORMS = frozenset({aten.native_batch_norm.default, aten._native_batch_norm_legit_no_training.default})
PRODUCTS = frozenset({aten.convolution.default, aten.addmm.default, aten.mm.default})
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
"""What techniques and integers take, of windows of a signal as of images."""
MOVES = frozenset(
    {
        aten.relu.default,
        aten.max_pool2d_with_indices.default,
        aten.view.default,
        aten._unsafe_view.default,
        aten.clone.default,
        aten.alias.default,
        aten.unsqueeze.default,  # PyTorch pools a signal as an image of height 1
        aten.squeeze.dim,
    }
)
"""What neither scales nor adds up values: it is the same before quantising as after it."""


def trace(module: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[str | None, fx.Node]]:
    """The operators of one run on two rows of zeros, all exits of a dynamic net included, without dead ends.

    Beside each stands the path of the convolution or batch norm that it is; ``None`` for all else and for a layer of
    which a parameter is used more than once, by itself or by another layer that shares it.
    """
    call = getattr(module, "forward_all", module)
    with torch.no_grad():
        traced = make_fx(lambda x: call(x))(torch.zeros(2, *input_shape))  # noqa: PLW0108 (a method has one argument more)
    traced.graph.eliminate_dead_code()
    names = {id(p): name.removesuffix(".weight") for name, p in module.named_parameters() if name.endswith(".weight")}
    owners = owners_of(module)
    found, uses = [], Counter[str]()
    for node in traced.graph.nodes:
        given = [id(getattr(traced, str(one.target), None)) for one in node.all_input_nodes if one.op == "get_attr"]
        uses.update({path for one in given for path in owners.get(one, ())})
        weight = node.args[1] if node.target in NORMS or node.target is aten.convolution.default else None
        own = getattr(traced, str(weight.target), None) if isinstance(weight, fx.Node) else None
        shared = len(owners.get(id(own), ())) > 1  # also one layer under two names
        found.append((None if shared else names.get(id(own)), node))
    return [(layer if layer is not None and uses[layer] == 1 else None, node) for layer, node in found]


def owners_of(module: nn.Module) -> dict[int, set[str]]:
    """Identity of every parameter -> paths of the layers that have it: more than one where layers are tied."""
    owners: dict[int, set[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), set()).add(name.rpartition(".")[0])
    return owners


def foldable(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, str]:
    """Convolution -> batch norm, by path, wherever a batch norm is all that reads a 1-D or 2-D convolution."""
    traced = trace(module, input_shape)
    layers = {node: layer for layer, node in traced}
    found = {}
    for layer, node in traced:
        reader = next(iter(node.users), None)
        if layer and reader and len(node.users) == 1 and reader.target in NORMS:
            norm, convolution = module.get_submodule(layers[reader] or ""), module.get_submodule(layer)
            kinds = isinstance(convolution, CONVOLUTIONS) and isinstance(norm, BATCH_NORMS)
            if kinds and norm.track_running_stats:
                found[layer] = str(layers[reader])
    return found


def loose(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, bool]:
    """Paths of convolutions whose outputs reach more or other than the input of one convolution or linear layer.

    The value says whether a ReLU is all that reads them. Between two layers may be what moves values without scaling or
    adding (ReLU, max pooling, flattening).
    """
    return {
        layer: [reader.target for reader in node.users] == [aten.relu.default]
        for layer, node in trace(module, input_shape)
        if layer and node.target is aten.convolution.default and not _feeds_one_product(node)
    }


def all_pass(
    traced: Sequence[tuple[str | None, fx.Node]], makers: Collection[str], gate: str, *, through: Collection[str]
) -> bool:
    """Whether what the layers ``makers`` put out is read behind the convolution ``gate`` only.

    Readers are products and the outputs of the net; the convolutions ``through`` (depthwise ones) do not count, but
    what is behind them does. ``traced`` is of :func:`trace`; a maker or gate that is not in it is answered by no.
    """
    layers = {node: layer for layer, node in traced}
    if not {*makers, gate} <= set(layers.values()):
        return False
    waiting, seen = [node for node, layer in layers.items() if layer in makers], set()
    while waiting:
        for reader in waiting.pop().users:
            if reader.op == "output" or (reader.target in PRODUCTS and layers[reader] not in {gate, *through}):
                return False
            if layers.get(reader) != gate and reader not in seen:
                seen.add(reader)
                waiting.append(reader)
    return True


def _feeds_one_product(node: fx.Node) -> bool:
    while len(node.users) == 1:
        (node,) = node.users
        if node.target in PRODUCTS:
            return True
        if node.target not in MOVES and node.target is not getitem:  # getitem: the values of a pooling
            return False
    return False
