"""Small nets as modules and files, for the audit's tests."""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

SHAPE = (3, 12, 12)


def build() -> nn.Module:
    """A net with every kind of layer that is counted; the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 5),
        )  # fmt: skip
    module.INPUT_SHAPE = SHAPE
    return module.eval()


def build_nothing() -> int:
    return 1


def build_badly() -> nn.Module:
    raise KeyError("no weights")


def write(path, nodes, *, inputs, outputs, constants=()) -> str:
    """An ONNX file of these nodes; the name of the file."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return str(path)


def relu(path, shape, *, op="Relu") -> str:
    """A file that only applies one operator."""
    return write(path, [helper.make_node(op, ["x"], ["y"])], inputs={"x": shape}, outputs={"y": shape})


def build_attention() -> nn.Module:
    """A net of which part multiplies in an operator that not every model describes."""

    class Attention(nn.Module):
        INPUT_SHAPE = (4, 8)

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)[:, None]
            return nn.functional.scaled_dot_product_attention(y, y, y)

    return Attention()


def build_fourier() -> nn.Module:
    """A net with an operator that no rule describes."""

    class Fourier(nn.Module):
        INPUT_SHAPE = (8,)

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.fft.fft(x).abs())

    return Fourier()


def build_misshapen() -> nn.Module:
    """A net that states nonsense for its input."""
    module = nn.Linear(2, 2)
    module.INPUT_SHAPE = "large"
    return module


def build_lazy() -> nn.Module:
    """A net that knows its weights' shapes only when it has run."""
    module = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))
    module.INPUT_SHAPE = (3, 8, 8)
    return module


def build_meta() -> nn.Module:
    """A net that holds no numbers."""
    with torch.device("meta"):
        module = nn.Linear(3, 2)
    module.INPUT_SHAPE = (3,)
    return module
