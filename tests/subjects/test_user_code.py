"""A user's function makes a module, and whatever else it does is one sentence."""

from __future__ import annotations

import sys

import pytest
import torch
from small_graphs import SHAPE, build
from torch import nn

from joulemark.subjects.user_code import build_module, input_shape, output_of


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module of the user's into the working folder, under a name that is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    names = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_the_module_comes_in_evaluation_mode(write):
    write("mine_built", "from torch import nn\ndef make():\n    return nn.Sequential(nn.Dropout(), nn.Linear(2, 3))\n")
    module = build_module("mine_built:make")
    assert [type(one) for one in module] == [nn.Dropout, nn.Linear]
    assert not any(one.training for one in module.modules())


def test_the_working_folder_is_searched_once(write, tmp_path):
    write("mine_here", "from torch import nn\nmake = nn.ReLU\n")
    assert isinstance(build_module("mine_here:make"), nn.ReLU)
    build_module("mine_here:make")
    assert sys.path.count(str(tmp_path)) == 1


def test_a_module_of_a_package_is_found_by_its_dots():
    assert isinstance(build_module("torch.nn:Identity"), nn.Identity)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("small_graphs:none", "^cannot import small_graphs:none: AttributeError: .*'none'"),
        ("no_such_module_at_all:f", "^cannot import no_such_module_at_all:f: ModuleNotFoundError: "),
        ("..:f", "^cannot import ..:f: TypeError: "),
        (":f", "^cannot import :f: ValueError: "),
        ("small_graphs:build_nothing", r"^small_graphs:build_nothing\(\) returned int, not a torch module$"),
        ("small_graphs:build_badly", r"^small_graphs:build_badly\(\) raised KeyError: 'no weights'$"),
        ("small_graphs:SHAPE", r"^small_graphs:SHAPE\(\) raised TypeError: "),
        ("sys:exit", r"^sys:exit\(\) raised SystemExit: "),
    ],
)
def test_what_makes_no_module_is_one_sentence(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_module(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("raise SystemExit('gone')", "SystemExit: gone"),
        ("x = (", "SyntaxError: "),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_sentence(write, text, reason):
    write("mine_broken", text)
    with pytest.raises(ValueError, match=f"^cannot import mine_broken:make: {reason}"):
        build_module("mine_broken:make")


def test_a_person_may_stop_it(write):
    write("mine_stopped", "def make():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        build_module("mine_stopped:make")


def test_the_shape_that_is_given_goes_before_the_one_that_is_stated():
    module = build()
    assert input_shape(module, "mine:build", None) == SHAPE
    assert input_shape(module, "mine:build", (3, 8, 9)) == (3, 8, 9)
    module.INPUT_SHAPE = [3, 4]
    assert input_shape(module, "mine:build", None) == (3, 4)


def test_a_shape_is_whole_numbers_whatever_they_are_held_in():
    module = nn.ReLU()
    module.INPUT_SHAPE = torch.zeros(3, 5).shape
    found = input_shape(module, "mine:build", None)
    assert found == (3, 5)
    assert type(found) is tuple


@pytest.mark.parametrize("stated", ["large", 5, ("a", 3), (None, 3), True])
def test_a_stated_shape_that_is_none_is_refused(stated):
    module = nn.ReLU()
    module.INPUT_SHAPE = stated
    with pytest.raises(
        ValueError, match=r"^INPUT_SHAPE of mine:build is .*: it must be whole numbers, as \(3, 224, 224\)$"
    ):
        input_shape(module, "mine:build", None)


def test_without_any_shape_it_is_asked_for():
    with pytest.raises(ValueError, match=r"^mine:build does not state its INPUT_SHAPE: .* --shape 3,224,224$"):
        input_shape(nn.ReLU(), "mine:build", None)


def test_the_output_is_the_modules_without_gradients():
    module, x = build(), torch.ones(2, *SHAPE)
    y = output_of(module, "mine:build", x)
    torch.testing.assert_close(y, module(x).detach())
    assert not y.requires_grad
    assert y.is_inference()


@pytest.mark.parametrize("shape", [(3, 50, 50), (4, 12, 12)])
def test_a_module_that_does_not_run_is_one_sentence_with_the_shape_of_a_row(shape):
    with pytest.raises(
        ValueError, match=r"^mine:build does not run on inputs of shape \(\d, \d+, \d+\): RuntimeError: "
    ) as e:
        output_of(build(), "mine:build", torch.zeros(2, *shape))
    assert str(shape) in str(e.value)


@pytest.mark.parametrize("stated", [(3.7, 8), "333", (-3, 4), (), (0, 4)])
def test_a_stated_shape_of_no_whole_numbers_is_refused(stated):
    module = nn.ReLU()
    module.INPUT_SHAPE = stated
    with pytest.raises(ValueError, match="it must be whole numbers"):
        input_shape(module, "mine:build", None)
