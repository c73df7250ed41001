"""The judgement: whole nets that no fit has seen, at several batch sizes, and their layers one by one.

The paper judged five nets, VGG-16 and AlexNet among them. No layer of a net is among the rows, except by chance.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import msgspec
import torch

from joulemark.energy.features import Layer, layer_of
from joulemark.nets.net import Net, usual_input_shape
from joulemark.workloads.recording import record
from joulemark.workloads.workload import Workload

NETS = ("alexnet-torchvision", "alexnet-grouped", "vgg16", "googlenet", "resnet20", "resnet50", "squeezenet")
BATCHES = (1, 4, 16)

ALONE_BATCH = 1
"""At this batch size the layers of a net are measured one by one, too."""


@functools.cache
def net_workload(name: str) -> Workload:
    """What one input makes a net of ours execute."""
    shape = usual_input_shape(name) or ()
    module = Net.new(name, shape, seed=0).module()
    return record(module, torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)))


def at_batch(workload: Workload, batch: int) -> Workload:
    """A static net's workload of one input, as it is when ``batch`` inputs go through at once."""
    operations = tuple(
        msgspec.structs.replace(one, rows=one.rows * batch, macs=one.macs * batch) for one in workload.operations
    )
    return msgspec.structs.replace(workload, inputs=batch, batch_size=batch, operations=operations)


def layers_of(workload: Workload) -> Iterator[tuple[Layer | None, int]]:
    """The layers of one pass and how often each is called; ``None`` for an operation that no fit describes."""
    for one in workload.operations:
        yield layer_of(one, max(1, round(one.rows / max(one.calls, 1)))), one.calls
