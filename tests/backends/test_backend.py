"""Names of backends and the contract."""

from __future__ import annotations

import pytest

from joulemark.backends import backend as backend_module
from joulemark.backends.backend import Backend, backend, backend_names
from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime


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


class Entry:
    """An entry point of an installed package."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value


def test_installed_packages_add_backends_but_do_not_replace_ours(monkeypatch):
    found = [Entry("theirs", "joulemark.backends.eager:Eager"), Entry("eager", "os:system")]
    monkeypatch.setattr(backend_module, "entry_points", lambda group: found if group == "joulemark.backends" else [])
    assert backend_names()["eager"] == "joulemark.backends.eager:Eager"
    assert type(backend("theirs")) is Eager


def test_what_lacks_part_of_the_contract_is_refused(monkeypatch):
    monkeypatch.setattr(backend_module, "entry_points", lambda group: [Entry("half", "builtins:dict")])
    with pytest.raises(ValueError, match="is not a backend: it lacks part of the contract"):
        backend("half")


def test_onnx_runtime_says_what_to_install(monkeypatch):
    monkeypatch.setattr("joulemark.backends.onnx.find_spec", lambda name: None)
    assert OnnxRuntime().unavailable() == "install onnx and onnxscript: the exporter needs them"


def test_variants_by_name():
    made = backend("eager:channels_last, bf16")
    assert (made.name, made.precision) == ("eager:bf16,channels_last", "bf16")
    assert isinstance(made, Backend)
    assert backend("onnxruntime:spin").name == "onnxruntime:spin"
    with pytest.raises(ValueError, match=r"unknown option of backend 'eager': 'bf17': did you mean 'bf16'"):
        backend("eager:bf17")
