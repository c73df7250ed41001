"""How a layer is timed, by a clock that work moves; and that both devices run the layers they are asked for."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from joulemark.calibrate.onnx_device import OnnxDevice, _graph
from joulemark.calibrate.sampling import CONTROL, layer
from joulemark.calibrate.timing import LEAST_CALLS, MachineBench
from joulemark.calibrate.torch_device import TorchDevice, _called, _inputs
from joulemark.energy.features import TYPES, Layer
from joulemark.meters.meters import Meters
from joulemark.meters.replay import SHORTEST_UPDATES

RELU = Layer(type="relu", batch=1, input=(8,), output=(8,))


class Time:
    """A clock that work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """Takes the seconds of its list in turn when called; writing its input takes ten seconds that must not count."""

    def __init__(self, time: Time, seconds: list[float]) -> None:
        self.time, self.seconds, self.turn, self.prepared = time, seconds, 0, 0

    def prepare(self) -> None:
        self.time.now += 10.0
        self.prepared += 1

    def call(self) -> None:
        self.time.now += self.seconds[self.turn % len(self.seconds)]
        self.turn += 1


class FakeDevice:
    name, precision, free, nothing, repeat = "fake", "fp32", (), None, 1

    def __init__(self, time: Time, seconds: list[float], control: list[float]) -> None:
        self.time, self.seconds, self.control = time, seconds, control
        self.copies: list[int] = []

    def layer(self, layer: Layer, copies: int) -> Worker:
        self.copies.append(copies)
        return Worker(self.time, self.control if layer == CONTROL else self.seconds)

    def running(self):
        return nullcontext()

    def sync(self) -> None:
        pass


def test_the_median_call_counts_and_preparing_does_not():
    time = Time()
    device = FakeDevice(time, [1.0, 2.0, 3.0], [9.0, 5.0])
    timed = MachineBench(device, CONTROL, Meters(()), time).layer(RELU)
    assert timed.calls == LEAST_CALLS
    assert timed.seconds == 2.0
    assert (timed.low, timed.high) == (1.5, 3.0)  # of 1, 1, 2, 2, 3, 3, 3
    assert timed.control_seconds == 9.0  # one call came before the first of two, so every second one is measured
    assert timed.watts is None


class FakeWindow:
    """50 W, by the same clock."""

    def __init__(self, time: Time) -> None:
        self.time = time

    def __enter__(self) -> FakeWindow:
        self.began = self.time.now
        return self

    def __exit__(self, *_) -> None:
        taken = self.time.now - self.began
        self.seconds, self.joules = SimpleNamespace(value=taken), SimpleNamespace(value=50.0 * taken)


def test_watts_come_from_a_window_long_enough_for_the_counter():
    time = Time()
    windows = []

    def window(*_, **__) -> FakeWindow:
        windows.append(FakeWindow(time))
        return windows[-1]

    meters = SimpleNamespace(sources=[SimpleNamespace(update_seconds=0.1)], window=window)
    timed = MachineBench(FakeDevice(time, [0.5], [1.0]), CONTROL, meters, time).layer(RELU)
    assert timed.watts == pytest.approx(50.0)
    assert windows[0].seconds.value >= SHORTEST_UPDATES * 0.1


def test_queued_calls_are_timed_together():
    time = Time()
    device = FakeDevice(time, [1.0, 3.0], [1.0])
    device.repeat = 4
    assert MachineBench(device, CONTROL, Meters(()), time).layer(RELU).seconds == 2.0


@pytest.mark.parametrize(("weights", "copies"), [((64, 64), 8), ((4096, 1024), 4), ((4096, 8192), 1)])
def test_weights_have_as_many_copies_as_make_64_mb_at_most_eight(weights, copies):
    time = Time()
    device = FakeDevice(time, [1.0], [1.0])
    one = Layer(type="fc", batch=1, input=(weights[0],), output=(weights[1],))
    MachineBench(device, CONTROL, Meters(()), time).layer(one)
    assert device.copies == [1, copies]


def small(kind: str) -> Layer:
    """The smallest of the first few layers of a type."""
    found = [one for index in range(200) if (one := layer(0, index)).type == kind]
    return min(found, key=lambda one: (one.moved + one.weights, one.macs))


@pytest.mark.parametrize("kind", TYPES)
def test_torch_runs_what_the_layer_says(kind):
    one = small(kind)
    with torch.inference_mode():
        output = _called(one, "cpu")(*_inputs(one, "cpu"))
    assert tuple(output.shape) == (one.batch, *one.output)


@pytest.mark.parametrize("kind", TYPES)
def test_onnx_runtime_runs_what_the_layer_says(kind):
    one = small(kind)
    runnable = OnnxDevice(1).layer(one, 2)
    runnable.prepare()
    runnable.call()  # into an output of the layer's shape: another one would be refused
    assert runnable.turn == 1


def test_both_give_the_same_pooling_average_and_power():
    import onnxruntime

    for kind in ("pool", "mean", "pow", "pad", "avg_pool3d", "softmax", "add", "cat"):
        one = small(kind)
        inputs = _inputs(one, "cpu")
        with torch.inference_mode():
            ours = _called(one, "cpu")(*inputs).numpy()
        session = onnxruntime.InferenceSession(_graph(one, 0), providers=["CPUExecutionProvider"])
        feed = {slot.name: value.numpy() for slot, value in zip(session.get_inputs(), inputs, strict=True)}
        theirs = session.run(None, feed)[0]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=kind)


def test_a_pooling_never_meets_the_same_values_twice_in_a_row():
    pool = TorchDevice(1).layer(small("pool"), 1)
    seen = []
    with torch.inference_mode():
        for _ in range(3):
            pool.prepare()
            seen.append(pool.inputs[0].clone())
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert min(float(values.min()) for values in seen) >= 0.0


def test_an_average_in_places_runs_on_both():
    one = Layer(type="mean", batch=2, input=(8, 6, 6), output=(8, 3, 3))
    with torch.inference_mode():
        assert _called(one, "cpu")(*_inputs(one, "cpu")).shape == (2, 8, 3, 3)
    OnnxDevice(1).layer(one, 1).call()


def test_a_type_that_nobody_knows_cannot_be_run_alone():
    one = Layer(type="cell", batch=1, input=(1,), output=(1,))
    for device in (TorchDevice(1), OnnxDevice(1)):
        with pytest.raises(ValueError, match="'cell' cannot be run alone"):
            device.layer(one, 1)


def test_a_gpu_that_is_not_there_is_one_sentence():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="torch sees no CUDA GPU"):
        TorchDevice(1, "cuda")


def test_a_net_runs_through_its_backend():
    with torch.inference_mode():
        runnable = TorchDevice(1).net("lenet", 2)
        runnable.prepare()
        runnable.call()
