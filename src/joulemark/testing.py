"""Check a technique before it is compared with others: what we run on ours, anybody can run on theirs.

A technique is a function from a net to a net, so most of what can go wrong with one can be found without knowing what
it does. In the test file of your own package:

    from joulemark.testing import check_technique
    from my_package import half_the_filters

    def test_half_the_filters():
        check_technique(half_the_filters, knobs={"share": 0.5})

That trains a small LeNet on 300 generated images (once a process), runs the technique a few times on a workbench like
the benchmark's and checks, in this order:

1. it returns a ``Net`` that runs and keeps the shape of the outputs, and the net is what ``gives`` says;
2. **deterministic**: the same seed gives the same net, bit for bit, whatever the state of the global random generators;
3. **resumable**: stopped after its first fit and started again it ends with the same net, and repeats no fit;
4. **reload**: a net saved and read gives the same logits, bit for bit;
5. **one function**: a row's logits depend on its image alone, not on the rows beside it; gathered and dense form of
   masked layers agree; rows that leave early get the logits of the exit that the router chose (it never sees a label);
6. **costs**: the workload counts the multiply-accumulates that PyTorch's own flop counter sees;
7. **export**: ONNX Runtime gives the logits of eager PyTorch.

There is no test data on the workbench, here or in the benchmark: a technique that asks for them fails. The first check
that does not hold raises ``AssertionError`` with one sentence that says what was expected, so a failing test reads like
advice. A mistake the third check is made for: statistics gathered by a callback in a Python list and used after the
fit. When the run is resumed the finished fit is not repeated and the list is empty. Keep such things in the net, give
the callback ``state_dict`` and ``load_state_dict``, or wrap fit and use of the list in ``bench.remember``.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.benchmarking.ledger import Ledger
from joulemark.benchmarking.making import AttemptError, sentence, usable
from joulemark.benchmarking.workbench import Bench
from joulemark.data.splits import Split
from joulemark.energy.model import energy_model
from joulemark.nets.layers.masked import gathered
from joulemark.nets.net import Net
from joulemark.nets.segments import EXIT, Segments
from joulemark.store import Store
from joulemark.task import Recipe, Splits, Task
from joulemark.techniques.technique import Technique
from joulemark.training import fit, sgd
from joulemark.workloads.recording import record

TOLERANCE = 1e-3
"""Greatest difference of two logits that count as equal: batch sizes and runtimes sum in other orders."""
SAME_ANSWERS = 0.95
"""Share of equal answers asked of nets in integers instead: on the edge of two integers a value rounds either way."""

TASK = Task(
    name="generated",
    title="Ten generated patterns in noise",
    data="generated",
    data_sha256="none: generated from a seed",
    splits=Splits(train=300, policy=100, validation=100, test=1),
    input_shape=(1, 28, 28),
    classes=10,
    mean=(0.0,),
    deviation=(1.0,),
    recipe=Recipe(builder="lenet", options={"width": 0.2}, epochs=4, batch_size=32, learning_rate=0.05),
)
"""The task of the checks: LeNet at a fifth of its width, four epochs. Its test split is never generated."""
EPOCHS = 2
"""Budget of a technique in the checks."""


def check_technique(technique: Technique, *, knobs: Mapping[str, Any] | None = None) -> None:
    """Raise ``AssertionError``, one sentence, at the first check of this module that ``technique`` does not pass.

    ``knobs`` override its defaults. Takes a few seconds.

    >>> from joulemark.techniques.precision.int8 import int8
    >>> check_technique(int8, knobs={"images": 64})
    """
    _require(isinstance(technique, Technique), f"{technique!r} is no technique: decorate it with @joulemark.technique")
    name = technique.name
    _require(technique.takes >= {"float", "static"}, f"{name} does not take the float, static net of the checks")
    with _own_surroundings(), tempfile.TemporaryDirectory() as folder:
        bed = _Bed(technique, dict(knobs or {}), folder)
        net = bed.make("first")
        _check_gives(technique, net)
        _check_deterministic(bed, net)
        _check_resumable(bed, net)
        images = torch.from_numpy(generated()["validation"].images)
        with torch.no_grad():
            _check_reload(name, net, images)
            _check_one_function(name, net, images)
            _check_costs(name, net, images)
        _check_export(name, net, images.numpy())


def workbench(folder: str | Path) -> WatchedBench:
    """The benchmark's workbench on the generated data, its steps kept in ``folder``: also for tests of your own.

    >>> bench = workbench("memory://example")
    >>> sum(len(labels) for _, labels in bench.batches("train"))
    300
    """
    return WatchedBench(
        task=TASK,
        seed=0,
        limit_points=2.0,
        epochs=EPOCHS,
        splits=generated(),
        backend=OnnxRuntime(),
        threads=1,
        training_threads=1,
        model=energy_model("row-stationary"),
        ledger=Ledger(Store(folder, hardware_class="check", task=TASK.name), "check"),
        shared="shared-check",
    )


class _Stopped(BaseException):
    """Stands for a kill. Not an ``Exception``, so that a technique's own handlers miss it."""


@dataclasses.dataclass
class WatchedBench(Bench):
    """A workbench that counts the fits that really ran and can stop the technique after one of them."""

    stop_after: int | None = None
    fits_run: int = 0

    def fit(self, net: Net, **arguments: Any) -> Net:
        """As the benchmark's; then stop here if this was the fit to stop after."""
        restored = self.ledger.steps_restored
        fitted = super().fit(net, **arguments)
        self.fits_run += self.ledger.steps_restored == restored
        if self.fits_run == self.stop_after:
            raise _Stopped
        return fitted


@dataclasses.dataclass
class _Bed:
    """Runs the technique on a new workbench; the store named ``place`` is new unless it was used before."""

    technique: Technique
    knobs: dict[str, Any]
    folder: str
    fits_run: int = 0  # by the last call of ``make``

    def make(self, place: str, *, stop_after: int | None = None) -> Net:
        bench = workbench(f"{self.folder}/{place}")
        bench.stop_after = stop_after
        try:
            return usable(self.technique(baseline(), bench, **self.knobs), self.technique.name, TASK.classes)
        except AttemptError as error:
            raise AssertionError(str(error)) from error
        except Exception as error:  # a technique is anybody's code
            raise AssertionError(f"{self.technique.name} raised {type(error).__name__}: {sentence(error)}") from error
        finally:
            self.fits_run = bench.fits_run


def _check_gives(technique: Technique, net: Net) -> None:
    """Compositions are checked by ``gives`` before they run, so it has to be true."""
    _require(
        net.input_shape == TASK.input_shape,
        f"{technique.name} changed the input shape from {TASK.input_shape} to {net.input_shape}",
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
    except _Stopped:
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
    _require(
        again.hash == net.hash and torch.equal(_logits(again.module(), images), _logits(net.module(), images)),
        f"{name} returned a net that is another one when saved and read: keep all of it in the fields of Net",
    )


def _check_one_function(name: str, net: Net, images: Tensor) -> None:
    """A row's logits follow from its image alone, along every way of computing them."""
    module = net.module()
    logits = _logits(module, images)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    _require(
        _same(net, _logits(module, images[order]), logits[order]),
        f"the outputs of {name} for an image depend on the images beside it",
    )
    with gathered(module):
        _require(
            _same(net, _logits(module, images), logits),
            f"masked layers of {name} compute one thing by forward and another by run",
        )
    if isinstance(module, Segments):
        _require(
            _same(net, _routed(module, images), logits),
            f"run of {name} does not give each row the logits of the exit that its router chose",
        )


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
    macs = sum(operation.macs for operation in record(module, images, batch_size=size, formats=net.formats).operations)
    with FlopCounterMode(display=False) as counter, gathered(module):
        for batch in images.split(size):
            _logits(module, batch)
    seen = counter.get_total_flops() // 2
    _require(macs == seen, f"the workload of {name} counts {macs:,} MACs where PyTorch's flop counter sees {seen:,}")


def _check_export(name: str, net: Net, images: NDArray[np.float32]) -> None:
    try:
        exported = OnnxRuntime().compile(net, threads=1).run(images)
    except Exception as error:  # exporters raise anything
        raise AssertionError(f"the net of {name} cannot be exported to ONNX Runtime: {sentence(error)}") from error
    eager = Eager().compile(net, threads=1).run(images)
    _require(
        _same(net, torch.from_numpy(exported), torch.from_numpy(eager.copy())),
        f"ONNX Runtime and eager PyTorch disagree on the net of {name}",
    )


def _same(net: Net, a: Tensor, b: Tensor) -> bool:
    if net.formats:
        return float((a.argmax(1) == b.argmax(1)).double().mean()) >= SAME_ANSWERS
    return torch.allclose(a, b, rtol=0.0, atol=TOLERANCE)


def _logits(module: nn.Module, images: Tensor) -> Tensor:
    call: Callable[[Tensor], Tensor] = getattr(module, "run", module)
    return call(images)


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


@functools.cache
def generated() -> dict[str, Split]:
    """Each class is a coarse random pattern; an image is its pattern, fainter or stronger, in noise. No test split."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(TASK.classes, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    made = {}
    for name in ("train", "policy", "validation"):
        labels = np.arange(getattr(TASK.splits, name)) % TASK.classes
        strength = random.uniform(0.3, 1.0, size=(len(labels), 1, 1))
        images = patterns[labels] * strength + random.normal(size=(len(labels), 28, 28))
        made[name] = Split(images[:, None].astype(np.float32), labels.astype(np.int64))
    return made


@functools.cache
def baseline() -> Net:
    """The trained net that techniques start from, made once a process."""
    recipe, train = TASK.recipe, generated()["train"]
    net = Net.new(recipe.builder, TASK.input_shape, seed=0, **recipe.options)
    module = net.module()
    fit(
        module,
        torch.from_numpy(train.images),
        torch.from_numpy(train.labels),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=0,
        optimiser=sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay),
    )
    return net.with_state(module)
