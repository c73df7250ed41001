"""`joulemark.measure` as a block and as a decorator."""

from __future__ import annotations

import inspect
import threading
import time

import pytest

from joulemark.meters.replay import replay
from joulemark.meters.window import Window
from joulemark.notebook.measure import measure
from joulemark.notebook.window_text import OPEN


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_block_knows_its_seconds_and_its_processor_time():
    with measure() as window:
        time.sleep(0.1)
        busy(0.05)
    assert isinstance(window, Window)
    assert window.seconds.value >= 0.15
    assert 0.05 <= window.cpu_seconds.value < 0.1  # sleeping is no processor time
    assert str(window).startswith("seconds ")
    assert window.joules.value is not None or "joules unknown: " in str(window)


def test_an_open_window_prints_that_it_is_open_and_can_be_told_of_progress():
    with measure() as window:
        assert str(window) == OPEN
        window.progress(1)
        with pytest.raises(RuntimeError, match="no result yet"):
            window.cpu_seconds  # noqa: B018
    assert isinstance(window.joules_per_iteration, dict)


def test_the_device_is_waited_for_at_both_edges():
    calls = []
    with measure(sync=lambda: (calls.append(1), busy(0.03))) as window:
        assert len(calls) == 1
    assert len(calls) == 2
    assert window.cpu_seconds.value >= 0.03  # what waiting costs belongs to the window


def test_a_block_that_raises_has_no_figures_and_says_why():
    with pytest.raises(KeyError), measure() as window:
        raise KeyError
    assert window.seconds.value is window.cpu_seconds.value is None
    assert str(window).startswith("seconds      unknown: the measured block raised KeyError")


def test_idle_is_measured_if_asked_for():
    with measure(idle_seconds=0.01) as window:
        pass
    assert "net joules" in str(window)


def test_a_trace_is_written_and_can_be_replayed(tmp_path):
    path = tmp_path / "trace.jsonl"
    with measure(trace=str(path)):
        pass
    assert path.stat().st_size > 0
    assert all(one.same for one in replay(path))


def test_a_decorated_function_is_the_same_function_with_a_window_a_call():
    @measure
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert (add(1), add(1, b=5)) == (3, 6)
    assert len(add.windows) == 2
    assert all(window.seconds.value > 0 for window in add.windows)
    assert (add.__name__, add.__doc__, str(inspect.signature(add))) == (
        "add",
        "Add.",
        "(a: 'int', b: 'int' = 2) -> 'int'",
    )


def test_options_and_methods():
    calls = []

    class Net:
        @measure(sync=lambda: calls.append(1))
        def train(self, x):
            return self, x

    net = Net()
    assert net.train(3) == (net, 3)
    assert (len(calls), len(Net.train.windows)) == (2, 1)


def test_a_call_of_itself_is_in_the_first_window_and_another_thread_has_its_own():
    @measure
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    assert factorial(20) == 2432902008176640000
    assert len(factorial.windows) == 1
    thread = threading.Thread(target=factorial, args=(3,))
    thread.start()
    thread.join()
    assert len(factorial.windows) == 2


def test_a_call_that_raises_keeps_its_window_and_the_next_is_measured():
    @measure
    def divide(a, b):
        return a / b

    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    assert divide(1, 1) == 1
    assert [window.seconds.value is None for window in divide.windows] == [True, False]


def generator():
    yield 1


async def coroutine():
    pass


async def both():
    yield 1


class Lazy:
    def __call__(self):
        yield 1


@pytest.mark.parametrize("function", [generator, coroutine, both, Lazy()])
def test_what_works_after_the_call_is_refused(function):
    with pytest.raises(ValueError, match=r"is a generator or async function, which does its work after the call"):
        measure(function)


@pytest.mark.parametrize(
    ("function", "why"),
    [(5, "measure takes a function, not 5"), (int, "takes a function"), (staticmethod(len), "below @staticmethod")],
)
def test_what_is_no_function_is_refused(function, why):
    with pytest.raises(ValueError, match=why):
        measure(function)


def test_a_trace_of_many_calls_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a trace is of one window"):
        measure(trace=tmp_path / "trace.jsonl")(len)


def test_one_measure_may_be_entered_again():
    block = measure()
    with block as first, block as second:
        pass
    with block as third:
        pass
    assert len({id(one) for one in (first, second, third)}) == 3
    assert first.seconds.value > second.seconds.value
