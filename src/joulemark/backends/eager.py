"""PyTorch itself: eager float32 as most people run it, and the options that cost nothing and change no weight."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from joulemark.backends.backend import Images, unlisted, variant_name
from joulemark.nets.layers.masked import MaskedLayer, gathered
from joulemark.nets.net import Net
from joulemark.nets.segments import Segments

OPTIONS = {
    "bf16": "autocast to bfloat16 (convolutions and products round to 8 significant bits)",
    "channels_last": "channels innermost in memory",
    "compile": "torch.compile: kernels generated and fused for each batch size",
}


class Eager:
    """PyTorch on the CPU: float32 without compilation unless ``options`` say otherwise."""

    options = OPTIONS
    kernels = frozenset({"mask", "columns", "route"})

    def __init__(self, chosen: Sequence[str] = ()) -> None:
        self.chosen = tuple(sorted(set(chosen)))
        self.name = variant_name("eager", self.chosen)
        self.title = ", ".join(["PyTorch compiled" if "compile" in self.chosen else "PyTorch eager", *(
            option for option in self.chosen if option != "compile")])  # fmt: skip
        self.precision = "bf16" if "bf16" in self.chosen else "fp32"

    def with_options(self, options: Sequence[str]) -> Eager:
        """The variant with these options."""
        return Eager(options)

    def unavailable(self) -> str | None:
        """Eager PyTorch runs wherever this file imports; compiling needs a C++ compiler."""
        if "compile" in self.chosen and compiler() is None:
            return "torch.compile generates C++, and there is no C++ compiler: install g++ or clang++, or set CXX"
        return None

    def simulated(self, net: Net) -> str | None:
        """Routes, gathered masked layers and lowered convolutions are real here; zeros and number formats are not."""
        return unlisted(net, self)

    def compile(self, net: Net, *, threads: int) -> EagerNet:
        """The net's module; ``threads`` is set for the whole process at every run."""
        return self.ready(net.module(), threads)

    def ready(self, module: nn.Module, threads: int) -> EagerNet:
        """Any module with one input and one output, ready to run. ``ValueError`` for one that cannot be compiled."""
        return EagerNet(module, threads, self.chosen)


class EagerNet:
    """A module with its thread count and options."""

    def __init__(self, module: nn.Module, threads: int, options: Sequence[str] = ()) -> None:
        self.threads = threads
        self.layout = torch.channels_last if "channels_last" in options else None
        self.bf16 = "bf16" in options
        self.module = module if self.layout is None else module.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.call = module.ready() if isinstance(module, Segments) else getattr(module, "run", module)
        self.masked = any(isinstance(layer, MaskedLayer) for layer in module.modules())
        if "compile" in options:
            if hasattr(module, "run"):
                raise ValueError("torch.compile cannot follow rows that leave: this net is dynamic")
            self.call = torch.compile(module, dynamic=False)  # a batch size at a time, as it is measured
        torch.set_float32_matmul_precision("highest")  # fp32 means fp32: no bf16 or tf32 products

    def run(self, images: Images) -> Images:
        """Outputs for ``images``; rows that leave early are really dropped."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        rows = torch.from_numpy(images)
        if self.layout is not None and rows.dim() == 4:
            rows = rows.contiguous(memory_format=self.layout)
        with torch.inference_mode(), self._gathered(), self._precision():
            output: Tensor = self.call(rows)
        return output.float().numpy()

    def _gathered(self) -> contextlib.AbstractContextManager[object]:
        return gathered(self.module) if self.masked else contextlib.nullcontext()

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()


def compiler() -> str | None:
    """Path of the C++ compiler that torch.compile would use; ``None`` if there is none."""
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [named] if named else ["g++", "clang++"])), None)
