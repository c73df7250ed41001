"""Nets by all their names, and one sentence for what cannot be opened."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from onnx import helper
from own_files import own_file
from small_graphs import relu, write
from torch import nn

from joulemark.energy.model import energy_model
from joulemark.nets.net import Net
from joulemark.profiling import opening
from joulemark.profiling.opening import open_net
from joulemark.profiling.profile import executed, profile_net


@pytest.mark.parametrize(
    ("make", "shape", "sentence"),
    [
        (lambda p: "lenett", None, "unknown net 'lenett': did you mean 'lenet'"),
        (lambda p: "", None, "unknown net ''"),
        (lambda p: str(p / "none.onnx"), None, "there is no file"),
        (lambda p: str(p / "none.safetensors"), None, "there is no file"),
        (lambda p: str(p / "net.pth"), None, "may be a pickle.*export the net to ONNX"),
        (str, None, "is no net that can be opened"),
        (lambda p: relu(p / "a.onnx", ["n", 3, "h", "w"]), None, "leaves its input open.* --shape 3,224,224"),
        (lambda p: relu(p / "a.onnx", ["n", 3, 4, 4]), (3, 5, 5), "does not fit"),
        (lambda p: "small_graphs:build_nothing", None, "returned int, not a torch module"),
        (lambda p: "small_graphs:build_badly", None, "raised KeyError"),
        (lambda p: "small_graphs:build_misshapen", None, "INPUT_SHAPE of .* is 'large': it must be whole numbers"),
        (lambda p: "torch.nn:ReLU", None, "does not state its INPUT_SHAPE: give the shape of one input, as --shape"),
        (lambda p: "no_such_module_at_all:f", None, "cannot import"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(tmp_path, make, shape, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        open_net(make(tmp_path), shape)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("own_registrations", "threads_given_back")
def test_a_task_file_names_its_net_whose_input_is_that_of_its_data(tmp_path):
    path = own_file(tmp_path)
    found = open_net(str(path))
    assert (found.shape, found.parameters) == ((1, 8, 8), 8 * 9 + 8 + 512 * 4 + 4)
    profile = profile_net(found, [energy_model("row-stationary")])
    assert profile.proxies["macs_per_input"] == 64 * 8 * 9 + 512 * 4
    with pytest.raises(ValueError, match=r"on inputs of shape \[3, 8, 8\], raised RuntimeError"):
        open_net(str(path), (3, 8, 8))
    few = own_file(tmp_path, "def validation(): return pictures(2, 9)", name="few.py")  # nothing is judged by them
    assert open_net(str(few)).shape == (1, 8, 8)
    none = own_file(tmp_path, "del validation, train", name="none_.py")
    assert open_net(str(none), (1, 8, 8)).parameters == found.parameters
    with pytest.raises(ValueError, match=r"none_\.py has no validation\(\): write it"):
        open_net(str(none))
    with pytest.raises(ValueError, match=r"there is no task file none\.py"):
        open_net("none.py")


@pytest.mark.parametrize("content", [b"", b"hello, this is no net", bytes(range(256)), b"\x10" + bytes(7) + b"garbage"])
@pytest.mark.parametrize("ending", ["onnx", "safetensors"])
def test_garbage_is_one_sentence(tmp_path, content, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.{ending}"):
        open_net(str(path))


def test_a_net_that_does_not_run_is_one_sentence():
    with pytest.raises(ValueError, match=r"lenet does not run on inputs of shape \(1, 5, 5\): RuntimeError"):
        profile_net(open_net("lenet", (1, 5, 5)), [energy_model("datasheet")])
    with pytest.raises(ValueError, match="over 2 GiB: give a smaller --shape"):
        executed(open_net("torch.nn:ReLU", (99999, 99999)), 1, 1)


def test_a_saved_net_keeps_its_shape(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(Net.new("lenet", (1, 28, 28), seed=0).to_bytes())
    assert open_net(str(path), (1, 28, 28)).shape == (1, 28, 28)
    with pytest.raises(ValueError, match=r"net\.safetensors takes inputs of shape 1,28,28, not 3,32,32"):
        open_net(str(path), (3, 32, 32))


def test_a_file_that_fixes_its_batch_is_run_at_it(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    path = write(tmp_path / "m.onnx", [node], inputs={"x": [4, 3, 5, 5]}, outputs={"y": [4, 3, 5, 5]})
    work, count, _ = executed(open_net(path), None, None)
    assert (work.batch_size, work.inputs, count) == (4, 4, 4)
    with pytest.raises(ValueError, match="fixes its batch at 4: leave --batch out"):
        executed(open_net(path), 2, None)


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for torchvision and timm, which are not installed with the tests."""

    def small(name, **settings):
        assert settings in ({"weights": None}, {"pretrained": False})
        return nn.Conv2d(3, 2, 3)

    weights = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: SimpleNamespace(crop_size=[12])))
    models = ModuleType("torchvision.models")
    models.list_models = lambda: ["tiny"]
    models.get_model = small
    models.get_model_weights = lambda name: weights
    vision, timm = ModuleType("torchvision"), ModuleType("timm")
    timm.is_model = lambda name: name == "mini"
    timm.create_model = small
    for name, module in {"torchvision": vision, "torchvision.models": models, "timm": timm}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(opening, "find_spec", lambda name: name)
    return models


def test_names_of_installed_packages_are_found(packages):
    assert open_net("tiny").shape == (3, 12, 12)
    assert open_net("tiny", (3, 9, 9)).shape == (3, 9, 9)
    assert open_net("mini").shape == (3, 224, 224)
    assert open_net("lenet").name == "lenet"  # ours come first
    with pytest.raises(ValueError, match="torchvision and timm have none of that name either"):
        open_net("neither")


def test_a_broken_package_is_one_sentence(packages):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    packages.list_models = broken
    with pytest.raises(ValueError, match=r"torchvision failed when asked for it: RuntimeError: operator"):
        open_net("tiny")


def test_opening_leaves_torchs_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    open_net("lenet")
    assert torch.rand(1) == expected


def test_lazy_layers_get_their_shapes_first():
    opened = open_net("small_graphs:build_lazy")
    assert opened.parameters == 4 * 3 * 9 + 4 + 3 * 4 * 36 + 3
    profile_net(opened, [energy_model("datasheet")])


def test_weights_without_values_are_one_sentence():
    with pytest.raises(ValueError, match="weights without values"):
        open_net("small_graphs:build_meta")
