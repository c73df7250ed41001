"""Exported files: others open them, they answer as the net does, and they tell nothing of this machine."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_nets import FORM, NETS, SHAPE
from torch import nn

from joulemark.backends.exporting import NOTES_FILE, to_onnx, to_pt2
from joulemark.nets.header import Format
from joulemark.nets.layers.quantize import in_plain_operators, quantize_dequantize
from joulemark.nets.net import Net
from joulemark.vocabulary import TABLES

STATIC = ("static", "quantised", "edited")
DYNAMIC = ("dynamic", "cascade", "quantised exits")
PLAIN_READER = """
import sys

class NoJoulemark:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"joulemark", "small_nets"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, NoJoulemark())
import numpy, torch

folder = sys.argv[1]
for path in sys.argv[2:]:
    module = torch.export.load(f"{folder}/{path}.pt2").module()
    inputs = numpy.load(f"{folder}/{path}.npz")
    with torch.no_grad():
        outputs = {size: module(torch.from_numpy(inputs[size])).numpy() for size in inputs.files}
    numpy.savez(f"{folder}/{path}-answers.npz", **outputs)
assert not any(name.startswith("joulemark") for name in sys.modules)
"""


def edited() -> Net:
    """A net with layers of ours: a lowered convolution and a fire module."""
    edits = (
        {"edit": "lower_columns", "layer": "stage1.conv", "columns": [0, 3, 5, 8, 21]},
        {"edit": "fire", "layer": "stage2.conv", "squeeze": 2, "expand1x1": 4, "expand3x3": 6},
    )
    blank = NETS["static"].replace(edits=edits, state={})
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return blank.with_state(blank.module())


def net_of(kind: str) -> Net:
    if kind == "edited":
        return edited()
    if kind == "quantised exits":
        form = {**dict.fromkeys(("stage1.conv", "stage2.conv"), FORM), "exits.stage1.1": FORM}
        return NETS["dynamic"].replace(formats=form)
    return NETS[kind]


@pytest.fixture(scope="module")
def nets() -> dict[str, Net]:
    return {kind: net_of(kind) for kind in (*STATIC, *DYNAMIC)}


@pytest.fixture(scope="module")
def onnx_files(nets):
    return {kind: to_onnx(net, {"task": "digits"}) for kind, net in nets.items()}


@pytest.fixture(scope="module")
def pt2_files(nets):
    return {kind: to_pt2(net, {"task": "digits"}) for kind, net in nets.items()}


def rows_of(net: Net, rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, *net.input_shape), dtype=np.float32)


def made(net: Net, rows: np.ndarray) -> np.ndarray:
    module = net.module()
    with torch.no_grad():
        return getattr(module, "run", module)(torch.from_numpy(rows)).numpy()


@pytest.mark.parametrize("kind", STATIC)
def test_an_onnx_file_takes_any_batch(nets, onnx_files, kind):
    session = onnxruntime.InferenceSession(onnx_files[kind], providers=["CPUExecutionProvider"])
    for rows in (1, 3, 64):
        x = rows_of(nets[kind], rows)
        atol = 0.02 if kind == "quantised" else 1e-5  # an operand on the edge of two integers rounds either way
        np.testing.assert_allclose(session.run(["logits"], {"input": x})[0], made(nets[kind], x), atol=atol)


@pytest.mark.parametrize("kind", ["dynamic", "cascade"])
def test_a_dynamic_onnx_file_answers_row_by_row(nets, onnx_files, kind):
    session = onnxruntime.InferenceSession(onnx_files[kind], providers=["CPUExecutionProvider"])
    x = rows_of(nets[kind], 24)
    answers = np.concatenate([session.run(["logits"], {"input": row[None]})[0] for row in x])
    np.testing.assert_allclose(answers, made(nets[kind], x), atol=1e-5)


def test_a_dynamic_onnx_file_computes_the_rest_only_inside_a_branch(onnx_files):
    graph = onnx.load_from_string(onnx_files["dynamic"]).graph
    assert [node.op_type for node in graph.node].count("Conv") == 1
    (branches,) = [node.attribute for node in graph.node if node.op_type == "If"]
    convolutions = [[inner.op_type for inner in branch.g.node].count("Conv") for branch in branches]
    assert sorted(convolutions) == [0, 1]


def test_integers_stay_pairs_in_onnx(onnx_files):
    for kind in ("quantised", "quantised exits"):
        operators = str(onnx.load_from_string(onnx_files[kind]))
        assert operators.count('"QuantizeLinear"') == operators.count('"DequantizeLinear"') > 0


def test_a_pt2_file_runs_where_joulemark_cannot_be_imported(nets, pt2_files, tmp_path):
    wanted = {}
    for kind, net in nets.items():
        name = kind.replace(" ", "-")
        (tmp_path / f"{name}.pt2").write_bytes(pt2_files[kind])
        inputs = {str(rows): rows_of(net, rows) for rows in ((1, 3, 64) if kind in STATIC else (1,))}
        np.savez(tmp_path / f"{name}.npz", **inputs)
        wanted[name] = {size: made(net, x) for size, x in inputs.items()}
    (tmp_path / "reader.py").write_text(PLAIN_READER)
    command = [sys.executable, "-I", str(tmp_path / "reader.py"), str(tmp_path), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name, outputs in wanted.items():
        found = np.load(tmp_path / f"{name}-answers.npz")
        for size, right in outputs.items():
            np.testing.assert_allclose(found[size], right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["dynamic", "cascade"])
def test_a_dynamic_pt2_file_answers_row_by_row(nets, pt2_files, kind):
    module = torch.export.load(io.BytesIO(pt2_files[kind])).module()
    x = rows_of(nets[kind], 24)
    with torch.no_grad():
        answers = torch.cat([module(torch.from_numpy(row[None])) for row in x]).numpy()
    np.testing.assert_allclose(answers, made(nets[kind], x), atol=1e-6)


def test_plain_rounding_is_the_operators_own():
    x = 3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    for scale, zero, axis in (
        (torch.tensor(0.03), torch.tensor(117, dtype=torch.uint8), 0),
        (torch.linspace(0.01, 0.2, 7), torch.zeros(7, dtype=torch.int8), 1),
    ):
        assert torch.equal(in_plain_operators(x, scale, zero, axis), quantize_dequantize(x, scale, zero, axis))


@pytest.mark.parametrize("kind", [*STATIC, *DYNAMIC])
def test_nothing_tells_of_this_machine(onnx_files, pt2_files, kind):
    here = str(Path(__file__).parents[2]).encode()
    for data in (onnx_files[kind], pt2_files[kind]):
        for word in (here, b"stack_trace", b"site-packages", b"small_nets", b"joulemark.nets", sys.prefix.encode()):
            assert word not in data


def test_both_files_say_which_net_they_hold(nets, onnx_files, pt2_files):
    noted = {one.key: one.value for one in onnx.load_from_string(onnx_files["static"]).metadata_props}
    more = {NOTES_FILE: ""}
    torch.export.load(io.BytesIO(pt2_files["static"]), extra_files=more)
    for notes in (noted, json.loads(more[NOTES_FILE])):
        assert notes == {"joulemark_net": nets["static"].hash, "task": "digits"}


def test_the_same_net_gives_the_same_onnx_file(nets, onnx_files):
    assert to_onnx(nets["static"], {"task": "digits"}) == onnx_files["static"]


@torch.library.custom_op("exporting_test::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return twice(x)


class Decides(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("layer", "said"),
    [(Own, "exporting_test.twice.default, an operator that plain PyTorch does not have"), (Decides, "torch.export")],
)
def test_what_plain_pytorch_cannot_run_is_refused_in_one_sentence(monkeypatch, layer, said):
    monkeypatch.setitem(TABLES, "builder", {**TABLES["builder"], "odd": "test_exporting_odd:build"})
    module = type(sys)("test_exporting_odd")
    module.build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10), layer())
    monkeypatch.setitem(sys.modules, "test_exporting_odd", module)
    with pytest.raises(ValueError, match=said) as refused:
        to_pt2(Net.new("odd", SHAPE, seed=0))
    assert "\n" not in str(refused.value)


def test_formats_of_fewer_bits_export_too():
    net = NETS["static"].replace(
        formats={"stage2.conv": Format(weight_bits=4, activation_bits=4, low=-1.0, high=1.0, output=(0.0, 2.0))}
    )
    x = rows_of(net, 8)
    with torch.no_grad():
        found = torch.export.load(io.BytesIO(to_pt2(net))).module()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, made(net, x), atol=1e-6)
