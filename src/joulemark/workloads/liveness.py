"""Liveness: how many bytes of activations must be held at once while one batch goes through a net.

A tensor is alive from the operator that writes it to the last operator that reads it, in the order in which the
operators really ran. This is what a runtime needs that frees whatever nobody reads again; Python holds some tensors
longer. Views share the memory that they look at. Weights and buffers of the net are no activations.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves


class Liveness:
    """Follows the memory of tensors through the operators of one batch after another.

    >>> import torch
    >>> liveness, x = Liveness(nn.Linear(3, 4)), torch.zeros(2, 3)
    >>> liveness.start(x)
    >>> y = x.repeat(1, 2); liveness.step("repeat", x, y)
    >>> z = y.relu(); liveness.step("relu", y, z)
    >>> liveness.peak_bytes()  # y and z, 12 floats each
    96.0
    """

    def __init__(self, module: nn.Module) -> None:
        own = (*module.parameters(), *module.buffers())
        self.held = [StorageWeakRef(tensor.untyped_storage()) for tensor in own]  # so that their numbers stay theirs
        self.constant = {int(reference.cdata) for reference in self.held}
        self.peak = 0.0
        self._clear()

    def _clear(self) -> None:
        self.now = 0
        self.references: dict[int, StorageWeakRef] = {}  # while one is held, no other memory gets its number
        self.bytes: dict[int, float] = {}
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.share: dict[int, float] = {}  # of its bytes that a tensor takes as 8-bit integers
        self.integers: dict[int, int] = {}  # memory of a quantised tensor -> memory of the tensor it stands for

    def start(self, batch: Tensor) -> None:
        """Begin a batch; of its memory only the batch itself counts."""
        self.peak = self.peak_bytes()
        self._clear()
        self._touch(batch, batch.numel() * batch.element_size())

    def step(self, operator: str, inputs: Any, outputs: Any) -> None:
        """Book one operator, by the tensors in its arguments and results.

        Of several results the first counts; others, such as the places of the maxima of a pooling, if they are read.
        """
        self.now += 1
        read = [value for value in tree_leaves(inputs) if isinstance(value, Tensor)]
        written = next((value for value in tree_leaves(outputs) if isinstance(value, Tensor)), None)
        for tensor in read:
            self._touch(tensor)
        if written is None:
            return
        if operator == "quantize_dequantize":  # on integers, the float result is not there: what it was made from is
            key = self._key(read[0])
            self.share[key] = 1 / read[0].element_size()
            self.integers[self._key(written)] = key
        self._touch(written)

    def peak_bytes(self) -> float:
        """The most bytes alive during one operator, over all batches so far."""
        change: dict[int, float] = defaultdict(float)
        for key, size in self.bytes.items():
            if key not in self.constant:
                change[self.first[key]] += size * self.share.get(key, 1.0)
                change[self.last[key] + 1] -= size * self.share.get(key, 1.0)
        alive, peak = 0.0, self.peak
        for moment in sorted(change):
            alive += change[moment]
            peak = max(peak, alive)
        return peak

    def _key(self, tensor: Tensor) -> int:
        reference = StorageWeakRef(tensor.untyped_storage())
        key = int(reference.cdata)
        self.references.setdefault(key, reference)
        return self.integers.get(key, key)

    def _touch(self, tensor: Tensor, size: float | None = None) -> None:
        key = self._key(tensor)
        self.bytes.setdefault(key, float(tensor.untyped_storage().nbytes()) if size is None else float(size))
        self.first.setdefault(key, self.now)
        self.last[key] = self.now
