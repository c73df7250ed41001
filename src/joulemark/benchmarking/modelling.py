"""What a net executes on real inputs, and what the energy models and proxies make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import torch

from joulemark.backends.backend import WORKLOAD_IMAGES
from joulemark.energy.proxies import proxies
from joulemark.nets.net import Net
from joulemark.record import EnergyReport
from joulemark.workloads.recording import record

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session


def modelled(session: Session, net: Net) -> tuple[tuple[EnergyReport, ...], dict[str, float]]:
    """Energy reports of the suite's models and the proxies of ``net``, for the first validation images.

    Besides the executed MACs, ``macs`` counts those of one input that leaves nowhere early. A proxy that is not known,
    because the net has operators without a rule, is left out.
    """
    images = torch.from_numpy(session.splits["validation"].images[:WORKLOAD_IMAGES])
    module = net.module()
    threads = torch.get_num_threads()
    torch.set_num_threads(session.suite.threads)  # how many there are decides the last digits, and so some zeros
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the work of a stochastic net is random, too: whoever looks again sees the same
        workload = record(module, images, batch_size=session.suite.batch_sizes[0], formats=net.formats)
        whole = record(module, images[:1], whole=True)
    torch.set_num_threads(threads)
    known = {**proxies(workload, parameters=net.parameters(), nonzeros=net.nonzeros()), "macs": whole.macs_per_input}
    reports = tuple(
        # Boards look for the name that the suite says: of a file's model its path, whatever the file calls it.
        msgspec.structs.replace(model.estimate(workload), model=name)
        for name, model in zip(session.suite.models, session.models, strict=True)
    )
    return reports, {name: value for name, value in known.items() if value is not None}
