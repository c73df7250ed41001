"""profile and agree as a person or a script meets them."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from small_graphs import relu

from joulemark import vocabulary
from joulemark.cli import profiling
from joulemark.cli.app import Refused
from joulemark.energy.model import energy_model_names
from joulemark.nets.net import Net


def test_several_models_in_a_table_and_as_json(joulemark):
    words = ("profile", "lenet", "--model", "row-stationary, datasheet:tesla-t4,microcontroller")
    code, out, err = joulemark(*words)
    assert (code, err) == (0, "")
    for part in ("stage1.conv", "datasheet:tesla-t4", "microcontroller", "DRAM", "431,080", "Modelled, not measured"):
        assert part in out
    code, out, _ = joulemark(*words, "--json")
    found = json.loads(out)
    assert [one["model"] for one in found["models"]] == ["row-stationary", "datasheet:tesla-t4", "microcontroller"]


def test_layers_add_up_and_are_said_to_be_modelled(joulemark, tmp_path):
    report = json.loads(joulemark("profile", "lenet", "--json", "--inputs", "2")[1])
    assert report["proxies"]["parameters"] == 431_080
    assert sum(layer["macs"] for layer in report["layers"]) == 2_293_000
    (model,) = report["models"]
    parts = [sum(layer["joules"].get("row-stationary", {}).values()) for layer in report["layers"]]
    assert sum(parts) == pytest.approx(model["joules"]["value"])
    assert "Modelled, not measured" in joulemark("profile", "lenet", "--inputs", "2")[1]
    (tmp_path / "saved.safetensors").write_bytes(Net.new("lenet", (1, 28, 28), seed=0, width=0.5).to_bytes())
    saved = json.loads(joulemark("profile", "saved.safetensors", "--json", "--inputs", "2")[1])
    assert saved["proxies"]["parameters"] < 431_080


def test_fewer_bits_take_fewer_joules(joulemark):
    joules = []
    for words in ([], ["--bits", "8,8"], ["--bits", "8, 4"]):
        (model,) = json.loads(joulemark("profile", "lenet", "--json", *words)[1])["models"]
        joules.append(model["joules"]["value"])
    assert joules[0] > joules[1] > joules[2] > 0


def test_all_models(joulemark):
    code, out, _ = joulemark("profile", "lenet", "--model", "all", "--json")
    assert code == 0
    assert {one["model"] for one in json.loads(out)["models"]} <= set(energy_model_names())
    assert len(json.loads(out)["models"]) >= 3


def test_side_by_side_and_the_page(joulemark, tmp_path):
    code, out, _ = joulemark("profile", "lenet", "--compare", "convnet", "--html", "p.html")
    assert code == 0
    assert "convnet over lenet" in out
    assert "Figures disagree about convnet" in out
    assert "Wrote p.html." in out
    assert (tmp_path / "p.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    code, out, _ = joulemark("profile", "lenet", "--compare", "convnet", "--json")
    assert [one["net"] for one in json.loads(out)["nets"]] == ["lenet", "convnet"]


def test_what_is_left_out_is_a_warning_or_with_strict_a_refusal(joulemark):
    words = ("profile", "small_graphs:build_attention")
    code, out, err = joulemark(*words, "--json")
    assert code == 0
    assert json.loads(out)["warnings"]
    assert "warning: small_graphs:build_attention: row-stationary does not describe attention" in err
    code, out, err = joulemark(*words, "--strict")
    assert (code, out) == (2, "")
    assert "does not describe attention" in err
    assert joulemark("profile", "lenet", "--strict")[0] == 0
    code, _, err = joulemark("profile", "small_graphs:build_fourier", "--strict")
    assert code == 2
    assert "no rule for aten._fft" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "row"], "did you mean 'row-stationary'"),
        (["--model", ""], "unknown energy model ''. Known: datasheet, "),
        (["--model", "datasheet,datasheet"], "name each model once"),
        (["--model", "datasheet:rtx-2080"], "did you mean 'rtx-2080-ti'"),
        (["--bits", "8"], "give the bits of weights and of activations"),
        (["--bits", "0,8"], "1 to 32, as 8,8"),
        (["--bits", "8,8,8"], "1 to 32, as 8,8"),
        (["--bits", "8,33"], "1 to 32, as 8,8"),
        (["--bits", "8,x"], "1 to 32, as 8,8"),
        (["--shape", "3,x"], "give whole numbers of at least 1"),
        (["--shape", "1,0,28"], "give whole numbers of at least 1"),
        (["--shape", "3,28,28"], "does not run on inputs of shape"),
        (["--batch", "0"], "--batch"),
        (["--inputs", "0"], "--inputs"),
        (["--compare", "lenett"], "did you mean 'lenet'"),
        (["--html", "no/such/folder/p.html"], "cannot write"),
    ],
)
def test_bad_input_is_one_sentence(refused, words, sentence):
    assert sentence in refused("profile", "lenet", *words)


def test_what_is_no_net_is_one_sentence(refused, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0garbage")
    assert "not a saved net" in refused("profile", "bad.safetensors")
    assert "no file nowhere.safetensors" in refused("profile", "nowhere.safetensors")
    assert "did you mean 'lenet'" in refused("profile", "lenett")


def test_an_open_onnx_file_asks_for_its_shape(joulemark, tmp_path):
    path = relu(tmp_path / "a.onnx", ["n", 3, "h", "w"])
    code, _, err = joulemark("profile", path)
    assert code == 2
    assert "give the shape of one input, as --shape 3,224,224" in err
    code, out, _ = joulemark("profile", path, "--shape", "3,8,8", "--json")
    assert code == 0
    (model,) = json.loads(out)["models"]
    assert model["joules"]["value"] is None  # nothing multiplies: unknown, not zero


def test_ranks_in_tables_and_as_json(joulemark):
    code, out, err = joulemark("agree", "lenet", "convnet", "--model", "datasheet")
    assert code == 0
    assert "lenet" in err  # what is being done
    assert "convnet / lenet" in out
    assert "-1.00" in out
    code, out, _ = joulemark("agree", "lenet", "convnet", "--json")
    pairs = {(one["first"], one["second"]): one for one in json.loads(out)["pairs"]}
    assert pairs["macs_per_input", "datasheet"]["tau"] == 1.0
    assert pairs["parameters", "macs_per_input"]["reversed"] == [["convnet", "lenet"]]


@pytest.mark.parametrize("words", [["lenet"], ["lenet", "lenet"], ["lenet", "nothing"]])
def test_what_has_no_order_is_one_sentence(joulemark, words):
    code, out, err = joulemark("agree", *words)
    assert (code, out) == (2, "")
    assert "two nets or more" in err or "unknown net 'nothing'" in err


def test_a_model_that_cannot_be_made_is_left_out_of_all(joulemark, monkeypatch):
    from importlib.metadata import EntryPoint

    broken = EntryPoint("broken", "no_such_module_anywhere:Model", "joulemark.energy_models")
    monkeypatch.setattr(vocabulary, "entry_points", lambda *, group: (broken,))
    code, _, err = joulemark("profile", "lenet", "--model", "all", "--json")
    assert code == 0
    assert "broken is left out" in err
    code, _, err = joulemark("profile", "lenet", "--model", "broken")
    assert code == 2
    assert "the energy model 'broken' of an installed package" in err


def test_eight_columns_fit_a_narrow_terminal(joulemark, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(profiling, "console", lambda: Console(width=40))
    code, out, _ = joulemark("profile", "lenet", "--model", "row-stationary,microcontroller")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 40
    for figure in ("431,080", "1.6 M", "classifier.hidden"):
        assert figure in out


def test_named_models_keep_their_order_and_spaces_do_not_count():
    assert [one.name for one in profiling.named_models(" systolic , row-stationary")] == ["systolic", "row-stationary"]


def test_all_models_are_those_that_can_be_made(capsys):
    made = [one.name for one in profiling.named_models("all")]
    assert made == [name for name in energy_model_names() if name in made]
    assert len(capsys.readouterr().err.splitlines()) == len(energy_model_names()) - len(made)


def test_a_model_of_which_there_would_be_two_is_refused():
    with pytest.raises(Refused, match=r"^--model systolic, systolic: name each model once$"):
        profiling.named_models("systolic, systolic")
