"""The checks of a technique, one after the other; the package says what they are."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.benchmarking.applying import usable
from joulemark.benchmarking.errors import AttemptError, sentence
from joulemark.nets.layers.layer import own_counts
from joulemark.nets.layers.masked import gathered
from joulemark.nets.net import Net
from joulemark.nets.segments import EXIT, Segments
from joulemark.task import Task
from joulemark.techniques.technique import Technique
from joulemark.testing.answers import agree, logits_of, seeded
from joulemark.testing.example import TASK, baseline, generated, generated_task
from joulemark.testing.watched import Stopped, workbench
from joulemark.workloads.recording import record


def check_technique(
    technique: Technique,
    *,
    knobs: Mapping[str, Any] | None = None,
    net: str | None = None,
    options: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> None:
    """Raise ``AssertionError``, one sentence, at the first check that ``technique`` does not pass.

    ``knobs`` override its defaults. It is tried on a small LeNet, or on a ``net`` of that builder, its ``options`` and
    ``input_shape``. Takes a few seconds, for larger nets more.

    >>> from joulemark.techniques.precision.int8 import int8
    >>> check_technique(int8, knobs={"images": 64})
    """
    _require(isinstance(technique, Technique), f"{technique!r} is no technique: decorate it with @joulemark.technique")
    name = technique.name
    task = TASK if net is None else generated_task(net, options, input_shape)
    _require(technique.takes >= {"float", "static"}, f"{name} does not take the float, static net of the checks")
    with _own_surroundings(), tempfile.TemporaryDirectory() as folder:
        bed = _Bed(technique, dict(knobs or {}), folder, task)
        made = bed.make("first")
        _check_gives(technique, made, task)
        _check_deterministic(bed, made)
        _check_resumable(bed, made)
        images = torch.from_numpy(generated(task)["validation"].images)
        with torch.no_grad():
            _check_reload(name, made, images)
            _check_one_function(name, made, images)
            _check_costs(name, made, images)
        _check_export(name, made, images.numpy())


@dataclasses.dataclass
class _Bed:
    """Runs the technique on a new workbench; the store named ``place`` is new unless it was used before."""

    technique: Technique
    knobs: dict[str, Any]
    folder: str
    task: Task
    fits_run: int = 0  # by the last call of ``make``

    def make(self, place: str, *, stop_after: int | None = None) -> Net:
        bench = workbench(f"{self.folder}/{place}", task=self.task, technique=self.technique)
        bench.stop_after = stop_after
        try:
            returned = self.technique(baseline(self.task), bench, **self.knobs)
            return usable(returned, self.technique.name, self.task.classes)
        except AttemptError as error:
            raise AssertionError(str(error)) from error
        except Exception as error:  # a technique is anybody's code
            raise AssertionError(f"{self.technique.name} raised {type(error).__name__}: {sentence(error)}") from error
        finally:
            self.fits_run = bench.fits_run


def _check_gives(technique: Technique, net: Net, task: Task) -> None:
    """Compositions are checked by ``gives`` before they run, so it has to be true."""
    _require(
        net.input_shape == task.input_shape,
        f"{technique.name} changed the input shape from {task.input_shape} to {net.input_shape}",
    )
    for word, there in (("dynamic", net.route is not None), ("integer", bool(net.formats))):
        _require(
            word in technique.gives or not there,
            f"{technique.name} returned a net that is {word}, and its gives says {', '.join(sorted(technique.gives))}",
        )


def _check_deterministic(bed: _Bed, net: Net) -> None:
    """Randomness has to come from ``bench.seed``: the global generators stand elsewhere in the second run."""
    torch.manual_seed(1)
    again = bed.make("second")
    _require(
        again.hash == net.hash,
        f"{bed.technique.name} is not deterministic: two runs with the same seed gave {net.hash} and {again.hash}; "
        "draw all randomness from a generator seeded with bench.seed",
    )


def _check_resumable(bed: _Bed, net: Net) -> None:
    """Stop after the first fit, run again on the same store."""
    name, fits = bed.technique.name, bed.fits_run
    if not fits:
        return  # nothing was fitted: started again, it simply runs again
    try:
        bed.make("stopped", stop_after=1)
    except Stopped:
        pass
    else:
        raise AssertionError(f"{name} swallowed the exception that stopped it: catch Exception, not BaseException")
    torch.manual_seed(2)
    again = bed.make("stopped")
    _require(
        bed.fits_run == fits - 1,
        f"{name} is not resumable: of its {fits} fits 1 was finished, and {bed.fits_run} ran when it was started again",
    )
    _require(
        again.hash == net.hash,
        f"{name} is not resumable: stopped after its first fit and started again it gave {again.hash}, not {net.hash}; "
        "what a callback gathers in memory is lost when a finished fit is not run again",
    )


def _check_reload(name: str, net: Net, images: Tensor) -> None:
    again = Net.from_bytes(net.to_bytes())
    first, second = (seeded(functools.partial(logits_of, one.module(), images)) for one in (net, again))
    _require(
        again.hash == net.hash and torch.equal(first, second),
        f"{name} returned a net that is another one when saved and read: keep all of it in the fields of Net",
    )


def _check_one_function(name: str, net: Net, images: Tensor) -> None:
    """A row's logits follow from its image alone, along every way of computing them."""
    module = net.module()

    def logits() -> Tensor:
        return logits_of(module, images)

    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    _require(
        agree(net, module, lambda: logits_of(module, images[order]), lambda: logits()[order]),
        f"the outputs of {name} for an image depend on the images beside it",
    )
    _require(
        agree(net, module, lambda: _gathered(module, images), logits),
        f"masked layers of {name} compute one thing by forward and another by run",
    )
    if isinstance(module, Segments):
        _require(
            agree(net, module, lambda: _routed(module, images), logits),
            f"run of {name} does not give each row the logits of the exit that its router chose",
        )


def _gathered(module: nn.Module, images: Tensor) -> Tensor:
    with gathered(module):
        return logits_of(module, images)


def _routed(module: Segments, images: Tensor) -> Tensor:
    """Logits of the exit each row takes, one row at a time: what no batch that parts and joins can get wrong."""
    segments, rows = module.segments(), []
    for image in images.split(1):
        carry, logits, here = {"features": image}, None, 0
        while here != EXIT:
            carry, logits, onward = segments[here](carry)
            carry = segments[here].handed(carry, int(onward))
            here = int(onward)
        rows.append(logits)
    return torch.cat([row for row in rows if row is not None])


def _check_costs(name: str, net: Net, images: Tensor) -> None:
    """Masked or not, dynamic or not: what is counted is what PyTorch was asked to multiply."""
    size, module = 25, net.module()
    torch.manual_seed(0)  # the work of a stochastic net may be random, too
    macs = sum(operation.macs for operation in record(module, images, batch_size=size, formats=net.formats).operations)
    torch.manual_seed(0)
    with FlopCounterMode(display=False) as counter, gathered(module):
        for batch in images.split(size):
            logits_of(module, batch)
    seen = counter.get_total_flops() // 2
    # PyTorch's counter knows no operators but its own: what a kind of layer counts itself comes on top.
    agree_ = macs >= seen if own_counts(module) else macs == seen
    _require(agree_, f"the workload of {name} counts {macs:,} MACs where PyTorch's flop counter sees {seen:,}")


def _check_export(name: str, net: Net, images: NDArray[np.float32]) -> None:
    try:
        exported = OnnxRuntime().compile(net, threads=1)
        exported.run(images)
    except Exception as error:  # exporters raise anything
        raise AssertionError(f"the net of {name} cannot be exported to ONNX Runtime: {sentence(error)}") from error
    eager = Eager().compile(net, threads=1)
    _require(
        agree(
            net,
            net.module(),
            lambda: torch.from_numpy(exported.run(images)),
            lambda: torch.from_numpy(eager.run(images).copy()),
        ),
        f"ONNX Runtime and eager PyTorch disagree on the net of {name}",
    )


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


@contextmanager
def _own_surroundings() -> Iterator[None]:
    """The caller's random generator and thread count are as before when the block ends."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the caller may stand where the second run will
            yield
    finally:
        torch.set_num_threads(threads)
