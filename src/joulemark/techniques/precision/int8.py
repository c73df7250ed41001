"""Eight-bit integers after training: weights per channel, activations from the ranges seen in calibration.

Idea:
    Weights and activations become 8-bit integers with a scale, so that products, and what is added, averaged or put
    side by side between them, are of integers, small and quick to move; nothing is retrained. Static post-training
    quantisation as ONNX Runtime and OpenVINO execute it (QDQ format).

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

from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor, nn

from joulemark.nets.flow import CONVOLUTIONS
from joulemark.nets.folding import fold
from joulemark.nets.header import Format
from joulemark.nets.net import Net
from joulemark.nets.signals import signals
from joulemark.techniques.technique import Range as Allowed
from joulemark.techniques.technique import TechniqueError, Workbench, technique

Range = tuple[float, float]
"""Least and greatest value seen, zero among them."""


@technique(
    "int8",
    paper="Jacob et al. 2018, as static post-training quantisation",
    family="reduced precision",
    takes={"float", "static", "dynamic"},
    gives={"integer"},
    trains=False,
)
def int8(net: Net, bench: Workbench, *, images: Annotated[int, Allowed(16, 100_000)] = 256) -> Net:
    """Quantise every convolution and linear layer to 8-bit weights and activations; nothing is retrained.

    Batch norms are folded into convolutions first. Activation ranges are the least and the greatest input that each
    layer sees for ``images`` calibration images, on the path they really take (the workbench holds a few hundred at
    most). Values between layers that are added, averaged or put side by side are rounded too, once for all who read
    them (:mod:`joulemark.nets.signals`). A layer that no image reaches has no range and stays in float. Raises
    :class:`TechniqueError` if there is no layer to quantise.
    """
    net = fold(net)
    module = net.module(formats=False)
    between = signals(module, net.input_shape)
    inputs: dict[str, Range] = {}
    shared: dict[int, Range] = {}

    def watch(ranges: dict[Any, Range], name: Any, x: Tensor) -> None:
        ranges[name] = _wider(ranges.get(name), x)

    for name, layer in module.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            layer.register_forward_hook(lambda _, x, y, name=name: watch(inputs, name, x[0]))
    for signal in between:
        part = module.get_submodule(signal.path)
        if signal.side == "in":
            part.register_forward_pre_hook(lambda _, x, signal=signal: watch(shared, signal.scale, x[0]))
        else:
            part.register_forward_hook(
                lambda _, x, y, signal=signal: watch(shared, signal.scale, y.relu() if signal.relu else y)
            )
    seen = 0
    with torch.no_grad():
        for batch, _ in bench.batches("calibration"):
            getattr(module, "run", module)(batch[: images - seen])
            seen += len(batch)
            if seen >= images:
                break
    if not inputs:
        raise TechniqueError("int8 found no convolution or linear layer to quantise")
    reached = [signal for signal in between if signal.scale in shared]
    inputs |= {name: shared[one.scale] for one in reached for name in one.products if name in inputs}
    formats = {
        name: Format(weight_bits=8, activation_bits=8, low=low, high=high) for name, (low, high) in inputs.items()
    }
    for signal in reached:
        low, high = shared[signal.scale]
        form = formats.get(signal.path, Format(kind="rounded", activation_bits=8))
        side = {"low": low, "high": high} if signal.side == "in" else {"output": (low, high)}
        formats[signal.path] = msgspec.structs.replace(form, **side)
    return net.replace(formats=formats)


def _wider(seen: Range | None, x: Tensor) -> Range:
    """A range that holds ``x`` as well; zero stays representable, padding and ReLU need it exact."""
    low, high = seen or (0.0, 0.0)
    return min(low, float(x.min())), max(high, float(x.max()))
