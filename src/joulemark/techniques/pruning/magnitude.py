"""Magnitude pruning: zero the smallest weights of the trained net at once, then retrain what is left.

Idea:
    A weight near zero contributes little, so the smallest of them are set to zero and stay so while the rest is trained
    on to make up for them. How that retraining sets its learning rate matters as much as which weights went: rewinding
    repeats the rates of the end of the original training instead of small ones.

Equations:
    kept = the k largest |w| of all weights of convolutions and linear layers,   k = round((1 − sparsity) n)
    fine-tune:  learning rate = a tenth of the recipe's peak × s(p)
    rewind:     learning rate = the recipe's peak × s(1 − r + r p)
    s = the recipe's schedule over its whole training (warm-up, cosine), p from 0 to 1 = progress of the retraining,
    r = share of the original training that is rewound

Claims:
    - 9x fewer parameters (61 to 6.7 million); AlexNet on ImageNet, parameters; the dense net; no loss of accuracy
      [seen: abstract of Han et al.]
    - 13x fewer parameters (138 to 10.3 million); VGG-16 on ImageNet, parameters; the dense net; no loss of accuracy
      [seen: abstract of Han et al.]
    - rewinding outperforms fine-tuning; several nets, accuracy at a compression ratio; fine-tuning of the same pruned
      net; accuracy change not stated [seen: abstract of Renda et al.]
    - 5.96x fewer parameters; ResNet-50 on ImageNet, parameters; the dense net; no loss of accuracy [recalled]

Reference:
    S. Han, J. Pool, J. Tran, W. Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015
    (arXiv 1506.02626); rewinding: A. Renda, J. Frankle, M. Carbin, "Comparing rewinding and fine-tuning in neural
    network pruning", ICLR 2020 (arXiv 2003.02389); compressed into fewer epochs: D. H. Le, B.-S. Hua, "Network pruning
    that matters: a case study on retraining variants", ICLR 2021 (arXiv 2105.03193).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from joulemark.nets.net import Net
from joulemark.techniques.technique import Range, Workbench, technique
from joulemark.training import Schedule, cosine, sgd


@technique(
    "magnitude",
    paper="Han et al. 2015; rewinding: Renda, Frankle, Carbin 2020, compressed as in Le, Hua 2021",
    family="pruning",
    knob="sparsity",
)
def magnitude(
    net: Net,
    bench: Workbench,
    *,
    sparsity: Annotated[float, Range(0.1, 0.99)] = 0.9,
    scope: Literal["global", "layer"] = "global",
    retraining: Literal["fine-tune", "rewind"] = "fine-tune",
    rewind: Annotated[float, Range(0.01, 1.0)] = 0.9,
    rounds: Annotated[int, Range(1, 50)] = 1,
) -> Net:
    """Zero the share ``sparsity`` of the weights with the smallest magnitude and retrain the others.

    Weights of convolutions and linear layers are candidates; biases and batch-norm parameters are not. ``scope``
    "global" ranks all layers together, as Renda et al. do (recalled): a layer that has more weights than it needs gives
    more of them, at no knob a layer. "layer" takes the same share of each; Han et al. set a threshold a layer by its
    standard deviation and a factor tuned by hand (recalled), which no budget here pays for.

    ``retraining`` "fine-tune" is that of every technique here (the workbench's own: a tenth of the recipe's learning
    rate, warmed up and decayed). The papers' is fixed at the last rate of a step schedule (seen: Le and Hua, figure 1);
    that of a cosine is zero. "rewind" is :func:`rewound`: ``rewind`` is the share of the original training whose rates
    are repeated, compressed into the epochs of the budget; 0.9 leaves out no more than the recipe's warm-up.

    One round prunes in one shot; more prune and retrain in turns, as Han et al. and Renda et al. do (recalled), the
    share kept falling geometrically, within the same epochs.
    """
    for done, epochs in enumerate(spread(bench.epochs, rounds)):
        net = prune(net, 1.0 - (1.0 - sparsity) ** ((done + 1) / rounds), scope=scope)
        if epochs or rounds == 1:
            net = retrain(net, bench, epochs, retraining=retraining, rewind=rewind)
    bench.note("weights_kept_by_layer", {name: int(mask.sum()) for name, mask in net.masks.items()})
    return net


def spread(epochs: int, rounds: int) -> list[int]:
    """Epochs of each round; if they do not divide evenly the last rounds get one more.

    >>> spread(5, 2), spread(2, 3)
    ([2, 3], [0, 1, 1])
    """
    return [epochs // rounds + (done >= rounds - epochs % rounds) for done in range(rounds)]


def retrain(net: Net, bench: Workbench, epochs: int, *, retraining: str, rewind: float) -> Net:
    """Train what is left for some epochs: "fine-tune", or else the share ``rewind`` of the recipe repeated."""
    if retraining == "fine-tune":
        return bench.fit(net, epochs=epochs)
    recipe = bench.task.recipe
    optimiser = sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return bench.fit(net, epochs=epochs, optimiser=optimiser, schedule=rewound(rewind))


def rewound(share: float, schedule: Schedule = cosine) -> Schedule:
    """The last ``share`` of a schedule, stretched or compressed over the whole of a fit.

    With ``share`` = epochs of the fit / epochs of the original training this is learning-rate rewinding as Renda et al.
    define it. Their retraining takes as long as the training did (recalled); a budget of a sixth of it would repeat the
    tail of a cosine alone, rates as small as those of fine-tuning. What makes rewinding work is its large rates (seen:
    Le and Hua, abstract), and those fit in fewer epochs by compression: a share of 1 is their cyclic restart. Measured
    here: LeNet of half width, 12 epochs on 6,000 images of Fashion-MNIST, 97 % of the weights pruned, 2 epochs more,
    mean accuracy of 2 seeds on 4,000 other images: fine-tuned 82.0 %, a share of 1/6 80.4 %, of 0.5 84.2 %, of 0.9
    84.6 %, of 1 84.3 %; the dense net 86.3 %.

    >>> half = rewound(0.5)
    >>> half(0.0) == cosine(0.5), half(0.5) == cosine(0.75)
    (True, True)
    """
    return lambda progress: schedule(1.0 - share + share * progress)


def prune(net: Net, sparsity: float, *, scope: str = "global") -> Net:
    """``net`` with masks on all but the share 1 - ``sparsity`` of its largest weights, of all layers or of each.

    Of equal weights the later ones are kept, so that more sparsity always keeps a subset. Weights that are masked
    already count as pruned and stay so; at least one weight is kept.
    """
    weights = layer_weights(net)
    alive = {name: net.masks.get(name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items()}
    sizes = {name: torch.where(alive[name], w.abs(), -1.0) for name, w in weights.items()}
    groups = [sizes] if scope == "global" else [{name: size} for name, size in sizes.items()]
    masks = {name: mask & alive[name] for group in groups for name, mask in largest(group, 1.0 - sparsity).items()}
    return net.replace(masks={**net.masks, **masks})


def layer_weights(net: Net) -> dict[str, Tensor]:
    """The weights of all convolutions and linear layers by name, in order: masked ones are zero."""
    layers = (nn.modules.conv._ConvNd, nn.Linear)
    found = net.module(formats=False).named_modules()
    return {f"{path}.weight": layer.weight.detach() for path, layer in found if isinstance(layer, layers)}


def largest(sizes: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that are true for the ``share`` of all entries with the greatest size, one at least.

    >>> largest({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[2.0, 4.0]])}, 0.5)
    {'a': tensor([ True, False]), 'b': tensor([[False,  True]])}
    """
    flat = torch.cat([size.flatten() for size in sizes.values()])
    order = flat.argsort(stable=True)
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[order[len(flat) - max(1, round(share * len(flat))) :]] = True
    parts = kept.split([size.numel() for size in sizes.values()])
    return {name: part.view_as(size) for (name, size), part in zip(sizes.items(), parts, strict=True)}
