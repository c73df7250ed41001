"""Layers in eager PyTorch: each computes what NumPy computes by hand, its copies take turns, and nets are ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_layers import FLAT, IN_PLACES, PADDED, ROUNDED_UP, SMALL, UNKNOWN

from joulemark.calibrate.sampling import layer
from joulemark.calibrate.torch_device import TorchDevice
from joulemark.energy.features import TYPES, Layer
from joulemark.nets.net import Net


@pytest.fixture(autouse=True)
def threads():
    """A device sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(one, copies: int = 1):
    """A layer made ready, its output and its inputs."""
    device = TorchDevice(1)
    runnable = device.layer(one, copies)
    with device.running():
        output = runnable.functions[0](*runnable.inputs)
    return runnable, output.numpy(), [value.numpy().astype(np.float64) for value in runnable.inputs]


def windows(x, one, fill: float):
    """Every window of the last two axes, spread by the dilation: (batch, channels, rows, columns, *kernel)."""
    (rows, columns), (down, right) = one.padding, one.dilation
    x = np.pad(x, [(0, 0), (0, 0), (rows, rows), (columns, columns)], constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(one.kernel, one.dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return seen[:, :, :: one.stride[0], :: one.stride[1], ::down, ::right]


def by_hand(one, runnable, inputs):
    """The same in float64, by the definitions of the textbook."""
    x, module = inputs[0], runnable.functions[0]
    if one.type == "conv":
        weight, bias = (value.detach().numpy().astype(np.float64) for value in (module.weight, module.bias))
        parts = zip(np.split(windows(x, one, 0.0), one.groups, 1), np.split(weight, one.groups), strict=True)
        return np.concatenate([np.einsum("nchwij,mcij->nmhw", *part) for part in parts], 1) + bias[:, None, None]
    if one.type == "fc":
        return x @ module.weight.detach().numpy().T + module.bias.detach().numpy()
    if one.type == "pool":
        return windows(x, one, -np.inf).max((4, 5))
    if one.type == "softmax":
        return np.exp(x) / np.exp(x).sum(1, keepdims=True)
    if one.type == "pad":
        return np.pad(x, [(0, 0), *((0, n - m) for m, n in zip(x.shape[1:], one.output, strict=True))])
    if one.type == "avg_pool3d":
        return np.lib.stride_tricks.sliding_window_view(x, 5, axis=2).mean(-1)
    return {
        "relu": lambda: np.maximum(x, 0.0),
        "add": lambda: x + inputs[1],
        "batch_norm": lambda: x / np.sqrt(1.0 + 1e-5),  # it has seen no batch yet
        "cat": lambda: np.concatenate(inputs, 1),
        "mean": lambda: x.mean((2, 3) if x.ndim == 4 else -1, keepdims=True),
        "pow": lambda: x**0.75,
    }[one.type]()


def test_there_is_a_small_layer_of_every_type():
    assert set(SMALL) == set(TYPES)


@pytest.mark.parametrize("one", [*SMALL.values(), PADDED], ids=lambda one: one.type)
def test_torch_runs_what_the_layer_says(one):
    runnable, output, inputs = run(one)
    assert output.shape == (one.batch, *one.output)
    np.testing.assert_allclose(output, by_hand(one, runnable, inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("one", FLAT, ids=lambda one: one.type)
def test_layers_without_places_run_too(one):
    runnable, output, inputs = run(one)
    assert output.shape == (one.batch, *one.output)
    np.testing.assert_allclose(output, by_hand(one, runnable, inputs), rtol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_layers_as_they_are_drawn_have_the_shape_they_say(kind):
    found = [one for index in range(200) if (one := layer(0, index)).type == kind]
    one = min(found, key=lambda one: (one.moved + one.weights, one.macs))
    assert run(one)[1].shape == (one.batch, *one.output)


def test_a_window_over_the_edge_takes_what_is_inside():
    _, output, (x,) = run(ROUNDED_UP)
    assert output.shape == (1, 2, 3, 3)
    np.testing.assert_array_equal(output[..., 2, 2], x[..., 4:, 4:].max((2, 3)))
    np.testing.assert_array_equal(output[..., 0, 2], x[..., :3, 4:].max((2, 3)))


def test_an_average_in_places_is_one_of_blocks():
    _, output, (x,) = run(IN_PLACES)
    np.testing.assert_allclose(output, x.reshape(2, 8, 3, 2, 3, 2).mean((3, 5)), rtol=1e-5)


def test_copies_have_weights_of_their_own_and_take_turns():
    device = TorchDevice(1)
    runnable = device.layer(SMALL["fc"], 3)
    turns, outputs = [], []
    with device.running():
        for _ in range(4):
            before = runnable.inputs[0].clone()
            runnable.prepare()
            runnable.call()
            assert torch.equal(runnable.inputs[0], before)  # written, and the same
            turns.append(runnable.turn)
            outputs.append(runnable.functions[runnable.turn](*runnable.inputs))
    assert turns == [1, 2, 0, 1]
    assert torch.equal(outputs[0], outputs[3])
    assert not any(torch.equal(outputs[0], other) for other in outputs[1:3])


def test_a_call_runs_the_copy_whose_turn_it_is_and_keeps_nothing():
    runnable = TorchDevice(1).layer(SMALL["add"], 2)
    heard = []
    runnable.functions = [lambda *inputs, name=name: heard.append((name, len(inputs))) for name in "ab"]
    assert runnable.call() is None
    runnable.prepare()
    runnable.call()
    assert heard == [("a", 2), ("b", 2)]


@pytest.mark.parametrize(("rows", "columns"), [(5, 6), (6, 5), (6, 6)])
def test_a_pooling_that_hangs_over_one_edge_alone_has_its_output(rows, columns):
    output = (2, *(-((3 - size) // 2) + 1 for size in (rows, columns)))
    one = Layer(type="pool", batch=1, input=(2, rows, columns), output=output, kernel=(3, 3), stride=(2, 2))
    assert one.rounded_up
    _, found, _ = run(one)
    assert found.shape == (1, *output)


def test_a_pooling_never_meets_the_same_values_twice_in_a_row():
    pool = TorchDevice(1).layer(SMALL["pool"], 1)
    seen = []
    with torch.inference_mode():
        for _ in range(3):
            pool.prepare()
            seen.append(pool.inputs[0].clone())
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert min(float(values.min()) for values in seen) >= 0.0
    assert 0.3 < float((torch.stack(seen) == 0).float().mean()) < 0.7  # as behind a ReLU


def test_a_pooling_goes_on_when_its_values_are_at_their_end():
    pool = TorchDevice(1).layer(SMALL["pool"], 1)
    size, row = pool.inputs[0].numel(), pool.values
    with torch.inference_mode():
        for _ in range(300):  # more than once around
            pool.prepare()
    assert torch.equal(pool.inputs[0].view(-1), row[pool.offset : pool.offset + size])
    assert 300 * 7919 > len(row) > pool.offset + size


def test_nothing_is_recorded_for_a_gradient():
    device = TorchDevice(1)
    runnable = device.layer(SMALL["conv"], 1)
    with device.running():
        assert not runnable.functions[0](*runnable.inputs).requires_grad
    device.sync()  # nothing to wait for on a processor


def test_a_type_that_nobody_knows_cannot_be_run_alone():
    with pytest.raises(ValueError, match=r"^a layer of type 'cell' cannot be run alone$"):
        TorchDevice(1).layer(UNKNOWN, 1)


def test_a_gpu_that_is_not_there_is_one_sentence():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="torch sees no CUDA GPU"):
        TorchDevice(1, "cuda")


def test_a_device_has_the_threads_asked_for_and_computes_in_full_precision():
    torch.set_float32_matmul_precision("medium")
    device = TorchDevice(2)
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "highest"
    assert (device.name, device.precision, device.free, device.nothing, device.repeat) == ("eager", "fp32", (), None, 1)


def test_a_net_runs_through_its_backend_and_is_ours():
    device = TorchDevice(1)
    with device.running():
        runnable = device.net("lenet", 2)
        before = runnable.array.copy()
        runnable.prepare()
        assert runnable.call() is None
    assert np.array_equal(runnable.array, before)
    assert np.shares_memory(runnable.array, runnable.images.numpy())
    module = Net.new("lenet", (1, 28, 28), seed=0).module()
    with torch.no_grad():
        expected = module(torch.from_numpy(before)).numpy()
    assert expected.shape == (2, 10)
    np.testing.assert_allclose(runnable.run(runnable.array), expected, rtol=1e-5, atol=1e-6)
