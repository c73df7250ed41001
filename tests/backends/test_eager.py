"""Eager PyTorch: agrees with the module, pins its threads, says what it only simulates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import NETS
from torch import nn

from joulemark.backends.eager import Eager
from joulemark.nets.layers.masked import MaskedLayer
from joulemark.nets.segments import Segments

KINDS = ("static", "quantised", "dynamic", "cascade", "skipping")


@pytest.fixture(scope="module")
def nets():
    return NETS


@pytest.fixture(autouse=True)
def settings_given_back():
    """What a test sets for the whole process is taken back."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_agrees_with_the_module(nets, kind, rows):
    x = np.random.default_rng(rows).standard_normal((rows, 1, 28, 28), dtype=np.float32)
    module = nets[kind].module()
    with torch.no_grad():
        expected = getattr(module, "run", module)(torch.from_numpy(x)).numpy()
    found = Eager().compile(nets[kind], threads=1).run(x)
    assert found.dtype == np.float32
    assert found.shape == (rows, 10)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_threads_are_pinned_at_every_run(nets):
    x = np.zeros((1, 1, 28, 28), np.float32)
    one, two = (Eager().compile(nets["static"], threads=n) for n in (1, 2))
    for compiled, threads in ((two, 2), (one, 1), (two, 2)):
        compiled.run(x)
        assert torch.get_num_threads() == threads


def test_products_are_fp32(nets):
    torch.set_float32_matmul_precision("medium")
    Eager().compile(nets["static"], threads=1)
    assert torch.get_float32_matmul_precision() == "highest"


def test_what_is_simulated_has_its_reason(nets):
    said = {kind: Eager().simulated(net) for kind, net in nets.items()}
    assert said["static"] is said["dynamic"] is said["cascade"] is said["skipping"] is None
    assert "no int8 kernel" in said["quantised"]
    mask = {"stage1.conv.weight": torch.zeros(4, 1, 5, 5, dtype=torch.bool)}
    assert "no sparse kernel" in Eager().simulated(nets["static"].replace(masks=mask))
    parts = {**nets["cascade"].parts, "large": nets["quantised"]}
    assert "no int8 kernel" in Eager().simulated(nets["cascade"].replace(parts=parts))


@pytest.mark.parametrize("options", [("channels_last",), ("bf16",), ("bf16", "channels_last")])
def test_variants_agree_within_their_precision(nets, options):
    x = np.random.default_rng(0).standard_normal((5, 1, 28, 28), dtype=np.float32)
    expected = Eager().compile(nets["static"], threads=1).run(x)
    made = Eager(options)
    found = made.compile(nets["static"], threads=1).run(x)
    assert found.dtype == np.float32
    assert made.precision == ("bf16" if "bf16" in options else "fp32")
    close = 0.05 if "bf16" in options else 1e-5
    np.testing.assert_allclose(found, expected, atol=close * np.abs(expected).max())
    if "bf16" in options:
        assert not np.array_equal(found, expected)


def test_compiling_needs_a_compiler_and_a_static_net(nets, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "there is no C++ compiler" in Eager(["compile"]).unavailable()
    assert Eager(["bf16"]).unavailable() is None
    with pytest.raises(ValueError, match="this net is dynamic"):
        Eager(["compile"]).compile(nets["dynamic"], threads=1)


def test_a_compiled_net_finds_its_segments_once(nets, monkeypatch):
    compiled = Eager().compile(nets["dynamic"], threads=1)
    x = np.random.default_rng(0).standard_normal((9, 1, 28, 28), dtype=np.float32)
    expected = compiled.module.run(torch.from_numpy(x)).detach().numpy()

    def never(self):
        raise AssertionError("built again")

    monkeypatch.setattr(Segments, "segments", never)
    np.testing.assert_array_equal(compiled.run(x), expected)


def test_masked_layers_are_gathered():
    class Gate(MaskedLayer):
        def forward(self, x):
            return x

        def run(self, x):
            return x + 1

    module = nn.Sequential(nn.Flatten(), Gate())
    assert Eager().ready(module, 1).run(np.zeros((1, 2), np.float32)).tolist() == [[1.0, 1.0]]
    assert Eager().ready(nn.Flatten(), 1).run(np.zeros((1, 2), np.float32)).tolist() == [[0.0, 0.0]]
