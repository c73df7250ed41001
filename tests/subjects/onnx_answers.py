"""Small ONNX files, and whether Joulemark's module of a file answers as ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from joulemark.nets.from_onnx import module_from_onnx


def write_nodes(path, nodes, shape, *, opset=18, kind=TensorProto.FLOAT, answers=("y",), **constants):
    """A file of these nodes from ``x`` to ``y``; constants are arrays by name, floats as float32."""
    held = [
        numpy_helper.from_array(np.asarray(array, None if np.asarray(array).dtype.kind != "f" else np.float32), name)
        for name, array in constants.items()
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in answers]
    graph = helper.make_graph(nodes, "made", [helper.make_tensor_value_info("x", kind, shape)], outputs, held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def one_node(path, kind, shape, *, opset=18, settings=None, **constants):
    """A file of one node that reads ``x`` and the constants, in their order; one of ``None`` is left out."""
    given = {name: array for name, array in constants.items() if array is not None}
    inputs = ["x", *(name if name in given else "" for name in constants)]
    node = helper.make_node(kind, inputs, ["y"], name=f"the_{kind}", **(settings or {}))
    return write_nodes(path, [node], shape, opset=opset, **given)


def noise(*shape):
    """Seeded numbers about zero."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def agrees(path, shape, batches=(1, 7)):
    """The module of a file, once it has answered these batches as ONNX Runtime does."""
    module = module_from_onnx(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for rows in batches:
        x = noise(rows, *shape)
        expected = session.run(None, {session.get_inputs()[0].name: x})[0]
        with torch.no_grad():
            answer = module(torch.from_numpy(x))
        np.testing.assert_allclose(answer.numpy(), expected, rtol=1e-4, atol=1e-5 * max(1e-9, np.abs(expected).max()))
    return module
