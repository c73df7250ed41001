"""The contract of a technique: a function from a net to a net, and the workbench that is all it may use."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from joulemark.machine.time_limit import TimeLimit, time_limit
from joulemark.nets.net import Net
from joulemark.record import EnergyReport
from joulemark.task import BASELINE, Task
from joulemark.training import Callback, Loss, MakeOptimiser, Schedule
from joulemark.vocabulary import VocabularyError, import_file, look_up, names, unknown_name_message
from joulemark.workloads.workload import Workload

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SEARCH, CONTROL = "search_epochs", "control"
IMPORT_SECONDS = 60.0
"""What a user's file may take to be imported; it defines techniques, and does no work yet."""


class TechniqueError(ValueError):
    """A technique cannot do what was asked; the message is one sentence for the user."""


class Workbench(Protocol):
    """All that a technique may use. There are no test data in it, and everything done through it is metered.

    ``seed`` and ``limit_points`` (the largest accuracy loss in points that will be accepted) are those of the run;
    ``epochs`` is the budget of one attempt in passes over the training images, which several fits may divide among
    them (three nets at ``bench.epochs / 3`` each); ``search_epochs`` is what the technique declared for a search.
    """

    task: Task
    seed: int
    limit_points: float
    epochs: int
    search_epochs: int

    def batches(self, split: str, *, batch_size: int = 64) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of "train", "policy", "validation" or "calibration" (train images, a few hundred)."""
        ...

    def fit(
        self,
        net: Net,
        *,
        split: str = "train",
        epochs: float,
        loss: Loss | None = None,
        optimiser: MakeOptimiser | None = None,
        schedule: Schedule | None = None,
        precision: str | None = None,
        after_backward: Callback | None = None,
        after_step: Callback | None = None,
    ) -> Net:
        """Train on "train" or "policy", through masks, gates and number formats.

        By default by the task's recipe at a tenth of its learning rate, in the recipe's precision. ``epochs`` over the
        images of the split may have a fraction. Callbacks get a :class:`joulemark.training.Step`. A callback or loss
        with ``state_dict`` and ``load_state_dict`` keeps its state over kills and restarts; a loss that is a module
        with parameters has them trained by the optimiser, in a group of its defaults.
        """
        ...

    def search(self) -> AbstractContextManager[None]:
        """A block whose image passes, of fits and of all else, are booked as a search, against ``search_epochs``."""
        ...

    def logits(self, net: Net) -> NDArray[np.float32]:
        """Logits (images, classes) of the compiled net on the validation images."""
        ...

    def exit_logits(self, net: Net) -> list[NDArray[np.float32]]:
        """Logits (images, classes) of every exit of the compiled net on the validation images; no row leaves."""
        ...

    def workload(self, net: Net, *, batch_size: int = 1) -> Workload:
        """What the net executes for some validation images."""
        ...

    def energy(self, net: Net, *, batch_size: int = 1) -> EnergyReport:
        """Joules per input by the suite's first energy model, or seconds alone if it knows no joules."""
        ...

    def remember(self, key: str, make: Callable[[], T], *, shared: bool = False) -> T:
        """``make()``, or what it returned before a crash. The result is a Net or JSON.

        ``shared`` keeps it for other knob settings of the same net and seed: for work that the knobs do not change.
        """
        ...

    def note(self, name: str, value: Any) -> None:
        """Keep a JSON value with the result: what was decided, and on what grounds."""
        ...


@dataclasses.dataclass(frozen=True)
class Range:
    """The values a knob may take, in its ``Annotated`` type. ``log`` searches it on a logarithmic scale.

    ``gentle`` says which end changes the net least ("low" or "high"): the search goes there when accuracy is lost.
    """

    low: float
    high: float
    log: bool = False
    gentle: str = "low"

    def __post_init__(self) -> None:
        """Raise :class:`TechniqueError` for a range that cannot be searched."""
        if not self.low < self.high or (self.log and self.low <= 0) or self.gentle not in {"low", "high"}:
            raise TechniqueError(f"not a range: {self} (low < high, low > 0 if log, gentle 'low' or 'high')")

    @property
    def ends(self) -> tuple[float, float]:
        """The gentle and the aggressive end."""
        return (self.low, self.high) if self.gentle == "low" else (self.high, self.low)

    def between(self, a: float, b: float) -> float:
        """Half-way between two values, on the logarithmic scale if that is how the knob is searched."""
        return math.sqrt(a * b) if self.log else (a + b) / 2


@dataclasses.dataclass(frozen=True)
class Technique:
    """A technique with what the benchmark must know of it. Made by :func:`technique`."""

    name: str
    paper: str
    family: str
    function: Callable[..., Net]
    knob: str | None  # the one the benchmark searches
    takes: frozenset[str]
    gives: frozenset[str]
    start: str  # "trained": starts from the trained baseline; "scratch": trains anew
    trains: bool  # whether it spends epochs: those of a composition share the budget
    knobs: Mapping[str, Any]  # defaults
    ranges: Mapping[str, Range]
    choices: Mapping[str, tuple[Any, ...]]  # of a knob whose type is a Literal
    search_epochs: int = 0  # what it may spend on a search (of policies, of shapes), beside the epochs that it trains

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults overridden by ``given``. :class:`TechniqueError` for an unknown knob or a value out of range."""
        for name, value in given.items():
            if name not in self.knobs:
                raise TechniqueError(f"{self.name}: {unknown_name_message('knob', name, self.knobs)}")
            self._check(name, value)
        return {**self.knobs, **given}

    def fixed(self, given: Mapping[str, Any]) -> Technique:
        """This technique with other defaults, under a name that says so; a given knob is not searched any more.

        ``search_epochs`` is given like a knob, to a control or to a technique that searches. Raises
        :class:`TechniqueError` like :meth:`settings`.
        """
        settings = ",".join(f"{knob}={value}" for knob, value in sorted(given.items()))
        knobs = {knob: value for knob, value in given.items() if knob != SEARCH or knob in self.knobs}
        return dataclasses.replace(
            self,
            name=f"{self.name}:{settings}",
            knobs=self.settings(knobs),
            knob=None if self.knob in given else self.knob,
            search_epochs=self._search(given[SEARCH])
            if SEARCH in given and SEARCH not in knobs
            else self.search_epochs,
        )

    def granted(self, epochs: int) -> tuple[int, int]:
        """Epochs to train and epochs to search with, of a budget of ``epochs`` and the search declared beside it.

        A control has nothing to search: what it is given for a search it trains with, so that it can be compared with
        a technique that searched as long.
        """
        return (epochs + self.search_epochs, 0) if self.family == CONTROL else (epochs, self.search_epochs)

    def _search(self, epochs: Any) -> int:
        if self.family != CONTROL and not self.search_epochs:
            raise TechniqueError(
                f"{self.name} does not search: {SEARCH} are for a technique that does and for controls"
            )
        if type(epochs) is not int or epochs < 0:
            raise TechniqueError(f"{self.name}: {SEARCH} must be a whole number of at least 0, got {epochs!r}")
        return epochs

    def _check(self, name: str, value: Any) -> None:
        default, span = self.knobs[name], self.ranges.get(name)
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number or (default is None and span is not None and value is not None):
            kinds, words = (int, "a whole number") if isinstance(default, int) else (int | float, "a number")
            if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
                raise TechniqueError(f"{self.name}: {name} must be {words}, got {value!r}")
        elif default is not None and not isinstance(value, type(default)):
            raise TechniqueError(f"{self.name}: {name} must be like {default!r}, got {value!r}")
        if name in self.choices and value not in self.choices[name]:
            raise TechniqueError(f"{self.name}: {unknown_name_message(name, str(value), map(str, self.choices[name]))}")
        if span is not None and value is not None and not span.low <= value <= span.high:
            raise TechniqueError(f"{self.name}: {name} = {value:g} is out of range, {span.low:g} to {span.high:g}")

    def __call__(self, net: Net, bench: Workbench, **knobs: Any) -> Net:
        """Run the technique."""
        return self.function(net, bench, **self.settings(knobs))


def technique(
    name: str,
    *,
    paper: str,
    family: str,
    knob: str | None = None,
    takes: frozenset[str] | set[str] = frozenset({"float", "static"}),
    gives: frozenset[str] | set[str] = frozenset({"float", "static"}),
    start: str = "trained",
    trains: bool = True,
    search_epochs: int = 0,
) -> Callable[[Callable[..., Net]], Technique]:
    """Make a function ``(net, bench, *, knobs) -> net`` a technique.

    ``takes`` and ``gives`` are sets of "float", "integer", "static", "dynamic": a composition is checked by them before
    it runs. ``knob`` names the keyword that the benchmark searches; its range stands in its type:
    ``strength: Annotated[float, Range(1e-4, 1e-1, log=True)] = 3e-3``. A knob of words has them in a ``Literal``.
    ``trains=False`` says that it calls no ``fit``, so that in a composition it takes no epochs from the others.
    ``search_epochs`` declares what it may spend within ``bench.search()``, in passes over the training images, beside
    the epochs that every technique has. The note "search" of its rows says what it spent; a control with the same
    declared (``-t small-dense:search_epochs=12``) is what such a row is to be compared with.

    Raises :class:`TechniqueError` for a name that could not be asked for, and for a function that is no technique.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or name == BASELINE:
        raise TechniqueError(
            f"a technique cannot be called {name!r}: take 1 to 64 letters (a to z), digits, '.', '_' or '-', the first "
            f"a letter or digit, and not {BASELINE!r} (a '+' composes techniques and a ':' sets knobs)"
        )
    if type(search_epochs) is not int or search_epochs < 0:
        raise TechniqueError(f"{name}: {SEARCH} must be a whole number of at least 0, got {search_epochs!r}")
    if start not in {"trained", "scratch"}:
        raise TechniqueError(f"{name}: start is 'trained' or 'scratch', not {start!r}")
    known = frozenset().union(*AXES)
    for word in sorted((set(takes) | set(gives)) - known):
        raise TechniqueError(f"{name}: {unknown_name_message('word in takes or gives', word, known)}")

    def wrap(function: Callable[..., Net]) -> Technique:
        parameters = list(inspect.signature(function).parameters.values())
        knobs = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        missing = [key for key, value in knobs.items() if value is inspect.Parameter.empty]
        if missing or len(parameters) - len(knobs) != 2:
            raise TechniqueError(f"{name}: write it as (net, bench, *, knob=default, ...), every knob with a default")
        hints = typing.get_type_hints(function, include_extras=True)
        ranges = {
            key: extra
            for key in knobs
            for extra in getattr(hints.get(key), "__metadata__", ())
            if isinstance(extra, Range)
        }
        words = {
            key: typing.get_args(hints[key]) for key in knobs if typing.get_origin(hints.get(key)) is typing.Literal
        }
        if knob is not None and knob not in ranges:
            raise TechniqueError(f"{name}: the searched knob {knob!r} needs a Range in its type")
        made = Technique(
            name=name,
            paper=paper,
            family=family,
            function=function,
            knob=knob,
            takes=frozenset(takes),
            gives=frozenset(gives),
            start=start,
            trains=trains,
            knobs=knobs,
            ranges=ranges,
            choices=words,
            search_epochs=search_epochs,
        )
        made.settings(knobs)  # the defaults obey the ranges too
        return made

    return wrap


def technique_names() -> dict[str, str]:
    """Names of all techniques and the modules they are in."""
    return names("technique")


def load_technique(name: str, files: Sequence[Path] = ()) -> Technique:
    """The technique of that name, of ``files`` or known. :class:`TechniqueError` if there is none, or more than one."""
    known = technique_names()
    extra: dict[str, tuple[Path, Technique]] = {}
    for path in files:
        for found in file_techniques(path):
            where, before = extra.setdefault(found.name, (path, found))
            taken = known.get(found.name)
            if taken is not None and taken.rpartition(":")[0] == str(path.resolve()):
                taken = None  # registered from this very file
            taken = taken or (f"in {where}" if before is not found else None)
            if taken is not None:
                raise TechniqueError(
                    f"{path} defines the technique {found.name!r}, which is {taken}: give it another name"
                )
    if name in extra:
        return extra[name][1]
    if name not in known:
        raise TechniqueError(unknown_name_message("technique", name, [*known, *extra]))
    try:
        module = look_up("technique", name)
    except VocabularyError as error:
        raise TechniqueError(str(error)) from error
    if isinstance(module, Technique):  # the entry point names the function itself
        return module
    if not isinstance(module, ModuleType):
        raise TechniqueError(f"{known[name]} is a {type(module).__name__}, not a technique: decorate it")
    for made in techniques_in(module):
        if made.name == name:
            return made
    raise TechniqueError(f"{known[name]} holds no technique called {name!r}")


def techniques_in(module: ModuleType) -> list[Technique]:
    """The techniques that a module defines."""
    return [value for value in vars(module).values() if isinstance(value, Technique)]


def file_techniques(path: Path) -> tuple[Technique, ...]:
    """The techniques in a user's Python file, which is imported once. :class:`TechniqueError` if that fails."""
    found = techniques_in(import_user_file(path))
    if not found:
        raise TechniqueError(f"{path} defines no technique: decorate a function with @joulemark.technique(...)")
    return tuple(found)


def import_user_file(path: Path) -> ModuleType:
    """A user's Python file, imported once for each content. :class:`TechniqueError` says why it cannot be."""
    if not path.is_file():
        raise TechniqueError(f"{path} is not a Python file")
    try:
        with time_limit(IMPORT_SECONDS), contextlib.redirect_stdout(sys.stderr):  # our output may be JSON for a script
            return import_file(path)
    except TimeLimit as error:
        raise TechniqueError(f"{path} cannot be imported: it was not done after {IMPORT_SECONDS:g} s") from error
    except (Exception, SystemExit) as error:  # whatever a user's file raises is the user's to read, in one sentence
        raise TechniqueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


AXES = (frozenset({"float", "integer"}), frozenset({"static", "dynamic"}))
"""What a net can be: one word of each axis."""


def check_chain(chain: Sequence[Technique]) -> None:
    """:class:`TechniqueError` if a technique cannot take what the one before it gives.

    A technique changes only the axes that its ``gives`` names: int8 after early exits is integer and still dynamic.
    """
    given = frozenset({"float", "static"})
    for one in chain:
        lacking = given - one.takes
        if lacking:
            raise TechniqueError(
                f"{one.name} cannot come here: it would get a net that is {', '.join(sorted(lacking))} and takes only "
                f"{', '.join(sorted(one.takes))}"
            )
        given = frozenset().union(*((one.gives & axis) or (given & axis) for axis in AXES))
