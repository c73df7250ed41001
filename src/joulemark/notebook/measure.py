"""`joulemark.measure`: seconds, CPU-seconds and joules of a block of code, or of every call of a function."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from joulemark.meters import meters
from joulemark.meters.window import Window
from joulemark.notebook.window_text import window_text
from joulemark.record import Kind, Quantity

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class MeasuredWindow(Window):
    """A window of the meters that knows its CPU-seconds, too, and says what was measured when it is printed."""

    def __init__(self, window: Window, edges: list[float]) -> None:
        self.__dict__ = window.__dict__  # one state: what the meters write there, this reads
        self._cpu_edges = edges

    @property
    def cpu_seconds(self) -> Quantity:
        """Processor time of all threads of this process, without its children; as :attr:`seconds` otherwise."""
        seconds, edges = self.seconds, self._cpu_edges
        whole = seconds.value is not None and len(edges) == 2
        return Quantity(
            value=edges[1] - edges[0] if whole else None,
            unit="s",
            kind=Kind.MEASURED,
            method="CPU clock",
            scope="this process",
            source="time.process_time",
            reason=None if whole else seconds.reason or "the CPU clock was not read at both edges",
        )

    def __repr__(self) -> str:
        return window_text(self)


class MeasuredFunction(Protocol, Generic[P, R_co]):
    """A function of which every call is measured; ``windows`` are those of its calls, in order."""

    windows: list[MeasuredWindow]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it, and measure that."""
        ...


class Measure(AbstractContextManager[MeasuredWindow]):
    """What :func:`measure` returns: a block's context manager, and a function's decorator."""

    def __init__(self, sync: Callable[[], object] | None, idle_seconds: float, trace: Path | None) -> None:
        self._open = functools.partial(_window, sync, idle_seconds, trace)
        self._trace = trace
        self._entered: list[AbstractContextManager[MeasuredWindow]] = []

    def __enter__(self) -> MeasuredWindow:
        block = self._open()
        window = block.__enter__()
        self._entered.append(block)
        return window

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._entered.pop().__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> MeasuredFunction[P, R]:
        """``function`` with a window round each call."""
        _refuse_unmeasurable(function)
        if self._trace is not None:
            raise ValueError("a trace is of one window: use measure(trace=...) in a `with` block, not as a decorator")
        inside = ContextVar("inside", default=False)
        windows: list[MeasuredWindow] = []

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if inside.get():  # a call of itself: the outer call's window has its seconds and joules already
                return function(*args, **kwargs)
            token = inside.set(True)
            try:
                with self._open() as window:
                    windows.append(window)
                    return function(*args, **kwargs)
            finally:
                inside.reset(token)

        measured = cast(MeasuredFunction[P, R], call)
        measured.windows = windows
        return measured


@overload
def measure(function: Callable[P, R], /) -> MeasuredFunction[P, R]: ...
@overload
def measure(
    *, sync: Callable[[], object] | None = None, idle_seconds: float = 0.0, trace: Path | str | None = None
) -> Measure: ...
def measure(
    function: Callable[..., Any] | None = None,
    /,
    *,
    sync: Callable[[], object] | None = None,
    idle_seconds: float = 0.0,
    trace: Path | str | None = None,
) -> Any:
    """Measure a block, or every call of a function, over each energy sensor that this machine has.

    ``with measure() as window:`` gives one window. ``@measure``, or ``@measure(...)``, before a function gives one
    window a call, in the list ``function.windows``; calls that it makes of itself are in the window of the first. Print
    a window to read what was measured: seconds, CPU-seconds of this process, joules by sensor, or why there are none.

    ``sync`` is called at both edges, so that work queued on a device ends inside (``torch.cuda.synchronize``). With
    ``idle_seconds`` the machine is measured idle so long before and after, for ``window.net_joules``. ``trace`` names
    a file for the raw readings (``joulemark replay``). Starting the sensors takes a tenth of a second, before the
    window. Raises ``ValueError`` for a generator, an async function or what is no function, and ``OSError`` if the
    trace cannot be written.

    >>> with measure() as window:
    ...     total = sum(range(1000))
    >>> window.seconds.unit, window.cpu_seconds.unit, window.joules.unit
    ('s', 's', 'J')
    >>> @measure
    ... def add(a: int, b: int) -> int:
    ...     return a + b
    >>> add(1, 2), len(add.windows)
    (3, 1)
    """
    made = Measure(sync, idle_seconds, None if trace is None else Path(trace))
    return made if function is None else made(function)


@contextmanager
def _window(sync: Callable[[], object] | None, idle_seconds: float, trace: Path | None) -> Iterator[MeasuredWindow]:
    """The window of the meters, its CPU clock read where they read theirs: at both edges, once the device is done."""
    edges: list[float] = []

    def edge() -> None:
        if sync is not None:
            sync()
        edges.append(time.process_time())

    with meters.measure(edge, idle_seconds=idle_seconds, trace=trace) as window:
        yield MeasuredWindow(window, edges)


def _refuse_unmeasurable(function: Any) -> None:
    """``ValueError`` for what a window round a call would not measure."""
    name = getattr(function, "__qualname__", type(function).__name__)
    if isinstance(function, staticmethod | classmethod):
        raise ValueError(f"{name} is a {type(function).__name__}: put @measure below @{type(function).__name__}")
    if inspect.isclass(function) or not callable(function):
        raise ValueError(
            f"measure takes a function, not {function!r:.80}; its options have names, as measure(sync=...)"
        )
    lazy = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(is_lazy(one) for is_lazy in lazy for one in (function, type(function).__call__)):
        raise ValueError(
            f"{name} is a generator or async function, which does its work after the call: measure the code that runs"
            " it, in a `with` block"
        )
