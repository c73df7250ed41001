"""What every step of a run shares: the suite, the data, the store, backends, models, meters, and where it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from joulemark.backends.backend import Backend, Compiled, backend
from joulemark.backends.fidelity import compiled_as_made
from joulemark.benchmarking.placing import home, scenarios
from joulemark.benchmarking.study_settings import filled_models, opened_models
from joulemark.benchmarking.suite import Suite
from joulemark.data import load
from joulemark.data.splits import UNPINNED, Split
from joulemark.energy.model import EnergyModel
from joulemark.judging.metrics.metric import metric
from joulemark.judging.trace import changed, remember_sources
from joulemark.machine.machine import boot, this_machine, versions
from joulemark.meters.meters import Meters, open_meters
from joulemark.meters.sampler import LONGEST_PERIOD_SECONDS
from joulemark.nets.net import Net, hash_of
from joulemark.record import Attempt, FreeTrial, Machine, Made, Provenance, Trial
from joulemark.store import Store
from joulemark.vocabulary import live_mark

COMPILED_KEPT = 32
T = TypeVar("T", Made, Attempt, Trial, FreeTrial)


class StoredNet(NamedTuple):
    """A net and the hash that records call it by, which takes a second to compute for a large one."""

    net: Net
    hash: str


@dataclasses.dataclass
class Session:
    """One run of a suite in one process. Data, backends and meters are opened when first needed; :meth:`close` it."""

    suite: Suite
    store: Store
    machine: Machine
    command: str
    fresh: bool = False  # train baselines anew instead of taking the published ones
    going: Callable[[float], None] = lambda share: None  # told how much of the step in hand is done
    passed_over: list[Made] = dataclasses.field(default_factory=list)  # published, when training afresh
    _compiled: dict[tuple[str, str], Compiled] = dataclasses.field(default_factory=dict)
    _held: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    @classmethod
    def open(cls, suite: Suite, results: str | Path, *, command: str | None = None, fresh: bool = False) -> Session:
        """A session on this machine, with results below ``results`` (a folder or an fsspec URL)."""
        remember_sources()
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
        return opened_models(self.suite)

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

    @property
    def filled(self) -> list[tuple[str, str | None]]:
        """Name of every energy model, and what it is filled with where that is a file of this machine or the user."""
        return filled_models(self.suite.models, self.models)

    def current(self, record_type: type[T], inputs: str) -> T | None:
        """The record of these inputs that the code of now would make again, the newest; else ``None``."""
        found = self.store.find(record_type, inputs)
        valid = [one for one in found if one.code and not changed(one.code) and one not in self.passed_over]
        return max(valid, key=lambda one: one.provenance.started, default=None)

    @cached_property
    def unpinned(self) -> tuple[str, ...]:
        """Digest of the data of a task that does not pin them: what is made of other data is something else.

        Of a task of live objects what tells them from all others, so that nothing made of them is used again.
        """
        own = self.suite.task.own
        if own is not None and not own.isolated:
            return (str(live_mark("data set", self.suite.task.data)),)
        if self.suite.task.data_sha256 != UNPINNED:
            return ()
        parts = [part for name in sorted(self.splits) for part in (self.splits[name].images, self.splits[name].labels)]
        return (hashlib.sha256(b"".join(hashlib.sha256(part.tobytes()).digest() for part in parts)).hexdigest()[:16],)

    @property
    def counters(self) -> list[tuple[str, str]]:
        """Name and scope of every energy counter: with another one, everything is measured again."""
        return [(source.name, source.scope) for source in self.meters.sources]

    @cached_property
    def _commit(self) -> str | None:
        return commit()

    def compiled(self, stored: StoredNet, backend: Backend) -> Compiled:
        """A net ready to run on ``backend``; the last few are kept, so that a seed's baseline is compiled once."""
        key = (stored.hash, backend.name)
        if key not in self._compiled:
            while len(self._compiled) >= COMPILED_KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[key] = self.compiled_anew(stored.net, backend)
        self._compiled[key] = self._compiled.pop(key)  # the most recently used is dropped last
        return self._compiled[key]

    def compiled_anew(self, net: Net, backend: Backend) -> Compiled:
        """A net ready to run on ``backend``, compiled now. ``ValueError`` if it then is another net than it was."""
        images = self.splits["validation"].images
        return compiled_as_made(net, backend, threads=self.suite.threads, images=images)

    def home(self, net: Net) -> Backend:
        """The backend that speaks for ``net``."""
        return home(self.backends, net)

    def scenarios(self, net: Net) -> list[tuple[Backend, int]]:
        """Where ``net`` is measured: backends and batch sizes."""
        return scenarios(self.backends, self.suite, net)

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
        """Store a net under its hash, once; a damaged file in its place is written over."""
        data = net.witnessed().to_bytes()
        key = hash_of(data)
        path = f"nets/{key}.safetensors"
        if self.store.read(path) != data:
            self.store.write(path, data)
        return key

    def net(self, key: str | None) -> StoredNet | None:
        """A stored net, or ``None`` if it is missing or damaged, or nothing is named."""
        data = None if key is None else self.store.read(f"nets/{key}.safetensors")
        if key is None or data is None or hash_of(data) != key:
            return None
        try:
            return StoredNet(Net.from_bytes(data), key)
        except ValueError:
            return None


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
