"""What every step of a run shares: the suite, the data, the store, backends, models, meters, and where it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from joulemark.backends.backend import Backend, Compiled, backend, simulated, without_masks
from joulemark.benchmarking.fingerprint import code_digest
from joulemark.benchmarking.suite import Suite
from joulemark.data import load, readers
from joulemark.data.splits import Split
from joulemark.energy.model import EnergyModel, Filled, energy_model
from joulemark.judging.metrics.metric import metric
from joulemark.machine.machine import boot, this_machine, versions
from joulemark.meters.meters import Meters, open_meters
from joulemark.meters.sampler import LONGEST_PERIOD_SECONDS
from joulemark.nets.net import Net, builders
from joulemark.record import Machine, Provenance, content_key
from joulemark.store import Store
from joulemark.techniques.technique import Technique

COMPILED_KEPT = 32


@dataclasses.dataclass
class Session:
    """One run of a suite in one process. Data, backends and meters are opened when first needed; :meth:`close` it."""

    suite: Suite
    store: Store
    machine: Machine
    command: str
    fresh: bool = False  # train baselines anew instead of taking the published ones
    going: Callable[[float], None] = lambda share: None  # told how much of the step in hand is done
    _compiled: dict[tuple[str, str], Compiled] = dataclasses.field(default_factory=dict)
    _digests: dict[tuple[str, ...], str] = dataclasses.field(default_factory=dict)
    _held: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    @classmethod
    def open(cls, suite: Suite, results: str | Path, *, command: str | None = None, fresh: bool = False) -> Session:
        """A session on this machine, with results below ``results`` (a folder or an fsspec URL)."""
        metric(suite.task.metric)  # an unknown one is named before hours are spent
        machine = this_machine()
        store = Store(results, hardware_class=machine.hardware_class, task=f"{suite.task.name}-{suite.task.key[:8]}")
        store.sweep()
        return cls(suite, store, machine, command or f"joulemark {shlex.join(sys.argv[1:])}".strip(), fresh)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """Images and labels of every split. Only a trial may look at "test"."""
        return load(self.suite.task)

    @cached_property
    def backends(self) -> list[Backend]:
        """The suite's backends, all of which can run here; ``ValueError`` names one that cannot."""
        made = [backend(name) for name in self.suite.backends]
        for one in made:
            reason = one.unavailable()
            if reason is not None:
                raise ValueError(f"backend {one.name} cannot run here: {reason}")
        return made

    @cached_property
    def models(self) -> list[EnergyModel]:
        """The suite's energy models."""
        return [energy_model(name) for name in self.suite.models]

    @cached_property
    def meters(self) -> Meters:
        """The energy sensors of this machine, without cross-checks: those average over a second, windows are short.

        They are read all the time: making a net may take longer than a turn of a counter.
        """
        return self._held.enter_context(
            open_meters(sampled=True, checked=False, counter_period_seconds=LONGEST_PERIOD_SECONDS)
        )

    def close(self) -> None:
        """Close the meters."""
        self._held.close()

    @cached_property
    def training_code(self) -> str:
        """Digest of the code that trains a baseline, and the versions of what it runs on."""
        return content_key(self.digest("joulemark.training", *self._asked), self._runtimes("numpy", "torch"))

    def making_code(self, chain: Sequence[Technique]) -> str:
        """Digest of the code that makes a net by these techniques, and the versions of what it runs on.

        A workbench has the suite's first backend and first energy model, and no other.
        """
        techniques = [one.function.__module__ for one in chain]
        guides = [type(one[0]).__module__ for one in (self.backends, self.models)]
        return content_key(
            self.digest("joulemark.benchmarking.workbench", *techniques, *self._asked, *guides),
            self._constants(self.models[:1]),
            self._runtimes("numpy", "onnx", "onnxruntime", "onnxscript", "torch"),
        )

    @cached_property
    def code(self) -> str:
        """Digest of the code that judges and measures nets, and the versions of what it runs on."""
        return content_key(
            self.digest("joulemark.benchmarking.attempt", "joulemark.benchmarking.trial", *self._asked, *self._judges),
            self._constants(self.models),
            self._runtimes("numpy", "onnx", "onnxruntime", "onnxscript", "torch"),
        )

    def digest(self, *modules: str) -> str:
        """Digest of modules as they were when first asked for: editing a file during a run changes none of its keys."""
        if modules not in self._digests:
            self._digests[modules] = code_digest(modules)
        return self._digests[modules]

    @property
    def _asked(self) -> list[str]:
        """Modules that the task names: the reader of its data and the builder of its net."""
        task = self.suite.task
        named = (readers().get(task.data, ""), builders().get(task.recipe.builder, ""))
        return [name.partition(":")[0] for name in named if name]

    @property
    def _judges(self) -> list[str]:
        """Modules that the suite names: its backends and energy models."""
        return [type(one).__module__ for one in (*self.backends, *self.models)]

    @cached_property
    def _tables(self) -> list[str]:
        folder = Path(__file__).parent.parent / "energy"
        return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]

    def _constants(self, models: Sequence[EnergyModel]) -> list[str]:
        """What energy models are filled with: our tables, and the files that some of ``models`` were read from."""
        return [*self._tables, *(one.content for one in models if isinstance(one, Filled))]

    def _runtimes(self, *names: str) -> list[str | None]:
        return [versions().get(name) for name in names]

    @property
    def counters(self) -> list[tuple[str, str]]:
        """Name and scope of every energy counter: with another one, everything is measured again."""
        return [(source.name, source.scope) for source in self.meters.sources]

    @cached_property
    def _commit(self) -> str | None:
        return commit()

    def compiled(self, net: Net, backend: Backend) -> Compiled:
        """``net`` ready to run on ``backend``; the last few are kept, so that a seed's baseline is compiled once."""
        key = (net.hash, backend.name)
        if key not in self._compiled:
            while len(self._compiled) >= COMPILED_KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[key] = backend.compile(net, threads=self.suite.threads)
        self._compiled[key] = self._compiled.pop(key)  # the most recently used is dropped last
        return self._compiled[key]

    def home(self, net: Net) -> Backend:
        """The backend that speaks for ``net``: the suite's first with real kernels for it, or else the first."""
        return next((one for one in self.backends if simulated(net, one) is None), self.backends[0])

    def scenarios(self, net: Net) -> list[tuple[Backend, int]]:
        """Where ``net`` is measured: its home backend at every batch size, others with real kernels where asked.

        A net whose zeros need a sparse kernel also runs on the first backend, which multiplies them, at every batch
        size: so that what a dense kernel makes of it is measured, not believed. That is simulated, and on no board.
        """
        home, suite, first = self.home(net), self.suite, self.backends[0]
        beside = first if home is not first and simulated(without_masks(net), first) is None else None
        return [
            (one, size)
            for one in self.backends
            for size in suite.batch_sizes
            if one in (home, beside) or (size not in suite.home_only and simulated(net, one) is None)
        ]

    def provenance(self) -> Provenance:
        """How to get a record made now again."""
        return Provenance(
            joulemark=versions().get("joulemark", "unknown"),
            commit=self._commit,
            command=self.command,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=self.machine,
            versions=versions(),
            load_average=os.getloadavg()[0],
            boot=boot(),
        )

    def save_net(self, net: Net) -> str:
        """Store a net under its hash, once."""
        path = f"nets/{net.hash}.safetensors"
        if self.net(net.hash) is None:
            self.store.write(path, net.to_bytes())
        return net.hash

    def net(self, key: str) -> Net | None:
        """A stored net, or ``None`` if it is missing or damaged."""
        data = self.store.read(f"nets/{key}.safetensors")
        if data is None:
            return None
        try:
            net = Net.from_bytes(data)
        except ValueError:
            return None
        return net if net.hash == key else None


def commit() -> str | None:
    """Commit of the source tree this package is imported from, "+dirty" if it was changed; ``None`` outside one."""
    folder = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603, S607
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "--short=12", "HEAD")
    top = git("rev-parse", "--show-toplevel")
    if head is None or top is None or not folder.is_relative_to(Path(top) / "src"):
        return None
    return f"{head}+dirty" if git("status", "--porcelain", "--", str(folder)) else head
