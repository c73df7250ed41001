"""A narrower net of a user's own, untrained: each group of channels cut to a share, every weight drawn anew.

There is no builder to ask for another width, but :func:`joulemark.nets.dependencies.channel_groups` says which channels
go together. Layers draw their weights as PyTorch's own do when they are made (``reset_parameters``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from joulemark.nets.dependencies import channel_groups, keep
from joulemark.nets.net import Net
from joulemark.techniques.technique import TechniqueError


def narrow_anew(net: Net, width: float, seed: int) -> Net:
    """``net`` with the first ``width`` of the channels of each group, one at least, and weights drawn by ``seed``.

    Raises :class:`TechniqueError` for a net without groups, or with parameters that no layer can draw anew.
    """
    groups = channel_groups(net)
    if not groups:
        raise TechniqueError("small-dense: this net has no channels that can be cut, so it has no width")
    kept = {group.name: list(range(max(1, round(width * group.channels)))) for group in groups}
    small = keep(net, kept, groups)
    module = small.module(formats=False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for path, layer in module.named_modules():
            _draw(path, layer)
    _refuse_trained(module, before)
    return small.with_state(module)


def _refuse_trained(module: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Raise :class:`TechniqueError` if something is still as it was trained: a control must begin from nothing."""
    for name, tensor in module.state_dict().items():
        kept = tensor.is_floating_point() and torch.equal(tensor, before[name])
        if kept and not bool((tensor == 0).all() or (tensor == 1).all()):
            raise TechniqueError(f"small-dense cannot draw {name!r} anew: no reset_parameters() reaches it")


def _draw(path: str, layer: nn.Module) -> None:
    own = [name for name, _ in layer.named_parameters(recurse=False)]
    draw = getattr(layer, "reset_parameters", None)
    if draw is not None:
        draw()
    elif own:
        name = f"{path}.{own[0]}".lstrip(".")
        raise TechniqueError(
            f"small-dense cannot draw {name!r} anew: it is of a {type(layer).__name__}, which has no reset_parameters()"
        )
