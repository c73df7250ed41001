"""Which layers are measured: random ones, drawn as people build nets, the same for the same seed.

The ranges are ours (NeuralPower's generator draws uniformly from ranges of its own). Sizes are drawn evenly in their
logarithm; channels are three at an image and multiples of eight elsewhere, more of them where the image is smaller;
kernels and strides are as frequent as in nets. A layer is drawn again if it is too small, too slow or too large to be
measured in passing.
Row i depends on the seed and i alone, so that a stopped calibration goes on with the same layers, and types take turns,
so that drift meets all of them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from joulemark.energy.features import MAPPED_BYTES, Layer

TURNS = (
    "conv", "fc", "conv", "pool", "conv", "relu", "conv", "conv", "add", "conv", "fc", "conv", "batch_norm", "conv",
    "pool", "conv", "cat", "conv", "conv", "relu", "conv", "fc", "conv", "conv", "pool", "conv", "batch_norm", "conv",
    "add", "conv", "conv", "fc", "conv", "mean", "conv", "pool", "conv", "softmax", "conv", "pow", "conv", "fc", "conv",
    "pad", "conv", "pool", "conv", "cat", "conv", "avg_pool3d",
)  # fmt: skip
"""Types in their turn: of fifty layers 27 convolutions, 5 fully connected, 5 poolings, 13 of the element-wise types."""

BATCHES = (1, 1, 2, 4, 8, 16)
LEAST_MACS = {"conv": 5e5, "fc": 1e4}
MOST_MACS = 8e9
"""Of one call: about 80 ms on one core of today."""
MOST_ELEMENTS = {"pool": 1 << 22, "avg_pool3d": 1 << 21, "pow": 1 << 22}
"""Of input and output together; 2^25, 128 MB, of a type that is not here. These are slow for their size."""
MOST_WEIGHTS = 1 << 25
"""Of a fully connected layer: 128 MB. The largest of a known net (VGG16's first) has three times as many."""

CHANNELS_TIMES_SIDE = (400, 16_000)
"""Nets keep this product about the same while the image shrinks: 512 in ResNet-20, 3,584 to 14,336 in ResNet-50."""
MOST_CHANNELS = 2048
WILD = 0.15
"""Share of the convolutions that keep to no such rule."""

GROWING, LARGE = ("conv", "relu", "add", "batch_norm", "cat"), 0.15
"""This share of the layers of these types has an output so large that its memory is mapped anew at every call."""

CONTROL = Layer(type="conv", batch=1, input=(64, 28, 28), output=(64, 28, 28), kernel=(3, 3), padding=(1, 1))
"""The layer whose calls stand between those of every other: 28.9 million MACs, far from the ends of every range."""


def layer(seed: int, index: int) -> Layer:
    """The layer of row ``index``.

    >>> layer(0, 0).type, layer(0, 1).type, layer(0, 0) == layer(0, 0), layer(0, 0) == layer(1, 0)
    ('conv', 'fc', True, False)
    """
    rng = np.random.default_rng((seed, index))
    kind = TURNS[index % len(TURNS)]
    draw: Callable[[np.random.Generator], Layer | None] = {"conv": _conv, "fc": _fc, "pool": _pool}.get(
        kind, lambda rng: _elementwise(rng, kind)
    )
    large = kind in GROWING and rng.random() < LARGE
    while True:
        drawn = draw(rng)
        if drawn is not None and _measurable(drawn) and (not large or _mapped(drawn)):
            return drawn


def _mapped(one: Layer) -> bool:
    return 4 * one.batch * math.prod(one.output) > MAPPED_BYTES


def _measurable(one: Layer) -> bool:
    elements = one.batch * (math.prod(one.input) + math.prod(one.output))
    return elements <= MOST_ELEMENTS.get(one.type, 1 << 25) and (
        not one.weights or LEAST_MACS[one.type] <= one.macs <= MOST_MACS
    )


def _conv(rng: np.random.Generator) -> Layer | None:
    kernel = int(rng.choice([1, 3, 5, 7, 11], p=[0.40, 0.42, 0.08, 0.06, 0.04]))
    first = rng.random() < (0.5 if kernel > 5 else 0.12 if kernel > 1 else 0.0)  # of a net: large kernels stand there
    size = _even(rng, 64, 230) if first else _even(rng, 4, 224)
    if first:
        channels, filters = 3, _channels(rng, 16, 128)
    elif rng.random() < WILD:
        channels, filters = _channels(rng, 8, 2048), _channels(rng, 8, 2048)
    else:
        channels = _eights(_even(rng, *CHANNELS_TIMES_SIDE) / size)
        filters = _eights(channels * float(np.exp(rng.uniform(np.log(1 / 16), np.log(4)))))
    if max(channels, filters) > MOST_CHANNELS:
        return None
    stride = int(rng.choice([2, 4])) if kernel > 5 else int(rng.choice([1, 2], p=[0.85, 0.15]))
    padding = 0 if rng.random() < 0.15 else kernel // 2
    out = (size + 2 * padding - kernel) // stride + 1
    weights = channels * filters * kernel**2
    if out < 2 or weights > 3 << 20:  # one of the largest in a known net has 2.4 million
        return None
    return Layer(
        type="conv", batch=int(rng.choice(BATCHES)), input=(channels, size, size), output=(filters, out, out),
        kernel=(kernel, kernel), stride=(stride, stride), padding=(padding, padding),
    )  # fmt: skip


def _fc(rng: np.random.Generator) -> Layer | None:
    inputs, outputs = _even(rng, 64, 25088), _even(rng, 10, 4096)
    if inputs * outputs > MOST_WEIGHTS:
        return None
    return Layer(type="fc", batch=int(rng.choice(BATCHES)), input=(inputs,), output=(outputs,))


def _pool(rng: np.random.Generator) -> Layer | None:
    kernel = int(rng.choice([2, 3], p=[0.3, 0.7]))
    stride = 1 if kernel == 3 and rng.random() < 0.4 else 2
    padding = 1 if stride == 1 else 0
    size = _even(rng, 6, 160)
    channels = _eights(_even(rng, *CHANNELS_TIMES_SIDE) / size)
    if channels > MOST_CHANNELS:
        return None
    out = (size + 2 * padding - kernel) // stride + 1
    return Layer(
        type="pool", batch=int(rng.choice(BATCHES)), input=(channels, size, size), output=(channels, out, out),
        kernel=(kernel, kernel), stride=(stride, stride), padding=(padding, padding),
    )  # fmt: skip


def _elementwise(rng: np.random.Generator, kind: str) -> Layer | None:
    batch, size = int(rng.choice(BATCHES)), _even(rng, 4, 224)
    channels = _eights(_even(rng, *CHANNELS_TIMES_SIDE) / size)
    if channels > MOST_CHANNELS or batch * channels * size**2 > 1 << 24:
        return None
    shape: tuple[int, ...] = (channels, size, size)
    if kind == "softmax":
        shape = (_even(rng, 10, 4096),)
        return Layer(type=kind, batch=batch, input=shape, output=shape)
    if kind == "mean":
        return Layer(type=kind, batch=batch, input=shape, output=(channels, 1, 1))
    if kind == "pad":
        return Layer(type=kind, batch=batch, input=shape, output=(2 * channels, size, size))
    if kind == "avg_pool3d":  # over five neighbouring channels, as in local response normalisation
        return Layer(type=kind, batch=batch, input=(1, channels + 4, *shape[1:]), output=(1, *shape))
    return Layer(type=kind, batch=batch, input=shape, output=shape)


def _even(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number, even in its logarithm."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _channels(rng: np.random.Generator, low: int, high: int) -> int:
    """A multiple of eight, even in its logarithm."""
    return _eights(_even(rng, low, high))


def _eights(number: float) -> int:
    """The nearest multiple of eight, at least one."""
    return 8 * max(1, round(number / 8))
