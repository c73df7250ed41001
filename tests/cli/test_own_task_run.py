"""A user's task from its file to its board and page: made once, read without the file, told what is missing."""

from __future__ import annotations

import json
import shutil
import sys

import msgspec
import pytest
import torch
from own_files import own_file

from joulemark import vocabulary
from joulemark.data.own import own_data
from joulemark.nets import own_nets
from joulemark.nets.net import Net
from joulemark.record import Attempt, Failure, Made, Trial


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        yield patch


@pytest.fixture
def forget(patched):
    """Forgets what task files registered: as in another process."""

    def forget() -> None:
        for module, name in (
            (vocabulary, "_registered"), (own_nets, "_given"), (own_nets, "_sources"), (own_data, "_held"),
        ):  # fmt: skip
            patched.setattr(module, name, {})

    forget()
    return forget


@pytest.fixture
def another(joulemark, forget):
    """The command, as in another process."""

    def run(*words):
        forget()
        return joulemark(*words)

    return run


def outcome(said: str) -> dict:
    return json.loads(said.splitlines()[-1])


def records(folder, kind, record_type):
    found = [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"runs/*/*/{kind}/*.json"))]
    return [msgspec.convert({k: v for k, v in one.items() if k != "seal"}, record_type) for one in found]


RUN = ("run", "mine.py", "-t", "int8", "-t", "small-dense", "--limit", "60", "--json")


def test_a_task_file_is_run_once_and_read_without_it(another, forget, tmp_path):
    path = own_file(tmp_path)
    code, out, err = another(*RUN)
    assert code == 0, err
    assert outcome(out)["made"] == 6
    assert outcome(out)["failed"] == []

    given = own_nets.given_net("user/mine").state_dict()
    made = {one.technique: one for one in records(tmp_path, "made", Made)}
    assert made.keys() == {"baseline", "int8", "small-dense"}
    assert made["baseline"].making.image_passes == 0
    assert made["small-dense"].making.image_passes == 90  # an epoch
    (saved,) = tmp_path.glob(f"runs/*/*/nets/{made['baseline'].net}.safetensors")
    state = Net.from_bytes(saved.read_bytes()).state
    assert state.keys() == given.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in given.items())

    code, out, err = another(*RUN)
    assert (code, outcome(out)["made"], outcome(out)["kept"]) == (0, 0, 6), err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(path, elsewhere)
    code, out, err = another("board", "mine.py", "--json")
    assert code == 0, err
    rows = {row["technique"] for view in json.loads(out) for row in view["rows"]}
    assert {"baseline", "int8", "small-dense"} <= rows
    code, out, err = another("report", "mine.py", "-o", "page.html")
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    assert "small-dense" in page
    assert "The baseline is the net that was given" in page
    assert vocabulary.registrations() == ()  # nothing was imported to draw them

    shutil.copy(saved, tmp_path / "net.safetensors")
    code, out, err = another("profile", "net.safetensors")
    assert (code, out) == (2, "")
    assert "was built by the task file mine.py" in err
    assert "add --task mine.py" in err
    assert err.count("\n") == 1

    own_file(tmp_path, "unused = 1\n")  # the code changed, and the net did not
    code, out, err = another(*RUN)
    assert code == 0, err
    assert outcome(out)["failed"] == []
    assert {one.technique for one in records(tmp_path, "attempts", Attempt)} == {"baseline", "int8", "small-dense"}


def test_without_train_what_trains_has_a_row_with_the_reason(another, tmp_path):
    shared = "made = test\ndef test():\n    x, y = made()\n    x[:3] = validation()[0][:3]\n    return x, y\n"
    own_file(tmp_path, shared, without="train")
    code, out, err = another(*RUN)
    assert code == 0, err
    assert [one.technique for one in records(tmp_path, "made", Made) if one.technique != "baseline"] == ["int8"]
    (declined,) = records(tmp_path, "failures", Failure)
    assert declined.technique == "small-dense"
    assert declined.reason == "it trains, and the task gives no training rows: write train() in the task file"
    code, out, err = another("board", "mine.py")
    assert code == 0, err
    assert "1 % of the rows of test() are in validation() as well" in " ".join(out.split())
    views = [view for view in json.loads(another("board", "mine.py", "--json")[1]) if view["rows"]]
    declined = [row for row in views[0]["ineligible"] if row["technique"] == "small-dense"]
    assert "write train() in the task file" in json.dumps(declined)


def test_without_labels_a_run_counts_disagreement(another, tmp_path):
    own_file(
        tmp_path,
        "".join(f"{name}_ = {name}\ndef {name}(): return {name}_()[0]\n" for name in ("train", "validation", "test")),
    )
    code, _, err = another("run", "mine.py", "-t", "int8", "--limit", "60", "--json")
    assert code == 0, err
    trials = records(tmp_path, "trials", Trial)
    scores = [score for one in trials for score in one.scores.values()]
    assert {(score.metric, score.split, score.rows) for score in scores} == {("agreement", "test", 300)}
    assert {one.technique for one in trials} == {"baseline", "int8"}
    assert [s.value for one in trials if one.technique == "baseline" for s in one.scores.values()] == [1.0]


BROKEN = {
    "augment": "def augment(batch, generator): return batch if len(batch) == 8 else {}['k']\n",
    "loss": "def loss(outputs, labels): return outputs.sum() if len(labels) == 8 else 1.5\n",
}
"""They are wrong of more rows than are tried beforehand."""


@pytest.mark.parametrize(
    ("name", "reason"),
    [("augment", "augment(batch, generator) raised KeyError: 'k'"), ("loss", "loss(outputs, labels) gave a float")],
)
def test_an_augment_or_loss_that_is_wrong_is_the_reason_of_the_row(another, tmp_path, name, reason):
    own_file(tmp_path, BROKEN[name])
    code, out, err = another("run", "mine.py", "-t", "small-dense", "--limit", "60", "--json")
    assert code == 1
    assert reason in outcome(out)["failed"][0]
    assert "Traceback" not in err
    assert [reason in one.reason for one in records(tmp_path, "failures", Failure)] == [True]
