"""Eight-bit integers after training: weights per channel, activations from the ranges seen in calibration.

Idea:
    Weights and activations become 8-bit integers with a scale, so that products are of integers, small and quick to
    move; nothing is retrained. Static post-training quantisation as ONNX Runtime executes it (QDQ format).

Equations:
    w ≈ s_w q_w,   q_w = round(w / s_w) in −127 ... 127,   s_w = max |w| / 127, one for each output channel
    x ≈ s_x (q_x − z),   q_x = round(x / s_x) + z in 0 ... 255,   s_x = (high − low) / 255,   z = round(−low / s_x)
    y = s_w s_x Σ q_w (q_x − z) + b;   low ≤ 0 ≤ high are the extremes seen in calibration

Claims:
    - 2x to 4x faster; residual nets, processor time; the float net; under 1 point (of this family, not this paper)
      [recalled]

Reference:
    B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    CVPR 2018, as static post-training quantisation; ONNX operators QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from joulemark.nets.flow import CONVOLUTIONS, loose
from joulemark.nets.folding import fold
from joulemark.nets.header import Format
from joulemark.nets.net import Net
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique


@technique(
    "int8",
    paper="Jacob et al. 2018, as static post-training quantisation",
    family="reduced precision",
    takes={"float", "static", "dynamic"},
    gives={"integer"},
    trains=False,
)
def int8(net: Net, bench: Workbench, *, images: Annotated[int, Range(16, 100_000)] = 256) -> Net:
    """Quantise every convolution and linear layer to 8-bit weights and activations; nothing is retrained.

    Batch norms are folded into convolutions first. Activation ranges are the least and the greatest input that each
    layer sees for ``images`` calibration images, on the path they really take (the workbench holds a few hundred at
    most). A convolution whose outputs are added to others or averaged has them in integers too, with their own range:
    without that no runtime computes it in integers. A layer that no image reaches has no range and stays in float.
    Raises :class:`TechniqueError` if there is no layer to quantise.
    """
    net = fold(net)
    module = net.module(formats=False)
    outside = loose(module, net.input_shape)
    inputs: dict[str, tuple[float, float]] = {}
    outputs: dict[str, tuple[float, float]] = {}

    def watch(name: str, x: Tensor, y: Tensor) -> None:
        _widen(inputs, name, x)
        if name in outside:
            _widen(outputs, name, y.relu() if outside[name] else y)

    for name, layer in module.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            layer.register_forward_hook(lambda _, x, y, name=name: watch(name, x[0], y))
    seen = 0
    with torch.no_grad():
        for batch, _ in bench.batches("calibration"):
            getattr(module, "run", module)(batch[: images - seen])
            seen += len(batch)
            if seen >= images:
                break
    if not inputs:
        raise TechniqueError("int8 found no convolution or linear layer to quantise")
    formats = {
        name: Format(weight_bits=8, activation_bits=8, low=low, high=high, output=outputs.get(name, msgspec.UNSET))
        for name, (low, high) in inputs.items()
    }
    return net.replace(formats=formats)


def _widen(ranges: dict[str, tuple[float, float]], name: str, x: Tensor) -> None:
    """Widen the range of ``name`` to hold ``x``; zero stays representable, padding and ReLU need it exact."""
    low, high = ranges.get(name, (0.0, 0.0))
    ranges[name] = (min(low, float(x.min())), max(high, float(x.max())))
