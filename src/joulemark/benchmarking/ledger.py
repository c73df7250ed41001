"""The ledger: what making a net has cost, across kills and restarts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from joulemark.nets.net import Net
from joulemark.record import Record
from joulemark.training import states_from_bytes, states_to_bytes
from joulemark.vocabulary import listening, tell

if TYPE_CHECKING:
    from joulemark.store import Store

T = TypeVar("T")


class Cost(Record, frozen=True, kw_only=True):
    """Wall seconds, CPU seconds of this process and image passes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    image_passes: int = 0
    fitted_passes: int = 0  # those of them that count against the budget
    searched_passes: int = 0  # those of them that count against the budget of the search

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            image_passes=self.image_passes + other.image_passes,
            fitted_passes=self.fitted_passes + other.fitted_passes,
            searched_passes=self.searched_passes + other.searched_passes,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            seconds=self.seconds - other.seconds,
            cpu_seconds=self.cpu_seconds - other.cpu_seconds,
            image_passes=self.image_passes - other.image_passes,
            fitted_passes=self.fitted_passes - other.fitted_passes,
            searched_passes=self.searched_passes - other.searched_passes,
        )


class Step(Record, frozen=True, kw_only=True):
    """A finished step of an attempt (or a checkpoint of one), with what it cost and whose it was."""

    kind: str  # "net", "json" or "checkpoint"
    value: bytes
    cost: Cost
    owner: str
    states: bytes = b""  # of what a fit changed beside the net: its callbacks and its loss
    heard: tuple[str, ...] = ()  # modules of the names that were looked up meanwhile
    code: dict[str, str] = {}  # their trace


class Ledger:
    """Books one attempt: the clock runs from construction, restored steps are added with what they cost before.

    Steps are stored as they finish. ``remember`` returns a stored step instead of making it again; nested steps have
    the names of those around them in theirs.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        *,
        trace: Callable[[Iterable[str]], dict[str, str]] = lambda modules: {},
        changed: Callable[[Mapping[str, str]], Sequence[str]] = lambda code: (),
    ) -> None:
        self.store, self.owner = store, owner
        self.trace, self.changed = trace, changed  # of what a step looked up: a stored one is taken up if none changed
        self.passes = 0
        self.restored = Cost()
        self.steps_restored = 0
        self.fitted = self.searched = 0
        began = f"steps/{owner}/began"
        self.interrupted = store.exists(began)  # a marker of this attempt that never ended
        if not self.interrupted:
            store.write(began, b"")
        self._seconds, self._cpu = time.monotonic(), time.process_time()
        self._around: list[str] = []
        self._count: dict[str, int] = {}

    @property
    def cost(self) -> Cost:
        """Everything booked so far, in this process and before."""
        live = Cost(
            seconds=time.monotonic() - self._seconds,
            cpu_seconds=time.process_time() - self._cpu,
            image_passes=self.passes,
            fitted_passes=self.fitted,
            searched_passes=self.searched,
        )
        return live + self.restored

    def numbered(self, name: str) -> str:
        """A name for the next step of this kind: "fit-0", "fit-1", ... within the steps around it."""
        full = "/".join([*self._around, name])
        number = self._count.get(full, 0)
        self._count[full] = number + 1
        return f"{name}-{number}"

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Steps made in the block belong to the step ``name``."""
        self._around.append(name)
        try:
            yield
        finally:
            self._around.pop()

    def remember(self, name: str, make: Callable[[], T], *, folder: str, changes: Sequence[Any] = ()) -> T:
        """The stored result of step ``name``, or that of ``make()``, stored. Results are a Net or JSON.

        ``changes`` are things with a state that ``make`` changes: they get it back with a stored result.
        """
        path = self._path(name, folder)
        step = self.load(path)
        if step is not None:
            if step.owner == self.owner:  # the cost of a step shared from another attempt is booked there
                self.restored += step.cost
            else:  # the budget is spent all the same
                self.fitted += step.cost.fitted_passes
                self.searched += step.cost.searched_passes
            self.steps_restored += 1
            tell(step.heard)
            if changes:
                states_from_bytes(changes, step.states)
            return Net.from_bytes(step.value) if step.kind == "net" else msgspec.json.decode(step.value)  # type: ignore[return-value]
        before = self.cost
        with self.inside(name), listening() as heard:
            value = make()
        net = isinstance(value, Net)
        data = value.to_bytes() if isinstance(value, Net) else _as_json(value)
        step = Step(
            kind="net" if net else "json",
            value=data,
            cost=self.cost - before,
            owner=self.owner,
            states=states_to_bytes(changes) if changes else b"",
            heard=tuple(sorted(heard)),
            code=self.trace(heard),
        )
        self.save(path, step)
        return value if net else msgspec.json.decode(data)  # the first time, too, what JSON makes of it

    def has(self, name: str, *, folder: str) -> bool:
        """Whether step ``name`` is stored."""
        return self.load(self._path(name, folder)) is not None

    def _path(self, name: str, folder: str) -> str:
        return f"steps/{folder}/{'/'.join([*self._around, name])}.step"

    def load(self, path: str) -> Step | None:
        """A stored step; one that cannot be read, or is of other code, counts as not there and is made again."""
        data = self.store.read(path)
        if data is None:
            return None
        try:
            step = msgspec.msgpack.decode(data, type=Step)
        except msgspec.MsgspecError:
            return None
        return None if self.changed(step.code) else step

    def save(self, path: str, step: Step) -> None:
        """Store a step, atomically."""
        self.store.write(path, msgspec.msgpack.encode(step))


def _as_json(value: Any) -> bytes:
    """A value as JSON. ``ValueError`` for numbers that JSON has not, which would come back as null."""
    try:
        return json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"what is remembered must be a Net or JSON: {error}") from error


class LedgerCheckpoint:
    """A fit's checkpoint that carries what the fit had cost when it was written."""

    def __init__(self, ledger: Ledger, folder: str, name: str) -> None:
        self.ledger, self.path = ledger, f"steps/{folder}/{'/'.join([*ledger._around, name])}.checkpoint"
        self.before = ledger.cost

    def load(self) -> bytes | None:
        """The last checkpoint; its cost is booked."""
        step = self.ledger.load(self.path)
        if step is None:
            return None
        self.ledger.restored += step.cost
        return step.value

    def save(self, data: bytes) -> None:
        """Store a checkpoint with the cost so far."""
        cost = self.ledger.cost - self.before
        self.ledger.save(self.path, Step(kind="checkpoint", value=data, cost=cost, owner=self.ledger.owner))
