"""OpenVINO: agrees with the module, pins what it is asked for, really computes in integers, sends nothing anywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from small_nets import NETS

from joulemark.backends.backend import backend
from joulemark.backends.eager import Eager
from joulemark.backends.onnx_exporter import export
from joulemark.backends.openvino import OpenVino, OpenVinoNet
from joulemark.backends.segment_graphs import SegmentGraphs

KINDS = ("static", "quantised", "dynamic", "cascade", "skipping")
STATIC = ("static", "quantised")

pytestmark = pytest.mark.usefixtures("threads_given_back")


@pytest.fixture(scope="module")
def compiled():
    return {kind: OpenVino().compile(NETS[kind], threads=1) for kind in KINDS}


def images(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 1, 28, 28), dtype=np.float32)


def expected(kind: str, x: np.ndarray) -> np.ndarray:
    module = NETS[kind].module()
    with torch.no_grad():
        return getattr(module, "run", module)(torch.from_numpy(x)).numpy()


# An operand that lands on the edge between two integers may round the other way: one step of 8 bits.
TOLERANCE = {"quantised": 0.02}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 7, 64])
def test_agrees_with_the_module(compiled, kind, rows):
    x = images(rows)
    found = compiled[kind].run(x)
    assert found.dtype == np.float32
    assert found.shape == (rows, 10)
    if rows:
        np.testing.assert_allclose(found, expected(kind, x), atol=TOLERANCE.get(kind, 1e-5))


@pytest.mark.parametrize("kind", ["static", "dynamic", "cascade", "skipping"])
def test_at_every_exit_all_rows_have_the_logits_of_the_static_module(compiled, kind):
    x = images(40)
    right = Eager().compile(NETS[kind], threads=1).exit_logits(x)
    found = compiled[kind].exit_logits(x)
    assert len(found) == len(right)
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_kinds_of_compiled_nets(compiled):
    assert all(isinstance(compiled[kind], OpenVinoNet) for kind in STATIC)
    assert all(isinstance(compiled[kind], SegmentGraphs) for kind in KINDS if kind not in STATIC)


def test_an_answer_outlives_the_next_run(compiled):
    first = compiled["static"].run(images(3))
    kept = first.copy()
    compiled["static"].run(images(4)[:3])
    np.testing.assert_array_equal(first, kept)


def test_a_view_of_other_strides_and_an_array_that_may_not_be_written_are_read(compiled):
    x = images(6)
    right = compiled["static"].run(x)
    odd = np.asfortranarray(x)
    np.testing.assert_allclose(compiled["static"].run(odd), right, atol=1e-6)
    np.testing.assert_allclose(compiled["static"].run(np.repeat(x, 2, axis=0)[::2]), right, atol=1e-6)
    x.flags.writeable = False
    np.testing.assert_allclose(compiled["static"].run(x), right, atol=1e-6)


@pytest.mark.parametrize("kind", STATIC)
def test_static_shapes_give_the_same_for_every_batch_size_and_compile_each_once(kind):
    net = OpenVino(("static",)).compile(NETS[kind], threads=1)
    assert net.compiled == {}
    for rows in (1, 7, 0, 7):
        x = images(rows)
        found = net.run(x)
        assert found.shape == (rows, 10)
        if rows:
            np.testing.assert_allclose(found, expected(kind, x), atol=TOLERANCE.get(kind, 1e-5))
    assert sorted(net.compiled) == [1, 7]
    shapes = {rows: net.compiled[rows].inputs[0].partial_shape[0].get_length() for rows in (1, 7)}
    assert shapes == {1: 1, 7: 7}
    assert OpenVino().compile(NETS[kind], threads=1).compiled[None].inputs[0].partial_shape[0].is_dynamic


def test_static_shapes_refuse_rows_that_leave():
    with pytest.raises(ValueError, match=r"^static shapes cannot follow rows that leave"):
        OpenVino(("static",)).compile(NETS["dynamic"], threads=1)


@pytest.mark.parametrize("options", [(), ("static",)])
def test_a_batch_that_a_graph_of_one_size_does_not_have_is_refused(options):
    graph = export(NETS["static"].module(), (torch.zeros(2, 1, 28, 28),), free_rows=False)
    net = OpenVino(options).ready(graph, threads=1)
    assert net.run(images(2)).shape == (2, 10)
    with pytest.raises(ValueError, match="batch") as caught:
        net.run(images(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("options", "precision"), [((), "f32"), (("bf16",), "bf16")])
@pytest.mark.parametrize("threads", [1, 2])
def test_precision_threads_and_streams_are_those_that_were_asked_for(options, precision, threads):
    net = OpenVino(options).compile(NETS["static"], threads=threads).compiled[None]
    assert net.get_property("INFERENCE_PRECISION_HINT").get_type_name() == precision
    assert net.get_property("INFERENCE_NUM_THREADS") == threads
    assert net.get_property("NUM_STREAMS") == 1
    assert net.get_property("ENABLE_CPU_PINNING") is False


def test_threads_that_the_machine_does_not_have_are_refused():
    with pytest.raises(
        ValueError, match=r"^OpenVINO was asked for INFERENCE_NUM_THREADS = 4096 and would run with \d+$"
    ):
        OpenVino().compile(NETS["static"], threads=4096)


PRODUCTS = ("Convolution", "FullyConnected", "MatMul")


def products(net: OpenVinoNet) -> list[str]:
    return [layer.precision for layer in net.executed() if layer.kind in PRODUCTS]


def test_layers_run_in_the_type_that_was_asked_for(compiled):
    assert products(compiled["static"]) == ["f32"] * 4
    assert products(OpenVino(("bf16",)).compile(NETS["static"], threads=1)) == ["bf16"] * 4
    assert set(products(compiled["quantised"])) <= {"u8", "i8"}
    assert len(products(compiled["quantised"])) == 4


def test_what_was_executed_names_the_nodes_that_each_layer_stands_for(compiled):
    layers = compiled["static"].executed()
    convolution = next(layer for layer in layers if layer.kind == "Convolution")
    assert any("conv" in name for name in convolution.stands_for)
    assert {"Const", "Input", "Output"}.isdisjoint(layer.kind for layer in layers)


def test_bfloat16_changes_numbers_and_float32_does_not():
    x = images(16)
    exact, rough = (OpenVino(options).compile(NETS["static"], threads=1).run(x) for options in ((), ("bf16",)))
    right = expected("static", x)
    size = np.sqrt(np.mean(right**2))
    assert np.sqrt(np.mean((exact - right) ** 2)) < 1e-5 * size
    assert 1e-4 * size < np.sqrt(np.mean((rough - right) ** 2)) < 2e-2 * size


def test_what_layers_receive_is_as_made():
    x = images(5)
    net = NETS["static"]
    paths = [path for path, layer in net.module().named_modules() if getattr(layer, "weight", None) is not None]
    found = OpenVino().received(net, paths, x)
    assert set(found) == set(paths)
    np.testing.assert_allclose(found[paths[0]], x, atol=1e-6)


def test_an_operator_that_the_runtime_lacks_is_named():
    node = helper.make_node("NobodyKnowsThis", ["x"], ["y"], domain="org.example")
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 3]) for name in "xy"]
    graph = helper.make_graph([node], "odd", value[:1], value[1:])
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("org.example", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=10)
    with pytest.raises(ValueError, match=r"^OpenVINO cannot read this net: .*NobodyKnowsThis") as caught:
        OpenVino().ready(model.SerializeToString(), threads=1)
    assert "\n" not in str(caught.value)


def test_what_is_no_graph_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"^OpenVINO cannot read this net: ") as caught:
        OpenVino().ready(b"no graph", threads=1)
    assert "\n" not in str(caught.value)


def test_names_titles_and_options():
    one = backend("openvino:static,bf16")
    assert (one.name, one.title, one.precision) == ("openvino:bf16,static", "OpenVINO, bf16, static shapes", "bf16")
    assert (OpenVino().name, OpenVino().title, OpenVino().precision) == ("openvino", "OpenVINO", "fp32")
    with pytest.raises(ValueError, match="did you mean 'static'"):
        backend("openvino:statik")


def test_without_a_wheel_it_says_where_there_are_some(monkeypatch):
    monkeypatch.setattr("joulemark.backends.openvino.find_spec", lambda name: None)
    assert OpenVino().unavailable().startswith("install openvino, where it has a wheel: Linux (x86-64, Arm)")
    monkeypatch.undo()
    assert OpenVino().unavailable() is None


def test_what_is_simulated_has_its_reason():
    assert {kind: OpenVino().simulated(NETS[kind]) for kind in KINDS} == dict.fromkeys(KINDS)
    mask = {"stage1.conv.weight": torch.zeros(4, 1, 5, 5, dtype=torch.bool)}
    assert "no sparse kernel in OpenVINO" in OpenVino().simulated(NETS["static"].replace(masks=mask))


def test_no_telemetry_is_loaded_and_the_converter_is_not_barred_for_others():
    code = (
        "import sys\n"
        "from joulemark.backends.openvino import OpenVino, runtime\n"
        "runtime().Core()\n"
        "loaded = [name for name in sys.modules if 'telemetry' in name or name.startswith('openvino.tools')]\n"
        "assert loaded == [], loaded\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
