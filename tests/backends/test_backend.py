"""Names of backends and the contract."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch
from small_nets import FORM, NETS, made
from torch import nn

from joulemark import vocabulary
from joulemark.backends.backend import Backend, backend, backend_names, precision_of
from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets import net as net_module
from joulemark.nets.layers.masked import MaskedLayer
from joulemark.nets.net import Net

GROUP = "joulemark.backends"


@pytest.mark.parametrize(("name", "kind"), [("eager", Eager), ("onnxruntime", OnnxRuntime)])
def test_backends_by_name(name, kind):
    made = backend(name)
    assert type(made) is kind
    assert isinstance(made, Backend)
    assert (made.name, made.precision) == (name, "fp32")
    assert made.unavailable() is None


def test_an_unknown_backend_offers_the_nearest():
    with pytest.raises(ValueError, match=r"^unknown backend 'onnxrutime': did you mean 'onnxruntime'\? Known: eager, "):
        backend("onnxrutime")


def test_installed_packages_add_backends_but_do_not_replace_ours(monkeypatch):
    found = [EntryPoint("theirs", "joulemark.backends.eager:Eager", GROUP), EntryPoint("eager", "os:system", GROUP)]
    monkeypatch.setattr(vocabulary, "entry_points", lambda group: found if group == "joulemark.backends" else [])
    assert backend_names()["eager"] == "joulemark.backends.eager:Eager"
    assert type(backend("theirs")) is Eager


def test_what_lacks_part_of_the_contract_is_refused(monkeypatch):
    monkeypatch.setattr(vocabulary, "entry_points", lambda group: [EntryPoint("half", "builtins:dict", GROUP)])
    with pytest.raises(ValueError, match="is not a backend: it lacks part of the contract"):
        backend("half")


def test_onnx_runtime_says_what_to_install(monkeypatch):
    monkeypatch.setattr("joulemark.backends.onnx_exporter.find_spec", lambda name: None)
    assert OnnxRuntime().unavailable() == "install onnx and onnxscript: the exporter needs them"


def test_variants_by_name():
    made = backend("eager:channels_last, bf16")
    assert (made.name, made.precision) == ("eager:bf16,channels_last", "bf16")
    assert isinstance(made, Backend)
    assert backend("onnxruntime:spin").name == "onnxruntime:spin"
    with pytest.raises(ValueError, match=r"unknown option of backend 'eager': 'bf17': did you mean 'bf16'"):
        backend("eager:bf17")


def test_precision_of_nets_with_and_without_integers():
    runtime, eager, bf16 = OnnxRuntime(), Eager(), Eager(["bf16"])
    whole = NETS["quantised"]
    some = whole.replace(formats={"stage2.conv": FORM})
    masked = whole.replace(masks={"stage1.conv.weight": torch.ones(4, 1, 5, 5, dtype=torch.bool)})
    both = NETS["cascade"].replace(parts={"small": whole, "large": whole})
    half = NETS["cascade"].replace(parts={"small": whole, "large": made("static")})
    exits = NETS["dynamic"].replace(formats=whole.formats)
    for kind in ("static", "dynamic", "cascade"):
        assert [precision_of(NETS[kind], one) for one in (runtime, eager, bf16)] == ["fp32", "fp32", "bf16"]
    for net, expected in ((whole, "int8"), (some, "mixed"), (masked, "int8"), (both, "int8"), (half, "mixed"),
                          (exits, "mixed")):  # fmt: skip
        assert [precision_of(net, one) for one in (runtime, eager, bf16)] == [expected, "fp32", "bf16"]


def test_masked_layers_do_not_hide_integers(monkeypatch):
    class Gate(MaskedLayer):
        def forward(self, x):
            return x

    monkeypatch.setattr(net_module, "build", lambda builder, options: nn.Sequential(nn.Linear(2, 2), Gate()))
    net = Net(builder="gate", input_shape=(2,), formats={"0": FORM})
    assert precision_of(net, OnnxRuntime()) == "int8"
    assert precision_of(net, Eager()) == "fp32"
