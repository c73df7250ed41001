"""A compiled net is the net that was made, or it is refused with the layer at which they part."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from small_nets import NETS
from torch import nn

from joulemark.backends.eager import Eager
from joulemark.backends.fidelity import ROWS, compiled_as_made, received, refuse_another_net
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.header import Format
from joulemark.nets.layers import integer
from joulemark.nets.net import Net

IMAGES = np.random.default_rng(0).standard_normal((ROWS, 1, 28, 28), dtype=np.float32)


def with_dead_filters(path: str, count: int, least: float = 0.2, most: float = 1.0, size: float = 0.0) -> Net:
    """LeNet in integers; some filters of a layer have no weights (or tiny ones) and a bias, as batch norms leave."""
    net = Net.new("lenet", (1, 28, 28), seed=0)
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    state[f"{path}.weight"][:count] *= size
    state[f"{path}.bias"][:count] = torch.linspace(least, most, count)
    net = net.replace(state=state)
    layers = received(net.module(), IMAGES)
    return net.replace(
        formats={
            name: Format(weight_bits=8, activation_bits=8, low=float(x.min()), high=float(x.max()))
            for name, x in layers.items()
        }
    )


class Off:
    """A backend that computes every output a little wrong."""

    name, title, kernels = "off", "Off", frozenset()

    def __init__(self, factor: float, precision: str = "fp32", exit_number: int | None = None) -> None:
        self.factor, self.precision, self.exit_number = factor, precision, exit_number

    def compile(self, net, *, threads):
        right, factor, wrong = Eager().compile(net, threads=threads), self.factor, self.exit_number

        class Compiled:
            def run(self, images):
                return right.run(images) * np.float32(factor)

            def exit_logits(self, images):
                found = [logits.copy() for logits in right.exit_logits(images)]
                found[-1 if wrong is None else wrong - 1] *= np.float32(factor)
                return found

        return Compiled()


@pytest.mark.parametrize(
    ("path", "count", "biases", "size"),
    [
        ("stage1.conv", 3, (0.2, 1.0), 0.0),
        ("stage1.conv", 1, (-20.0, 20.0), 1e-9),
        ("stage2.conv", 6, (-2.0, 5.0), 1e-7),
    ],
)
def test_filters_without_weights_and_with_a_bias_compile_as_they_were_made(path, count, biases, size):
    net = with_dead_filters(path, count, *biases, size)
    found = compiled_as_made(net, OnnxRuntime(), threads=1, images=IMAGES).run(IMAGES)
    made, plain = (net.module(formats=formats)(torch.from_numpy(IMAGES)).detach().numpy() for formats in (True, False))
    rounding = float(np.abs(made - plain).max())
    assert np.abs(found - made).max() <= 2 * rounding


@pytest.mark.parametrize("path", ["stage1.conv", "stage2.conv"])
def test_a_bias_beyond_its_integers_is_refused_with_its_layer(path, monkeypatch):
    net = with_dead_filters(path, 4)
    compiled_as_made(net, OnnxRuntime(), threads=1, images=IMAGES)
    monkeypatch.setattr(integer, "LARGEST_BIAS", float("inf"))
    with pytest.raises(ValueError, match=rf"^ONNX Runtime computes another net .* they part at layer '{path}'$"):
        compiled_as_made(net, OnnxRuntime(), threads=1, images=IMAGES)


@pytest.mark.parametrize(
    ("kind", "precision", "factor", "passes"),
    [
        ("static", "fp32", 1 + 5e-5, True),
        ("static", "fp32", 1 + 2e-4, False),
        ("static", "bf16", 1 + 1e-2, True),
        ("static", "bf16", 1 + 3e-2, False),
        ("static", "fp32", float("nan"), False),
        ("quantised", "fp32", 1 + 2e-4, True),  # less than its own rounding
        ("quantised", "fp32", 1.5, False),
    ],
)
def test_outputs_may_be_off_by_what_rounding_does(kind, precision, factor, passes):
    backend = Off(factor, precision)
    compiled = backend.compile(NETS[kind], threads=1)
    if passes:
        refuse_another_net(compiled, NETS[kind], backend, IMAGES)
        return
    with pytest.raises(ValueError, match="they part somewhere: Off does not tell what its layers receive"):
        refuse_another_net(compiled, NETS[kind], backend, IMAGES)


@pytest.mark.parametrize("number", [1, 2])
def test_a_dynamic_net_is_compared_at_every_exit(number):
    backend = Off(1.01, exit_number=number)
    with pytest.raises(ValueError, match=f"they part at exit {number}$"):
        compiled_as_made(NETS["dynamic"], backend, threads=1, images=IMAGES)


def test_rows_that_leave_elsewhere_on_a_backend_that_tells_no_exits_are_no_fault():
    backend = Off(1.01)
    whole = backend.compile(NETS["dynamic"], threads=1)
    only_runs = type("OnlyRuns", (), {"run": staticmethod(whole.run)})()
    refuse_another_net(only_runs, NETS["dynamic"], backend, IMAGES)


def test_a_net_that_is_random_by_design_is_not_compared(monkeypatch):
    monkeypatch.setattr(nn.Flatten, "stochastic", True, raising=False)
    compiled_as_made(NETS["static"], Off(2.0), threads=1, images=IMAGES)


@pytest.mark.parametrize("kind", ["static", "cascade", "skipping", "quantised"])
@pytest.mark.parametrize(
    "backend", [OnnxRuntime(), Eager(["bf16"]), Eager(["channels_last"])], ids=lambda one: one.name
)
def test_what_the_backends_compile_is_what_was_made(kind, backend):
    compiled_as_made(NETS[kind], backend, threads=1, images=IMAGES)


def test_the_layer_is_the_last_whose_input_is_still_right():
    net = NETS["static"]
    paths = list(received(net.module(), IMAGES))

    class Told(Off):
        def received(self, net, asked, images):
            found = received(net.module(), images)
            return {path: value * (1.0 if paths.index(path) < 2 else 1.1) for path, value in found.items()}

    with pytest.raises(ValueError, match=f"they part at layer '{paths[1]}'$"):
        compiled_as_made(net, Told(1.1), threads=1, images=IMAGES)


def test_however_coarse_its_integers_are_a_net_that_answers_nothing_is_refused():
    net = NETS["quantised"]
    coarse = net.replace(formats={path: msgspec.structs.replace(form, weight_bits=2, activation_bits=2)
                                  for path, form in net.formats.items()})  # fmt: skip
    backend = Off(0.0)
    with pytest.raises(ValueError, match="computes another net"):
        compiled_as_made(coarse, backend, threads=1, images=IMAGES)


def test_the_thread_count_of_the_caller_is_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        compiled_as_made(NETS["static"], Eager(), threads=1, images=IMAGES)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
