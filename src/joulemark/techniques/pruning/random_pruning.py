"""Random pruning: the control of every choice of weights, with magnitude's budget of each layer and its retraining.

Idea:
    What a rule for choosing weights is worth shows beside a choice by lot. Each layer keeps as many weights as
    magnitude pruning would leave it, only which ones is drawn by the seed, and the retraining is the same.

Equations:
    k_l = weights that magnitude pruning keeps in layer l;   kept = k_l weights of layer l, drawn without replacement
    retraining: that of magnitude pruning, fine-tuned or rewound

Claims:
    - randomly pruned nets, retrained by large learning rates, can do better than methodically pruned ones; several
      nets, accuracy; methodically pruned nets fine-tuned as usual; accuracy change not stated [seen: abstract]

Reference:
    control, after D. H. Le, B.-S. Hua, "Network pruning that matters: a case study on retraining variants", ICLR 2021
    (arXiv 2105.03193).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import layer_weights, prune, retrain, spread
from joulemark.techniques.technique import Range, Workbench, technique


@technique("random-pruning", paper="control, after Le, Hua 2021", family="control", knob="sparsity")
def random_pruning(
    net: Net,
    bench: Workbench,
    *,
    sparsity: Annotated[float, Range(0.1, 0.99)] = 0.9,
    scope: Literal["global", "layer"] = "global",
    retraining: Literal["fine-tune", "rewind"] = "fine-tune",
    rewind: Annotated[float, Range(0.01, 1.0)] = 0.9,
    rounds: Annotated[int, Range(1, 50)] = 1,
) -> Net:
    """Zero the share ``sparsity`` of the weights, drawn by the seed, and retrain the others.

    Knobs are those of ``magnitude``. With ``scope`` "global" the layers keep as many weights as magnitude's one ranking
    leaves each: the sharper control, because only the choice within a layer differs. "layer" takes the same share of
    each, so it knows nothing of magnitudes at all.
    """
    for done, epochs in enumerate(spread(bench.epochs, rounds)):
        budget = prune(net, 1.0 - (1.0 - sparsity) ** ((done + 1) / rounds), scope=scope).masks
        sizes = layer_weights(net)
        alive = {name: net.masks.get(name, torch.ones_like(w, dtype=torch.bool)) for name, w in sizes.items()}
        counts = {name: int(budget[name].sum()) for name in alive}
        net = net.replace(masks={**net.masks, **draw(alive, counts, seed=bench.seed + done)})
        if epochs or rounds == 1:
            net = retrain(net, bench, epochs, retraining=retraining, rewind=rewind)
    bench.note("weights_kept_by_layer", {name: int(mask.sum()) for name, mask in net.masks.items()})
    return net


def draw(alive: dict[str, Tensor], counts: dict[str, int], *, seed: int) -> dict[str, Tensor]:
    """Masks that are true for ``counts[name]`` of the places where ``alive[name]`` is, drawn by the seed.

    >>> draw({"a": torch.tensor([True, False, True])}, {"a": 2}, seed=0)
    {'a': tensor([ True, False,  True])}
    """
    random = torch.Generator().manual_seed(seed)
    masks = {}
    for name, allowed in alive.items():
        places = allowed.flatten().nonzero()[:, 0]
        chosen = places[torch.randperm(len(places), generator=random)[: counts[name]]]
        masks[name] = torch.zeros(allowed.numel(), dtype=torch.bool).index_fill(0, chosen, True).view_as(allowed)
    return masks
