"""Work for a self-test: the same step over and over, on the GPU (torch) or on one core (numpy)."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

CNN, WIDE, ZEROS, CONSTANT, PINK, MEMORY, COMPUTE = (
    "cnn", "wide-cnn", "cnn-zeros", "cnn-constant", "cnn-pink", "memory", "compute",
)  # fmt: skip
"""Steps: a small and a wide CNN on normal noise; the small one on zeros, one value and 1/f noise, the spectrum of
photographs; a copy in memory; a matrix product."""

BATCH, SIDE = 256, 32
COPIED_BYTES = 1 << 30
PRODUCT_SIDE = 8192
CHUNK, IN_FLIGHT = 8, 3
"""Steps between two events on the GPU, and how many such chunks wait there, so that it never runs dry."""
POLL_SECONDS = 5e-4


class Load(Protocol):
    """Something to do that costs energy."""

    started: bool  # the device holds our context

    def start(self) -> None:
        """Take the device, without work."""
        ...

    def run(self, what: str, iterations: int, watch: Callable[[], None] | None = None) -> None:
        """Do so many steps and wait for their end; ``watch`` is called meanwhile, as often as possible."""
        ...


class NumpyLoad:
    """Matrix products of fixed size on the processor."""

    def __init__(self) -> None:
        self.started = True
        self._a = np.random.default_rng(0).standard_normal((192, 192))

    def start(self) -> None:
        """Nothing to take."""

    def run(self, what: str, iterations: int, watch: Callable[[], None] | None = None) -> None:
        """Multiply ``iterations`` times; ``what`` makes no difference."""
        for _ in range(iterations):
            self._a @ self._a
            if watch is not None:
                watch()


class TorchLoad:
    """Steps on a CUDA device. Raises ``ImportError`` without torch, ``RuntimeError`` if torch sees no such GPU."""

    def __init__(self, uuid: str) -> None:
        # Bound by UUID before CUDA is there: asking CUDA for UUIDs might take the board, which V5 wants to see cold.
        chosen = "torch" in sys.modules or "CUDA_VISIBLE_DEVICES" in os.environ
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", uuid)
        import torch

        self._torch: Any = torch
        self._uuid, self.device, self.started = uuid, None, False
        if not self._torch.cuda.is_available():
            raise RuntimeError("torch sees no CUDA device")
        if chosen:
            self._find()
        self._steps: dict[str, Callable[[], object]] = {}

    def start(self) -> None:
        """Create the CUDA context. Raises ``RuntimeError`` if torch sees other boards only."""
        self.started = True
        self._torch.cuda.set_device(self._find())
        self._torch.zeros(1, device=self.device)
        self._torch.cuda.synchronize(self.device)

    def _find(self) -> Any:
        cuda = self._torch.cuda
        uuids = [f"GPU-{cuda.get_device_properties(index).uuid}" for index in range(cuda.device_count())]
        if self._uuid not in uuids:
            raise RuntimeError(f"torch sees {', '.join(uuids)}, and the counter is of {self._uuid}")
        self.device = self._torch.device("cuda", uuids.index(self._uuid))
        return self.device

    def run(self, what: str, iterations: int, watch: Callable[[], None] | None = None) -> None:
        """Queue the steps in chunks and wait for the last one."""
        if not self.started:
            self.start()
        if what not in self._steps:
            self._steps[what] = self._step(what)
        step, left = self._steps[what], iterations
        pending: deque[Any] = deque()
        with self._torch.inference_mode():
            while left or pending:
                while left and len(pending) < IN_FLIGHT:
                    count = min(left, CHUNK)
                    for _ in range(count):
                        step()
                    event = self._torch.cuda.Event()
                    event.record()
                    pending.append(event)
                    left -= count
                if watch is None:
                    pending.popleft().synchronize()
                    continue
                watch()
                if not pending[0].query():
                    time.sleep(POLL_SECONDS)
                while pending and pending[0].query():
                    pending.popleft()

    def _step(self, what: str) -> Callable[[], object]:
        torch = self._torch
        if what == MEMORY:
            source = torch.ones(COPIED_BYTES // 4, device=self.device)
            place = torch.empty_like(source)
            return lambda: place.copy_(source)
        if what == COMPUTE:
            shape = (PRODUCT_SIDE, PRODUCT_SIDE)
            factor = torch.randn(shape, device=self.device, dtype=torch.float16)
            return lambda: factor @ factor
        torch.manual_seed(0)
        net = self._net(128 if what == WIDE else 64)
        images = torch.from_numpy(pictures(what)).to(self.device)
        return lambda: net(images)

    def _net(self, width: int) -> Any:
        nn = self._torch.nn
        layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).to(self.device)


def pictures(what: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Inputs of a CNN step, (256, 3, 32, 32): zeros, ones, or noise of unit variance, white or 1/f."""
    shape = (BATCH, 3, SIDE, SIDE)
    if what in (ZEROS, CONSTANT):
        return np.full(shape, float(what == CONSTANT), dtype=np.float32)
    white = np.random.default_rng(0).standard_normal(shape)
    if what != PINK:
        return white.astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    frequency[0, 0] = 1.0 / SIDE
    pink = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(SIDE, SIDE))
    return np.asarray(pink / pink.std(), dtype=np.float32)


def flops(what: str) -> float | None:
    """Floating-point operations of one step, where they are plain: two per multiply-accumulate."""
    return 2.0 * PRODUCT_SIDE**3 if what == COMPUTE else None
