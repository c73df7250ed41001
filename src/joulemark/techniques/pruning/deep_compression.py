"""Deep compression: prune, let the surviving weights share a few values, and write those in as few bits as they need.

Idea:
    Most weights are not needed, and a codebook of a few values a layer serves the others: what is stored is a short
    index for each and the gap to the next one, both Huffman coded. Kernels still multiply dense floats, so files become
    small and nothing becomes faster.

Equations:
    prune:  keep the k largest |w|, retrain with the others at zero
    share:  min over codebooks C of  Σ |w − c(w)|²  in each layer (k-means; C starts evenly from least w to most)
    retrain the codebook:  ∂L/∂C_k = Σ ∂L/∂w over the weights that share C_k
    bytes of a layer ≈ n (bits of an index + bits of a gap) / 8 + 4 |C|

Claims:
    - 35x fewer bytes (240 to 6.9 MB); AlexNet on ImageNet, bytes of the file; the dense net in float32; no loss of
      accuracy [recalled]
    - 510x fewer bytes (240 to 0.47 MB); SqueezeNet, pruned and in 6 bits, on ImageNet, bytes of the file; AlexNet in
      float32; no loss of accuracy [seen: README of the authors' SqueezeNet_compressed]

Reference:
    S. Han, H. Mao, W. Dally, "Deep compression: compressing deep neural networks with pruning, trained quantization and
    Huffman coding", ICLR 2016 (arXiv 1510.00149).
"""

from __future__ import annotations

import warnings
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from joulemark.nets.compressed import compress
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune
from joulemark.techniques.technique import Range, Workbench, technique
from joulemark.training import Callback, Step


@technique("deep-compression", paper="Han, Mao, Dally 2016", family="pruning and weight sharing", knob="sparsity")
def deep_compression(
    net: Net,
    bench: Workbench,
    *,
    sparsity: Annotated[float, Range(0.1, 0.99)] = 0.67,
    bits: Annotated[int, Range(1, 12)] = 6,
) -> Net:
    """Prune the share ``sparsity``, retrain, share 2^``bits`` values a layer and retrain those.

    Pruning is that of ``magnitude`` with one rank for all layers (the paper tunes a threshold a layer by hand,
    recalled). Of the epochs the larger half goes to pruning, the rest to the codebooks. Their gradient is the paper's
    sum divided by how many weights share the value: a learning rate a value, because a sum over a thousand weights is a
    thousand times as steep. Notes hold the bytes of the file that :func:`joulemark.nets.compressed.compress` writes,
    and what the same net takes in float32.
    """
    first = bench.epochs - bench.epochs // 2
    pruned = bench.fit(prune(net, sparsity), epochs=first) if first else prune(net, sparsity)
    shared = share(pruned, bits)
    if bench.epochs - first:
        shared = bench.fit(shared, epochs=bench.epochs - first, after_backward=tied(shared))
    bench.note("file_bytes", len(compress(shared)))
    bench.note("float32_bytes", 4 * net.parameters())
    return shared


def share(net: Net, bits: int) -> Net:
    """``net`` with at most 2^``bits`` different surviving weights in each tensor of two axes or more.

    Pruned weights (masked, or zero where there is no mask) stay zero and take no value of the codebook. K-means starts
    evenly between the least and the greatest weight, which keeps large weights apart from the many small ones (recalled
    from section 3.2 of the paper: linear initialisation).
    """
    state = dict(net.state)
    for name, weight in net.state.items():
        if weight.dim() >= 2 and weight.is_floating_point():
            there = _survives(net, name)
            shared = torch.zeros_like(weight)
            shared[there] = _clustered(weight[there], 2**bits)
            state[name] = shared
    return net.replace(state=state)


def tied(net: Net) -> Callback:
    """A callback after the backward pass that gives all weights of one value the mean of their gradients.

    They start equal and are changed alike, so they stay equal, and the codebook is what is trained.
    """
    places: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    for name, weight in net.state.items():
        if weight.dim() >= 2 and weight.is_floating_point():
            there = _survives(net, name)
            _, indices, counts = weight[there].unique(return_inverse=True, return_counts=True)
            places[name] = there, indices, counts

    def average(step: Step) -> None:
        for name, parameter in step.module.named_parameters():
            if name in places and parameter.grad is not None:
                there, indices, counts = places[name]
                gradients = parameter.grad[there]
                sums = torch.zeros(len(counts), dtype=gradients.dtype).index_add_(0, indices, gradients)
                parameter.grad[there] = (sums / counts)[indices]

    return average


def _survives(net: Net, name: str) -> Tensor:
    mask = net.masks.get(name)
    return net.state[name] != 0 if mask is None else mask


def _clustered(values: Tensor, most: int) -> Tensor:
    """The values, (n,), each replaced by the centre of its cluster."""
    from sklearn.cluster import KMeans  # takes a second to import, which listing techniques should not
    from sklearn.exceptions import ConvergenceWarning

    if len(values.unique()) <= most:
        return values
    column = values.detach().double().numpy()[:, None]
    start = np.linspace(column.min(), column.max(), most)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters than asked for are as good
        found = KMeans(most, init=start, n_init=1, max_iter=300, tol=0.0).fit(column)
    return torch.from_numpy(found.cluster_centers_[found.labels_, 0]).to(values.dtype)
