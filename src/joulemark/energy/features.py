"""What NeuralPower's regressions see of a layer: the features of its released code, one function a layer type.

Source: E. Cai, D.-C. Juan, D. Stamoulis, D. Marculescu, "NeuralPower: Predict and deploy energy-efficient convolutional
neural networks", ACML 2017; the exact terms are those of the authors' ``model_training/poly_{conv,fc,pool}_training.m``
(github.com/enyac-group/NeuralPower), the order of a layer's sizes that of its ``parser_raw_data.py``. With N rows, H W
C sizes of the input, H' W' M of the output, R S height and width of the kernel:

    type   x                          seconds                        watts                          special terms
    conv   N, H', W', S, C, M, H      all monomials of degree 1..3   x, log2 x and their products   8
    pool   N, H', W', C, R, H         all monomials of degree 1..3   x, log2 x and their products   3
    fc     N, M, H, W, C              all monomials of degree 1, 2   x, log2 x and their products   1 (seconds alone)

The special terms are physical: operations, elements of output, filter and input. Real nets have operators that the
paper ignores or fits by models of their own (it has one for concatenation, one for dropout). Those here are ours:
seconds and watts of :data:`ELEMENTWISE` are linear in the elements that pass through, with a steeper slope once they
leave a cache.
"""

from __future__ import annotations

import itertools
from math import log2, prod

import msgspec

from joulemark.record import Record
from joulemark.workloads.workload import Operation

PAPER = ("conv", "fc", "pool")
"""Layer types with NeuralPower's own features."""

ELEMENTWISE = ("relu", "add", "batch_norm", "cat", "mean", "softmax", "pad", "pow", "avg_pool3d")
"""Operators that are fitted by :func:`_elementwise`, which is ours."""

TYPES = (*PAPER, *ELEMENTWISE)

OPERATORS = {
    "conv": "conv", "linear": "fc", "max_pool": "pool", "avg_pool2d": "pool", "max_pool2d": "pool",
    "constant_pad_nd": "pad", "_softmax": "softmax", "_log_softmax": "softmax", "_adaptive_avg_pool2d": "mean",
    "sum": "mean", "amax": "mean", "mul": "add", "div": "add", "sub": "add", "exp": "pow", "log": "pow",
    "sigmoid": "pow", "tanh": "pow", "silu": "pow", "gelu": "pow",
}  # fmt: skip
"""Recorded operator -> layer type; an operator of :data:`TYPES` is its own, any other is taken for a ReLU."""

KNOTS = (1 << 17, 1 << 20, 1 << 23)
"""Elements (half a megabyte, 4, 32 as float32: usual sizes of a core's and of a chip's cache) where the slope of
:func:`_elementwise` may grow; ours."""

MAPPED_BYTES = 32 << 20
"""An allocation above this is mapped anew every time by glibc's malloc (mallopt(3), M_MMAP_THRESHOLD): every page of it
is first touched, and zeroed by the kernel, while the layer runs."""

MOST_GROUPS = 4
"""A convolution of so many groups is still predicted as that many layers side by side; more are not covered."""


class Layer(Record, frozen=True, kw_only=True):
    """One layer at one batch size; shapes are of one row, channels first."""

    type: str
    batch: int
    input: tuple[int, ...]  # (C, H, W), or (in,) of a fully connected layer
    output: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch; 0 for a layer without weights."""
        return self.batch * prod(self.output) * self.weights // self.output[0] if self.weights else 0

    @property
    def weights(self) -> int:
        """Elements of its weight."""
        if self.type == "conv":
            return self.output[0] * self.input[0] // self.groups * prod(self.kernel)
        return prod(self.input) * prod(self.output) if self.type == "fc" else 0

    @property
    def rounded_up(self) -> bool:
        """Whether the output of a pooling is larger than whole windows give, along any axis."""
        axes = zip(self.input[1:], self.output[1:], self.kernel, self.stride, self.padding, strict=True)
        return any(out > (size + 2 * padding - kernel) // stride + 1 for size, out, kernel, stride, padding in axes)

    @property
    def moved(self) -> int:
        """Elements of the larger of input and output, whole batch."""
        return self.batch * max(prod(self.input), prod(self.output))


def one_group(layer: Layer) -> Layer:
    """One of the convolutions that a grouped one stands for; any other layer as it is.

    >>> one_group(Layer(type="conv", batch=1, input=(8, 4, 4), output=(6, 4, 4), groups=2)).output
    (3, 4, 4)
    """
    if layer.groups == 1:
        return layer
    (c, *before), (m, *after), groups = layer.input, layer.output, layer.groups
    return msgspec.structs.replace(layer, input=(c // groups, *before), output=(m // groups, *after), groups=1)


def layer_of(operation: Operation, batch: int) -> Layer | None:
    """The layer that an operation is at ``batch`` rows; ``None`` for one that no fit describes.

    A 1-D convolution or pooling of k taps is the 2-D one with a kernel of 1 x k on an image of height 1, which reads,
    multiplies and writes the same. A profile is fitted to images that are mostly square.

    Not described are transposed and 3-D convolutions, convolutions of more than ``MOST_GROUPS`` groups, products of
    activations with each other, and poolings that are 3-D or whose window is not known.
    """
    kind = OPERATORS.get(operation.operator, operation.operator)
    before, after = operation.input_shape or (1,), operation.output_shape or (1,)
    if kind == "conv":
        weight = operation.weight_shape
        if weight is None or len(weight) not in (3, 4) or operation.groups > MOST_GROUPS:
            return None
        return Layer(
            type=kind, batch=batch, input=_image(before), output=_image(after), kernel=_pair(weight[2:], before, 1),
            stride=_pair(operation.stride, before, 1), padding=_pair(operation.padding, before, 0),
            dilation=_pair(operation.dilation, before, 1), groups=operation.groups,
        )  # fmt: skip
    if kind == "fc":
        weight = operation.weight_shape
        if weight is None:
            return None
        rows = prod(operation.input_shape) // weight[1]  # applied along an axis: as many rows
        return Layer(type=kind, batch=batch * rows, input=(weight[1],), output=(weight[0],))
    if kind == "pool":
        if len(before) not in (2, 3) or not operation.kernel:
            return None
        return Layer(
            type=kind, batch=batch, input=_image(before), output=_image(after),
            kernel=_pair(operation.kernel, before, 1), stride=_pair(operation.stride, before, 1),
            padding=_pair(operation.padding, before, 0),
        )  # fmt: skip
    if operation.macs:
        return None
    return Layer(type=kind if kind in ELEMENTWISE else "relu", batch=batch, input=before, output=after)


def features(layer: Layer, quantity: str) -> list[float]:
    """The regression's row for a layer; ``quantity`` is "seconds" or "watts". Raises ``ValueError`` for another type.

    >>> pool = Layer(type="pool", batch=1, input=(2, 6, 6), output=(2, 3, 3), kernel=(2, 2), stride=(2, 2))
    >>> row = features(pool, "seconds")
    >>> len(row), row[:6], row[-3:]  # 6 + 21 + 56 monomials, then operations, output, input
    (86, [1.0, 3.0, 3.0, 2.0, 2.0, 6.0], [72.0, 18.0, 72.0])
    """
    if layer.type in ELEMENTWISE:
        return _elementwise(layer)
    if layer.type == "conv":
        x, special = _conv(layer)
    elif layer.type == "fc":
        x, special = _fc(layer)
    elif layer.type == "pool":
        x, special = _pool(layer)
    else:
        raise ValueError(f"no features are known of a layer of type {layer.type!r}")
    if quantity == "watts":
        return [*_monomials([*x, *(log2(value) for value in x)], 2), *([] if layer.type == "fc" else special)]
    return [*_monomials(x, 2 if layer.type == "fc" else 3), *special]


def own_terms(layer: Layer) -> list[float]:
    """Terms of ours for seconds, which the paper has not: what a processor does that a polynomial of sizes cannot say.

    Elements of output and input, each if it takes more than :data:`MAPPED_BYTES` (runtimes copy an input into a layout
    of their own, which is mapped anew as well). Then what runtimes compute by another kernel: of
    a 1 x 1 convolution its operations, output and input again, of a fully connected layer of more than one row (matrix
    times matrix, not vector) its weights again.

    >>> own_terms(Layer(type="conv", batch=2, input=(3, 4, 4), output=(5, 4, 4)))
    [0.0, 0.0, 480.0, 160.0, 96.0]
    """
    before, output = (layer.batch * prod(shape) for shape in (layer.input, layer.output))
    mapped = [float(one if 4 * one > MAPPED_BYTES else 0) for one in (output, before)]
    if layer.type == "fc":
        return [*mapped, float(layer.weights if layer.batch > 1 else 0)]
    if layer.type != "conv":
        return mapped
    pointwise = layer.kernel == (1, 1)
    return [*mapped, *(float(pointwise * one) for one in (layer.macs, output, before))]


def _conv(layer: Layer) -> tuple[list[float], list[float]]:
    n, (c, h, w), (m, out_h, out_w), (r, s) = layer.batch, layer.input, layer.output, layer.kernel
    taps = r * s * c
    special = (
        out_h * out_w * m * taps, n * out_h * out_w * m * taps, n * out_h * out_w * taps, n * out_h * out_w * m,
        taps * m, n * h * w * c, n * w * c, n * h * c,
    )  # fmt: skip
    return [float(v) for v in (n, out_h, out_w, s, c, m, h)], [float(v) for v in special]


def _fc(layer: Layer) -> tuple[list[float], list[float]]:
    """A fully connected layer; its input is flat here, so H = W = 1 (as in the released parser)."""
    x = [float(v) for v in (layer.batch, prod(layer.output), 1, 1, prod(layer.input))]
    return x, [prod(x)]


def _pool(layer: Layer) -> tuple[list[float], list[float]]:
    n, (c, h, w), (_, out_h, out_w), (r, s) = layer.batch, layer.input, layer.output, layer.kernel
    output = n * out_h * out_w * c
    return [float(v) for v in (n, out_h, out_w, c, r, h)], [float(v) for v in (output * r * s, output, n * h * w * c)]


def _elementwise(layer: Layer) -> list[float]:
    """Elements, elements beyond each of :data:`KNOTS`, and rows times channels (what is looked up once a channel)."""
    elements = layer.moved
    beyond = [float(max(0, elements - knot)) for knot in KNOTS]
    return [float(elements), *beyond, float(layer.batch * layer.input[0])]


def _monomials(x: list[float], degree: int) -> list[float]:
    """All monomials of degree 1 to ``degree``, in the released code's order.

    >>> _monomials([2.0, 3.0], 2)
    [2.0, 3.0, 4.0, 6.0, 9.0]
    """
    return [
        prod(factors, start=1.0)
        for power in range(1, degree + 1)
        for factors in itertools.combinations_with_replacement(x, power)
    ]


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, W) as (C, 1, W); any other shape as it is."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _pair(sizes: tuple[int, ...], shape: tuple[int, ...], default: int) -> tuple[int, int]:
    """Height and width, ``default`` where none is said; of an image, one number stands for both.

    >>> _pair((3,), (8, 32, 32), 1), _pair((3,), (8, 100), 1), _pair((), (8, 100), 1)
    ((3, 3), (1, 3), (1, 1))
    """
    if not sizes:
        return (default, default)
    return (default, sizes[0]) if len(shape) == 2 else (sizes[0], sizes[-1])
