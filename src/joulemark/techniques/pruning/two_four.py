"""Two of four: of every four consecutive inputs of an output, the two smaller weights are zero.

Idea:
    A pattern that hardware can follow: half of the weights are zero, and in so small a square that the other half needs
    two bits each to say where it is. Sparse tensor cores multiply it at twice the rate; no CPU does.

Equations:
    kept = the 2 largest |w| of each (w_4i, w_4i+1, w_4i+2, w_4i+3),   i over the inputs of an output, at each place of
    a kernel by itself
    then the rest is trained with the zeros frozen

Claims:
    - 2x the throughput of matrix products; sparse tensor cores of an A100, products a second; dense tensor cores;
      accuracy maintained on a range of tasks [seen: abstract]

Reference:
    A. Mishra et al., "Accelerating sparse deep neural networks", 2021 (arXiv 2104.08378).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import layer_weights, retrain
from joulemark.techniques.technique import TechniqueError, Workbench, technique


@technique("two-four", paper="control: Mishra et al. 2021", family="pruning")
def two_four(net: Net, bench: Workbench, *, retraining: Literal["fine-tune", "repeat"] = "fine-tune") -> Net:
    """Zero two of every four weights along the inputs, in one shot, and retrain the others.

    A layer whose inputs are no multiple of four stays dense (a first convolution of grey or coloured images, a
    depthwise one). Channels are not permuted. ``retraining`` "repeat" is the paper's, the recipe's whole training over
    again (seen: its introduction), compressed into the epochs of the budget; "fine-tune" is that of every technique
    here. The zeros are simulated wherever no kernel runs them. Raises :class:`TechniqueError` if no layer fits.
    """
    weights = layer_weights(net)
    fitting = {name: weight for name, weight in weights.items() if weight.shape[1] % 4 == 0}
    if not fitting:
        raise TechniqueError("two-four: no layer of this net has a multiple of four inputs")
    masks = {name: two_of_four(weight) & net.masks.get(name, torch.tensor(True)) for name, weight in fitting.items()}
    bench.note("dense", [name for name in weights if name not in fitting])
    pruned = net.replace(masks={**net.masks, **masks})
    return retrain(pruned, bench, bench.epochs, retraining=retraining, rewind=1.0)


def two_of_four(weight: Tensor) -> Tensor:
    """Mask of the two largest of every four consecutive inputs of a weight (outputs, inputs, ...).

    Of equal ones the first is kept.

    >>> two_of_four(torch.tensor([[1.0, -3.0, 2.0, 0.5, 0.0, 0.0, 1.0, 0.0]])).int()
    tensor([[0, 1, 1, 0, 1, 0, 1, 0]], dtype=torch.int32)
    """
    fours = weight.abs().movedim(1, -1).unflatten(-1, (-1, 4))
    order = fours.argsort(dim=-1, descending=True, stable=True)
    kept = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, order[..., :2], True)
    return kept.flatten(-2).movedim(-1, 1)
