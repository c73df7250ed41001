"""ONNX files as graphs, and each file that cannot be read in one sentence."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_answers import agrees, noise, one_node, write_nodes

from joulemark.nets.onnx_reading import read_graph


def refusal(path) -> str:
    with pytest.raises(ValueError) as error:
        read_graph(path)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_what_depends_on_constants_alone_is_computed(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(noise(3, 2))),
        helper.make_node("Transpose", ["c"], ["t"]),
        helper.make_node("Mul", ["w", "t"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    file = write_nodes(tmp_path / "c.onnx", nodes, ["n", 2], w=noise(2, 3))
    graph = read_graph(file)
    assert [node.kind for node in graph.nodes] == ["MatMul"]
    np.testing.assert_allclose(graph.constants["v"], noise(2, 3) * noise(3, 2).T)
    assert graph.shape == (None, 2)
    agrees(file, (2,))


def test_functions_of_the_file_are_opened(tmp_path):
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["a", "r"], ["b"])]
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Twice", ["a"], ["b"], body, opset[:1])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="mine")], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=opset, ir_version=9), tmp_path / "f.onnx")
    assert [node.kind for node in read_graph(tmp_path / "f.onnx").nodes] == ["Relu", "Add"]
    agrees(tmp_path / "f.onnx", (3,))


def test_no_file_and_no_onnx(tmp_path):
    assert refusal(tmp_path / "none.onnx") == f"there is no file {tmp_path / 'none.onnx'}"
    (tmp_path / "text.onnx").write_bytes(b"not a net at all")
    assert refusal(tmp_path / "text.onnx").startswith("text.onnx is not an ONNX file that can be read")
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert refusal(tmp_path / "empty.onnx").startswith("empty.onnx is not an ONNX file that can be read")
    whole = one_node(tmp_path / "w.onnx", "Gemm", ["n", 64], w=noise(64, 64)).read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    assert refusal(tmp_path / "half.onnx").startswith("half.onnx is not an ONNX file that can be read")


def test_weights_in_a_file_that_is_missing(tmp_path):
    file = one_node(tmp_path / "w.onnx", "Gemm", ["n", 64], w=noise(64, 64))
    onnx.save(onnx.load(file), tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert len(read_graph(tmp_path / "e.onnx").nodes) == 1
    (tmp_path / "w.bin").unlink()
    text = refusal(tmp_path / "e.onnx")
    assert text.startswith("e.onnx is not an ONNX file that can be read") and "w.bin" in text


def test_unread_operators(tmp_path):
    node = helper.make_node("NonMaxSuppression", ["x", "x"], ["y"], name="nms")
    assert refusal(write_nodes(tmp_path / "net.onnx", [node], ["n", 3, 3])) == (
        "net.onnx uses NonMaxSuppression (node nms), which Joulemark cannot read: build the net in torch and load its "
        "weights"
    )
    node = helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft", name="c")
    file = write_nodes(tmp_path / "ms.onnx", [node], ["n", 3, 5, 5], w=noise(3, 3, 3, 3))
    assert refusal(file).startswith("ms.onnx uses com.microsoft.FusedConv (node c), which Joulemark cannot read")


def test_quantised_graphs(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], name="first"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    file = write_nodes(tmp_path / "q.onnx", nodes, ["n", 3], s=np.float32(0.1))
    assert refusal(file) == (
        "q.onnx is quantised already (QuantizeLinear, node first): give the float32 net that it was made from"
    )


def test_kinds_of_numbers(tmp_path):
    relu = helper.make_node("Relu", ["x"], ["y"])
    file = write_nodes(tmp_path / "u.onnx", [relu], ["n", 3], kind=TensorProto.UINT8)
    assert refusal(file) == "u.onnx takes uint8: give a net that takes float32"
    file = one_node(tmp_path / "h.onnx", "Add", ["n", 3], w=noise(3))
    model = onnx.load(file)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(noise(3).astype(np.float16), "w"))
    onnx.save(model, file)
    assert refusal(file) == "h.onnx holds w in float16: export the net in float32"


def test_inputs_outputs_and_old_files(tmp_path):
    file = one_node(tmp_path / "two.onnx", "Relu", ["n", 3])
    model = onnx.load(file)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]))
    onnx.save(model, file)
    assert refusal(file) == "two.onnx has 2 inputs (x, z): give a net of exactly one"
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    file = write_nodes(tmp_path / "outs.onnx", nodes, ["n", 3], answers=("y", "z"))
    assert refusal(file) == "outs.onnx has 2 outputs (y, z): give a net of exactly one"
    file = one_node(tmp_path / "old.onnx", "Relu", ["n", 3], opset=6)
    assert refusal(file) == "old.onnx is of ONNX opset 6: export it again, with opset 7 or newer"
    file = one_node(tmp_path / "flat.onnx", "Relu", ["n"])
    assert refusal(file) == "the input of flat.onnx has 1 axes: the first must be the rows of a batch"
