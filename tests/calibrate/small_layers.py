"""One layer of each type, small enough to be computed a second time by hand."""

from __future__ import annotations

from joulemark.energy.features import Layer

SMALL = {
    "conv": Layer(type="conv", batch=2, input=(4, 7, 6), output=(6, 3, 4), kernel=(3, 2), stride=(2, 1),
                  padding=(0, 0), dilation=(1, 2), groups=2),
    "fc": Layer(type="fc", batch=3, input=(5,), output=(4,)),
    "pool": Layer(type="pool", batch=2, input=(3, 6, 6), output=(3, 3, 3), kernel=(3, 3), stride=(2, 2),
                  padding=(1, 1)),
    "relu": Layer(type="relu", batch=2, input=(3, 4, 4), output=(3, 4, 4)),
    "add": Layer(type="add", batch=2, input=(3, 4, 4), output=(3, 4, 4)),
    "batch_norm": Layer(type="batch_norm", batch=2, input=(3, 4, 4), output=(3, 4, 4)),
    "cat": Layer(type="cat", batch=2, input=(5, 4, 4), output=(5, 4, 4)),
    "mean": Layer(type="mean", batch=2, input=(3, 4, 6), output=(3, 1, 1)),
    "softmax": Layer(type="softmax", batch=2, input=(10,), output=(10,)),
    "pad": Layer(type="pad", batch=2, input=(3, 4, 4), output=(6, 4, 5)),
    "pow": Layer(type="pow", batch=2, input=(3, 4, 4), output=(3, 4, 4)),
    "avg_pool3d": Layer(type="avg_pool3d", batch=2, input=(1, 9, 4, 4), output=(1, 5, 4, 4)),
}  # fmt: skip
"""Every type of `TYPES`, with all that a layer of it can have: groups, dilation, padding, odd sizes."""

ROUNDED_UP = Layer(type="pool", batch=1, input=(2, 6, 6), output=(2, 3, 3), kernel=(3, 3), stride=(2, 2))
"""A pooling whose last window hangs over the edge, as in GoogLeNet: whole windows would give 2 x 2."""
IN_PLACES = Layer(type="mean", batch=2, input=(8, 6, 6), output=(8, 3, 3))
"""An average over places, as AlexNet's before its classifier."""
FLAT = (
    Layer(type="mean", batch=2, input=(7,), output=(1,)),
    Layer(type="batch_norm", batch=2, input=(7,), output=(7,)),
    Layer(type="cat", batch=2, input=(7,), output=(7,)),
)
"""Layers without places."""
PADDED = Layer(type="conv", batch=1, input=(2, 5, 5), output=(3, 5, 5), kernel=(3, 5), padding=(1, 2))
"""A convolution with a rim of another width on each axis."""
UNKNOWN = Layer(type="cell", batch=1, input=(1,), output=(1,))
