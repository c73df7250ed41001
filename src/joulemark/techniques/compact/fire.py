"""Fire modules: the net's own convolutions rewritten by SqueezeNet's three strategies and trained from scratch.

Idea:
    Most filters can be of 1 x 1 instead of 3 x 3, those of 3 x 3 can read few channels, and a net that shrinks its maps
    late is more accurate for its size. So every convolution but the first becomes a fire module of the same outputs.

Equations:
    a convolution of n filters of k x k on c channels has  n c k²  weights;  its fire module
    s c + e₁ s + e₃ s k²   with   s = squeeze_ratio n,   e₃ = share_3x3 n,   e₁ = n − e₃

Claims:
    - 50x fewer parameters; SqueezeNet on ImageNet, parameters; AlexNet; no loss of accuracy [seen: title of the paper]

Reference:
    F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer, "SqueezeNet: AlexNet-level accuracy with
    50x fewer parameters and <0.5MB model size", 2016 (arXiv 1602.07360).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import torch
from torch import nn

from joulemark.nets.net import Net
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique
from joulemark.training import cosine, sgd


@technique("fire", paper="Iandola et al. 2016", family="compact architecture", knob="squeeze_ratio", start="scratch")
def fire(
    net: Net,
    bench: Workbench,
    *,
    squeeze_ratio: Annotated[float, Range(0.05, 0.75, gentle="high")] = 0.125,
    share_3x3: Annotated[float, Range(0.1, 0.9)] = 0.5,
    delay: bool = True,
) -> Net:
    """Rewrite the baseline's net with fire modules and train it from scratch by the baseline's own recipe.

    Strategies 1 and 2 of the paper (section 3.1, recalled) are in every fire module; ``delay`` is the third: the first
    pooling moves behind the next stage, where the net allows it (its convolutions keep the size of their maps). That
    costs multiply-accumulates, which parameters do not show; the note "edits" says what was done. The paper's nets are
    plain. Raises :class:`TechniqueError` for a net without a second convolution that is square, odd and plain.
    """
    edits = fires(net, squeeze_ratio, share_3x3)
    if not edits:
        raise TechniqueError("fire needs a net with a second convolution, square, of an odd kernel above 1 x 1")
    moved = late(net) if delay else None
    rewritten = fresh(net, [*edits, *([moved] if moved else [])], bench.seed)
    bench.note("edits", list(rewritten.edits))
    recipe = bench.task.recipe
    optimiser = sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return bench.fit(rewritten, epochs=bench.epochs, optimiser=optimiser, schedule=cosine)


def fires(net: Net, squeeze_ratio: float, share_3x3: float) -> list[dict[str, Any]]:
    """The edits that make fire modules of all convolutions but the first that can be one."""
    found = [(path, layer) for path, layer in net.module(formats=False).named_modules() if isinstance(layer, nn.Conv2d)]
    return [
        {
            "edit": "fire",
            "layer": path,
            "squeeze": max(1, round(squeeze_ratio * layer.out_channels)),
            "expand1x1": layer.out_channels - _wide(layer, share_3x3),
            "expand3x3": _wide(layer, share_3x3),
        }
        for path, layer in found[1:]
        if _fits(layer)
    ]


def late(net: Net) -> dict[str, Any] | None:
    """The edit that moves the first pooling behind the next stage; ``None`` if the net then fits together no more."""
    module = net.module(formats=False)
    stages = [name for name, child in module.named_children() if isinstance(child, nn.Sequential)]
    pools = {
        name: path
        for name in stages
        for path, layer in module.named_modules()
        if path.startswith(f"{name}.") and isinstance(layer, nn.MaxPool2d | nn.AvgPool2d)
    }
    if len(pools) < 2:
        return None
    first, second = list(pools)[:2]
    edit = {"edit": "delay", "layer": pools[first], "stage": second}
    moved = dataclasses.replace(net, edits=(*net.edits, edit))
    try:
        with torch.no_grad():
            moved.module(formats=False)(torch.zeros(1, *net.input_shape))
    except RuntimeError:  # the classifier wants another size
        return None
    return edit


def fresh(net: Net, edits: list[dict[str, Any]], seed: int) -> Net:
    """The baseline's builder with more edits and new weights; the same seed gives the same ones.

    :class:`TechniqueError` for a user's own net, of which only the trained one is known.
    """
    if net.source is not None:
        raise TechniqueError("fire trains a net of other modules from scratch, and this one was given trained")
    bare = Net(builder=net.builder, input_shape=net.input_shape, options=net.options, edits=(*net.edits, *edits))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return bare.with_state(bare.module(formats=False))


def _wide(layer: nn.Conv2d, share_3x3: float) -> int:
    return min(max(1, round(share_3x3 * layer.out_channels)), layer.out_channels - 1)


def _fits(layer: nn.Conv2d) -> bool:
    square = all(len(set(sides)) == 1 for sides in (layer.kernel_size, layer.stride))
    plain = layer.groups == 1 and layer.dilation == (1, 1) and isinstance(layer.padding, tuple)
    kernel = layer.kernel_size[0]
    return (
        square and plain and len(set(layer.padding)) == 1 and kernel > 1 and kernel % 2 == 1 and layer.out_channels > 1
    )
