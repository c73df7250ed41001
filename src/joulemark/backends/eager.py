"""Eager PyTorch in float32: the framework as most people run it."""

from __future__ import annotations

import torch
from torch import nn

from joulemark.backends.backend import Images
from joulemark.nets.masked import gathered
from joulemark.nets.net import Net


class Eager:
    """PyTorch without compilation, float32, on the CPU."""

    name = "eager"
    title = "PyTorch eager"
    precision = "fp32"

    def unavailable(self) -> str | None:
        """Eager PyTorch runs wherever this file imports."""
        return None

    def simulated(self, net: Net) -> str | None:
        """Masks and number formats have no kernels here; routes do (rows really leave)."""
        if net.masks:
            return "unstructured zeros are multiplied like any number (no sparse kernel in PyTorch eager)"
        if net.formats:
            return "integers are simulated in floats (no int8 kernel in PyTorch eager)"
        return next((reason for reason in map(self.simulated, net.parts.values()) if reason), None)

    def compile(self, net: Net, *, threads: int) -> EagerNet:
        """The net's module; ``threads`` is set for the whole process at every run."""
        return EagerNet(net.module(), threads)


class EagerNet:
    """A module with its thread count."""

    def __init__(self, module: nn.Module, threads: int) -> None:
        self.module, self.threads = module, threads
        self.call = getattr(module, "run", module)
        torch.set_float32_matmul_precision("highest")  # fp32 means fp32: no bf16 or tf32 products

    def run(self, images: Images) -> Images:
        """Logits of ``images``; rows that leave early are really dropped."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode(), gathered(self.module):
            return self.call(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]
