"""Whole nets as ONNX files and back: answers of ONNX Runtime, layers, channels, integers, export."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from onnx_answers import agrees, noise, one_node, write_nodes
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from joulemark.backends.onnx_exporter import export
from joulemark.nets.dependencies import channel_ties, keep
from joulemark.nets.from_onnx import module_from_onnx
from joulemark.nets.header import Format
from joulemark.nets.net import Net
from joulemark.nets.own_nets import given_net
from joulemark.vocabulary import register_live

pytestmark = pytest.mark.usefixtures("one_thread")
NETS = {"lenet": (1, 28, 28), "resnet20": (3, 32, 32), "inception": (3, 32, 32)}


class Gated(nn.Module):
    """Steps that ours do not have: SiLU, a depthwise convolution, squeeze and excitation, batch norm that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.before = nn.BatchNorm2d(8)
        self.out, self.act, self.head = nn.Conv2d(8, 12, 1), nn.PReLU(12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(self.stem(x))
        x = x * self.excite(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()
        x = self.act(self.out(nn.functional.relu6(self.before(x))))
        return self.head(nn.functional.avg_pool2d(x, 2).mean((2, 3)).view(x.size(0), -1))


class Signal(nn.Module):
    """Windows of a signal, pooled, with a flatten by its size."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Conv1d(6, 8, 5), nn.BatchNorm1d(8), nn.Conv1d(8, 10, 3)
        self.f = nn.Linear(50, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool1d(self.n(self.a(x)).relu(), 2)
        x = nn.functional.avg_pool1d(nn.functional.elu(self.b(x)), 2)
        return self.f(x.view(x.size(0), -1)).log_softmax(1)


def trained(module: nn.Module) -> nn.Module:
    """Batch norms with statistics of their own, as after training."""
    torch.manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                tensor.data.uniform_(0.5, 1.5)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


@functools.cache
def ours(name) -> tuple[Net, bytes]:
    """A net of ours and its file."""
    net = Net.new(name, NETS[name], seed=0)
    net = net.with_state(trained(net.module()))
    return net, export(net.module(), (torch.zeros(2, *NETS[name]),))


@functools.cache
def others(make, shape) -> tuple[nn.Module, bytes]:
    """A net of others and its file."""
    torch.manual_seed(0)
    module = trained(make())
    return module, export(module, (torch.zeros(2, *shape),))


def written(path, file: bytes):
    path.write_bytes(file)
    return path


def saved_by_torchscript(path, module, shape, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old exporter is deprecated
        torch.onnx.export(module, torch.zeros(1, *shape), path, dynamo=False, input_names=["x"], **options)
    return path


@pytest.mark.parametrize("name", NETS)
def test_our_nets(name, tmp_path):
    net, file = ours(name)
    module = agrees(written(tmp_path / "net.onnx", file), net.input_shape)
    assert products(module) == products(net.module())
    if name == "resnet20":  # an export takes seconds
        assert operators(export(module, (torch.zeros(2, *net.input_shape),))) == operators(file)


def products(module):
    layers = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return {path: layer.weight.shape for path, layer in module.named_modules() if isinstance(layer, layers)}


def operators(file: bytes):
    return Counter(node.op_type for node in onnx.load_from_string(file).graph.node)


@pytest.mark.parametrize(("make", "shape"), [(Gated, (3, 12, 12)), (Signal, (6, 28))])
@pytest.mark.parametrize("free", [True, False])
def test_other_nets_by_both_exporters(make, shape, free, tmp_path):
    original, exported = others(make, shape)
    options = {"dynamic_axes": {"x": {0: "rows"}}} if free else {}
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    files = [
        written(tmp_path / "dynamo.onnx", exported),
        saved_by_torchscript(tmp_path / "old.onnx", original, shape, **options),
        saved_by_torchscript(tmp_path / "kept.onnx", original, shape, **options, **kept),
    ]
    x = torch.from_numpy(noise(7, *shape))
    for file in files:
        module = agrees(file, shape, (1,))
        assert products(module) == products(original)
        with torch.no_grad():  # also where the file says that there is one row
            torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert norms, "a file that was written so keeps its batch norms"


def test_copies_states_traces_and_exports(tmp_path):
    shape = (3, 12, 12)
    module = module_from_onnx(saved_by_torchscript(tmp_path / "n.onnx", trained(Gated()), shape))
    other = copy.deepcopy(module)
    for tensor in other.state_dict().values():
        tensor.zero_()
    x = torch.from_numpy(noise(5, *shape))
    with torch.no_grad():
        expected = module(x)
        assert not torch.equal(other(x), expected)
        other.load_state_dict(module.state_dict())
        assert torch.equal(other(x), expected)
        assert torch.equal(make_fx(module)(x)(x), expected)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    session = onnxruntime.InferenceSession(export(module, (x,)), providers=["CPUExecutionProvider"])
    for rows in (1, 7):
        y = torch.from_numpy(noise(rows, *shape))
        with torch.no_grad():
            expected = module(y)
        torch.testing.assert_close(program.module()(y), expected)
        np.testing.assert_allclose(session.run(None, {"x": y.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


def test_it_trains(tmp_path):
    module = module_from_onnx(written(tmp_path / "n.onnx", others(Gated, (3, 12, 12))[1])).train()
    module(torch.from_numpy(noise(4, 3, 12, 12))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def as_net(label, path, shape):
    register_live("builder", label, lambda: str(path))
    return Net(builder=label, input_shape=shape).with_state(given_net(label))


def test_channels_of_a_residual_net_are_cut_as_those_of_the_original(tmp_path):
    original, exported = ours("resnet20")
    net = as_net("user/resnet_onnx", written(tmp_path / "n.onnx", exported), (3, 32, 32))
    groups = channel_ties(net).groups
    expected = channel_ties(original).groups
    assert {group.name: group.channels for group in groups} == {group.name: group.channels for group in expected}
    kept = {group.name: list(range(0, group.channels, 2)) for group in groups}
    x = torch.from_numpy(noise(3, 3, 32, 32))
    with torch.no_grad():
        cut, other = (keep(one, kept).module()(x) for one in (net, original))
    torch.testing.assert_close(cut, other, rtol=1e-4, atol=1e-5)


def test_channels_behind_a_flatten_and_integers(tmp_path):
    original, exported = ours("lenet")
    net = as_net("user/lenet_onnx", written(tmp_path / "n.onnx", exported), (1, 28, 28))
    names = {group.name: group.channels for group in channel_ties(original).groups}
    assert {group.name: group.channels for group in channel_ties(net).groups} == names
    form = Format(weight_bits=8, activation_bits=8, low=-1.0, high=3.0)
    integers = net.replace(formats=dict.fromkeys(("stage1.conv", "classifier.hidden"), form))
    assert integers.needs() == {"int8"}
    expected = original.replace(formats=integers.formats).module()
    x = torch.from_numpy(noise(3, 1, 28, 28))
    with torch.no_grad():
        torch.testing.assert_close(integers.module()(x), expected(x), rtol=1e-4, atol=1e-5)
    assert b"QuantizeLinear" in export(integers.module(), (x,))


def test_a_path_beside_the_file_that_gives_it(tmp_path, monkeypatch):
    written(tmp_path / "n.onnx", ours("lenet")[1])
    made = {"__file__": str(tmp_path / "task.py")}
    exec("def net(): return 'n.onnx'", made)  # noqa: S102 (a function of another file)
    register_live("builder", "user/beside_onnx", made["net"])
    assert given_net("user/beside_onnx") is given_net("user/beside_onnx")
    monkeypatch.chdir(tmp_path)
    register_live("builder", "user/working_onnx", lambda: "n.onnx")
    assert isinstance(given_net("user/working_onnx"), nn.Module)


def test_axes_that_the_file_leaves_open(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "c.weight"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    file = write_nodes(tmp_path / "o.onnx", nodes, ["n", 3, "h", "w"], **{"c.weight": noise(4, 3, 3, 3)})
    agrees(file, (3, 9, 17))


def test_a_net_that_does_not_run(tmp_path):
    file = one_node(tmp_path / "bad.onnx", "Conv", ["n", 4, 5, 5], **{"c.weight": noise(4, 3, 3, 3)})
    with pytest.raises(ValueError, match=r"^bad\.onnx does not run: "):
        module_from_onnx(file)


def test_answers_other_than_those_of_onnx_runtime_are_refused(tmp_path, monkeypatch):
    file = one_node(tmp_path / "r.onnx", "Relu", ["n", 4])
    monkeypatch.setattr(nn.functional, "relu", torch.abs)
    from joulemark.nets import onnx_operators
    from joulemark.nets.from_onnx import READERS

    monkeypatch.setitem(READERS, "Relu", onnx_operators.of_one(torch.abs))
    with pytest.raises(ValueError, match=r"^r\.onnx answers otherwise here than in ONNX Runtime"):
        module_from_onnx(file)
