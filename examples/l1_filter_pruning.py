"""L1 filter pruning: cut the filters with the smallest weights, and fine-tune what is left.

Idea:
    A filter whose weights are small in sum makes small outputs, and the layers behind it miss them least. Whole filters
    are cut, with the channels that they make, so that the net is smaller and dense, and any library runs it faster.

Equations:
    s_j = Σ |W_j|   over all weights of filter j
    kept = of each layer the (1 - share) of its filters with the greatest s_j, one at least

Claims:
    - up to 34 % less inference cost; VGG-16 on CIFAR-10, MACs; the dense net; close, after retraining [recalled]
    - up to 38 % less inference cost; ResNet-110 on CIFAR-10, MACs; the dense net; close, after retraining [recalled]

Reference:
    H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning filters for efficient ConvNets", ICLR 2017
    (arXiv 1608.08710).

The paper chooses a share for each layer by how much accuracy suffers. Here all layers lose the same share, which the
benchmark searches. A residual sum ties the filters of several layers; the first of them ranks the group.

Run it beside ours: ``joulemark run quick -t examples/l1_filter_pruning.py``.
"""

from typing import Annotated

import torch

import joulemark


@joulemark.technique("l1-filter-pruning", paper="Li et al. 2017", family="pruning", knob="share")
def l1_filter_pruning(
    net: joulemark.Net,
    bench: joulemark.Workbench,
    *,
    share: Annotated[float, joulemark.Range(0.05, 0.95)] = 0.5,
) -> joulemark.Net:
    """Cut the ``share`` of the filters of each group that have the least L1 norm, and fine-tune."""
    groups = joulemark.channel_groups(net)
    weights = dict(net.module().named_parameters())
    kept = {}
    for group in groups:
        maker = group.members[0]  # the layer that the group is named after
        weight = weights[f"{maker.layer}.weight"].detach()
        if weight.dim() < 4:
            continue  # a linear layer has no filters: it stays whole
        norms = weight.abs().flatten(1).sum(1)[list(maker.places)]
        scores = torch.zeros(group.channels).index_add(0, torch.tensor(maker.channels), norms)
        count = max(1, round((1 - share) * group.channels))
        kept[group.name] = sorted(scores.argsort(descending=True, stable=True)[:count].tolist())
    smaller = joulemark.keep_channels(net, kept, groups)
    bench.note("filters_kept", {name: len(filters) for name, filters in kept.items()})
    return bench.fit(smaller, epochs=bench.epochs)
