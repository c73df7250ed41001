"""ONNX Runtime: agrees with the module, really drops rows, really computes in integers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_nets import NETS
from torch import Tensor, nn

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxNet, OnnxRuntime, session
from joulemark.backends.onnx_exporter import export
from joulemark.backends.segment_graphs import SegmentGraphs
from joulemark.nets import net as net_module
from joulemark.nets.layers.layer import own_translations
from joulemark.nets.layers.masked import MaskedLayer
from joulemark.nets.net import Net

KINDS = ("static", "quantised", "dynamic", "cascade", "skipping")


@pytest.fixture(scope="module")
def nets():
    return NETS


pytestmark = pytest.mark.usefixtures("threads_given_back")


@pytest.fixture(scope="module")
def compiled(nets):
    return {kind: OnnxRuntime().compile(net, threads=1) for kind, net in nets.items()}


def images(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 1, 28, 28), dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_agrees_with_the_module_and_with_eager(nets, compiled, kind, rows):
    x = images(rows)
    module = nets[kind].module()
    with torch.no_grad():
        expected = getattr(module, "run", module)(torch.from_numpy(x)).numpy()
    found = compiled[kind].run(x)
    assert found.dtype == np.float32
    # An operand that lands on the edge between two integers may round the other way: one step of 8 bits.
    tolerance = 0.02 if kind == "quantised" else 1e-5
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(found, Eager().compile(nets[kind], threads=1).run(x), atol=tolerance)


@pytest.mark.parametrize("kind", ["static", "dynamic", "cascade", "skipping"])
def test_an_empty_batch(compiled, kind):
    assert compiled[kind].run(images(0)).shape == (0, 10)


def test_kinds_of_compiled_nets(compiled):
    assert isinstance(compiled["static"], OnnxNet)
    assert isinstance(compiled["quantised"], OnnxNet)
    assert isinstance(compiled["dynamic"], SegmentGraphs)
    assert len(compiled["dynamic"].graphs) == 3
    assert len(compiled["cascade"].graphs) == 2


@pytest.mark.parametrize("kind", ["dynamic", "cascade"])
def test_rows_that_left_are_not_sent_on(nets, compiled, kind, monkeypatch):
    x, seen = images(40), []
    step = compiled[kind]._step
    monkeypatch.setattr(
        compiled[kind], "_step", lambda index, carry: seen.append(len(carry["features"])) or step(index, carry)
    )
    compiled[kind].run(x)
    module = nets[kind].module()
    expected, carry = [], {"features": torch.from_numpy(x)}
    with torch.no_grad():
        for segment in module.segments():
            expected.append(len(carry["features"]))
            carry, _, onward = segment(carry)
            carry = {key: value[onward >= 0] for key, value in carry.items()}
    assert seen == [rows for rows in expected if rows]
    assert 40 == seen[0] > seen[1]


def test_int8_layers_really_use_integer_kernels(nets, tmp_path, monkeypatch):
    class Saved(onnxruntime.SessionOptions):
        def __init__(self) -> None:
            super().__init__()
            self.optimized_model_filepath = str(tmp_path / "optimised.onnx")

    graph = export(nets["quantised"].module(), (torch.zeros(2, 1, 28, 28),))
    monkeypatch.setattr(onnxruntime, "SessionOptions", Saved)
    session(graph, 1)
    nodes = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert nodes.count("QLinearConv") == 2
    assert nodes.count("MatMulIntegerToFloat") == 2
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "DequantizeLinear"} & set(nodes)


def test_weights_of_an_int8_graph_are_eight_bit(nets):
    graph = export(nets["static"].module(), (torch.zeros(2, 1, 28, 28),))
    assert b"QuantizeLinear" not in graph
    assert b"QuantizeLinear" in export(nets["quantised"].module(), (torch.zeros(2, 1, 28, 28),))


def test_every_thread_count_is_fixed(compiled, nets):
    graphs = [compiled["static"].graph, *(run.__self__.graph for run in compiled["dynamic"].graphs)]
    for graph in graphs:
        options = graph.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
        assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        assert graph.get_providers() == ["CPUExecutionProvider"]
    two = session(export(nn.Linear(2, 2), (torch.zeros(2, 2),)), 2)
    assert two.get_session_options().intra_op_num_threads == 2


class Gate(MaskedLayer):
    def mask(self, x: Tensor) -> Tensor:
        return x > 0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x)

    run = forward


def test_what_is_simulated_has_its_reason(nets, monkeypatch):
    assert {kind: OnnxRuntime().simulated(net) for kind, net in nets.items()} == dict.fromkeys(KINDS)
    mask = {"stage1.conv.weight": torch.zeros(4, 1, 5, 5, dtype=torch.bool)}
    masked = nets["static"].replace(masks=mask)
    assert "no sparse kernel" in OnnxRuntime().simulated(masked)
    parts = {**nets["cascade"].parts, "large": masked}
    assert "no sparse kernel" in OnnxRuntime().simulated(nets["cascade"].replace(parts=parts))
    monkeypatch.setattr(net_module, "build", lambda builder, options: nn.Sequential(nn.Linear(2, 2), Gate()))
    assert "masked layers" in OnnxRuntime().simulated(Net(builder="gate", input_shape=(2,)))


@pytest.mark.parametrize("kind", ["static", "dynamic", "cascade", "skipping"])
def test_at_every_exit_all_rows_have_the_logits_of_the_static_module(nets, compiled, kind):
    x, module = images(40), nets[kind].module()
    with torch.no_grad():
        every = module.forward_all if hasattr(module, "forward_all") else lambda rows: [module(rows)]
        expected = [one.numpy() for one in every(torch.from_numpy(x))]
    for found in (compiled[kind].exit_logits(x), Eager().compile(nets[kind], threads=1).exit_logits(x)):
        assert len(found) == len(expected)
        for got, wanted in zip(found, expected, strict=True):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_layers_may_share_their_translations_and_each_operator_comes_once(nets):
    found = own_translations(nets["quantised"].module())
    assert [str(operator) for operator in found] == ["joulemark.quantize_dequantize.default"]
    assert own_translations(nets["static"].module()) == {}
