"""A net written from Python is read by its runtime and computes the same; nothing is written that does not."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from joulemark.nets.net import Net
from joulemark.notebook.exporting import write_net

ROWS = np.random.default_rng(0).standard_normal((5, 1, 28, 28)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    return Net.new("lenet", (1, 28, 28), seed=0)


def test_both_formats_answer_as_the_net(net, tmp_path):
    right = net.module()(torch.from_numpy(ROWS)).detach().numpy()
    file = onnxruntime.InferenceSession(write_net(net, tmp_path / "net.onnx", ROWS))
    np.testing.assert_allclose(file.run(None, {"input": ROWS})[0], right, atol=1e-5)
    module = torch.export.load(write_net(net, tmp_path / "net.pt2", ROWS)).module()
    np.testing.assert_allclose(module(torch.from_numpy(ROWS)).detach().numpy(), right, atol=1e-5)


def test_another_ending_is_refused_and_writes_nothing(net, tmp_path):
    with pytest.raises(ValueError, match=r"neither \.onnx nor \.pt2"):
        write_net(net, tmp_path / "net.pth", ROWS)
    assert not list(tmp_path.iterdir())
