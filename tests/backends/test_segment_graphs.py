"""Segments as graphs, on a stand-in of a runtime: what each is given, and that nobody who left is sent on."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from small_nets import NETS

from joulemark.backends.eager import Eager
from joulemark.backends.segment_graphs import SegmentGraphs, take_rows


def test_any_runtime_of_graphs_answers_as_the_net_and_sends_on_only_who_stays():
    net, seen = NETS["dynamic"], []

    def opened(data):
        number, reference = len(seen), ReferenceEvaluator(onnx.load_from_string(data))
        seen.append(0)

        def run(inputs):
            seen[number] += len(inputs[0])
            return reference.run(None, dict(zip(reference.input_names, inputs, strict=True)))

        return run

    graphs = SegmentGraphs(net.module(), net.input_shape, opened)
    images = np.random.default_rng(0).standard_normal((12, 1, 28, 28), dtype=np.float32)
    np.testing.assert_allclose(graphs.run(images), Eager().compile(net, threads=1).run(images), atol=1e-4)
    assert seen[0] == 12
    assert seen == sorted(seen, reverse=True)
    assert len(graphs.exit_logits(images)) == sum(graphs.answers)


def test_rows_are_taken_in_the_order_given():
    np.testing.assert_array_equal(take_rows(np.arange(5), np.array([3, 1])), [3, 1])
