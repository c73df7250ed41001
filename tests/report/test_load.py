"""Results read back from a store, on which machine, and where else a technique was run."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from stored import fill
from synthetic import FAST

from joulemark.record import Ratio
from joulemark.report.board import build_board
from joulemark.report.comparison import compare
from joulemark.report.load import Place, load_all, load_results, place_of, places_with, why_elsewhere
from joulemark.store import Store

SUITE = SimpleNamespace(
    name="quick",
    techniques=("optimal-brain-damage",),
    task=SimpleNamespace(name="toy", key="0123456789abcdef", title="Toy digits", own=None, limit_images=None),
    limits_points=(2.0,),
    models=("row-stationary",),
    backends=("onnxruntime", "eager"),
    batch_sizes=(1, 64),
)


def test_what_was_stored_makes_the_same_boards(tmp_path):
    stored = msgspec.structs.replace(fill(tmp_path), damaged=[])
    known = load_results(SUITE, tmp_path, "toy-cpu")
    for board in stored.boards:
        assert build_board(known, board, 2.0) == build_board(stored, board, 2.0)
    found, unread = load_all(SUITE, tmp_path)
    assert ([one.hardware_class for one in found], unread) == (["toy-cpu"], [])


def test_results_of_one_machine_are_taken_and_of_several_asked_about(tmp_path):
    with pytest.raises(ValueError, match="run `joulemark run quick`"):
        load_results(SUITE, tmp_path, None)
    fill(tmp_path)
    assert place_of(SUITE, tmp_path, None) == Place("toy-cpu", "toy-01234567")
    fill(tmp_path, hardware="other-cpu")
    with pytest.raises(ValueError, match="add --hardware and one of other-cpu, toy-cpu"):
        place_of(SUITE, tmp_path, None)
    with pytest.raises(ValueError, match="did you mean 'toy-cpu'"):
        place_of(SUITE, tmp_path, "toy-cp")
    assert len(load_all(SUITE, tmp_path)[0]) == 2


def test_a_suite_without_a_study_is_said(tmp_path):
    fill(tmp_path, suite="another")
    with pytest.raises(ValueError, match="no run of suite 'quick' got past its baselines"):
        load_results(SUITE, tmp_path, None)
    assert load_all(SUITE, tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "truncated: `joulemark run quick` makes it again"),
        ("[" * 200_000, "maximum recursion depth"),
        ('{"schema": 3, "key": "quick"}', "it has schema 3, this version reads 2: update Joulemark$"),
    ],
    ids=["half", "nested", "newer"],
)
def test_a_study_that_cannot_be_read_is_named_with_the_reason(tmp_path, text, why):
    fill(tmp_path)
    place = tmp_path / "toy-cpu/toy-01234567/studies/quick.json"
    place.write_text(text)
    with pytest.raises(ValueError, match=f"studies/quick.json could not be read: .*{why}"):
        load_results(SUITE, tmp_path, None)
    assert [path for path, _ in load_all(SUITE, tmp_path)[1]] == [str(place)]


def odd_score(**changes):
    def changed(trial):
        score = msgspec.structs.replace(trial.scores["onnxruntime"], **changes)
        return msgspec.structs.replace(trial, scores={**trial.scores, "onnxruntime": score})

    return changed


BITS = {"predicted": None, "truth": None}


def odd_timing(**changes):
    def changed(trial):
        first, *others = trial.timings
        return msgspec.structs.replace(trial, timings=(msgspec.structs.replace(first, **changes), *others))

    return changed


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (odd_score(correct="!!!", **BITS), "scores.onnxruntime does not hold one bit for each of 2000 rows"),
        (odd_score(predicted="!!!"), "scores.onnxruntime '!!!' is no packed array: one begins like 'u1[1000]:'"),
        (
            odd_score(metric="top-5"),
            "scores.onnxruntime predictions of shape [2000] are not 5 classes for each of [2000]",
        ),
        (
            odd_score(metric="theirs"),
            "scores.onnxruntime unknown metric 'theirs'. Known: accuracy, agreement, top-5, weighted-f1",
        ),
        (
            odd_score(truth="0" * 16),
            f"scores.onnxruntime is judged by truths/{'0' * 16}.json, which is not there or cannot be read",
        ),
        (odd_timing(ratio=Ratio(value=1.0, low=0.0, high=2.0, count=9)), "timings[0].ratio is not positive"),
        (odd_timing(blocks=((1.0, -1.0, 1.0),)), "timings[0].blocks[0] is not positive"),
        (odd_timing(screening={"eager": 0.0}), "timings[0] is not positive"),
    ],
)
def test_a_record_that_cannot_be_drawn_is_left_out_and_named(tmp_path, odd, why):
    stored = fill(tmp_path)
    victim = next(trial for trial in stored.trials if trial.technique == FAST.technique)
    store = Store(tmp_path, hardware_class="toy-cpu", task="toy-01234567")
    store.put(odd(victim))  # sealed: somebody who edits a record can seal it anew
    known = load_results(SUITE, tmp_path, None)
    assert known.damaged == [(f"{store.folder}/trials/{victim.key}.json", why)]
    assert victim.key not in {trial.key for trial in known.trials}
    for board in known.boards:
        build_board(known, board, 2.0)


def test_rows_of_records_without_a_seal_say_so(tmp_path):
    stored = fill(tmp_path)
    victim = next(trial for trial in stored.trials if trial.technique == FAST.technique)
    path = tmp_path / f"toy-cpu/toy-01234567/trials/{victim.key}.json"
    stated = json.loads(path.read_text())
    del stated["seal"]
    path.write_text(json.dumps(stated))
    known = load_results(SUITE, tmp_path, None)
    view = build_board(known, next(one for one in known.boards if one.name == "seconds"), 2.0)
    flags = {row.technique: row.flags for row in (*view.rows, *view.ineligible)}
    assert [name for name, said in flags.items() if "unsealed" in said] == [FAST.technique]
    assert f"`{FAST.technique}` (unsealed)" in compare(known, FAST.technique, "baseline").sentence


def test_a_baseline_without_a_seal_marks_what_is_divided_by_it(tmp_path):
    stored = fill(tmp_path)
    unsealed = msgspec.structs.replace(stored, unsealed={stored.baselines[0].key})
    view = build_board(unsealed, next(one for one in stored.boards if one.name == "seconds"), 2.0)
    assert {row.technique for row in view.rows if "unsealed" in row.flags} == {"baseline", FAST.technique}


def test_a_technique_of_another_place_is_explained(tmp_path):
    here = Place("toy-cpu", "toy-01234567")
    fill(tmp_path, techniques=[FAST.technique])
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights") is None
    for name, registered in (("optimal-brain-damage", ()), ("binary-weights+int8", ("int8", "binary-weights"))):
        assert "was not run yet: `joulemark run quick -t" in why_elsewhere(SUITE, tmp_path, here, name, registered)
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights+int8", ("int8",)) is None
    fill(tmp_path, task="digits-89abcdef", techniques=["binary-weights"])
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights") == (
        "`binary-weights` was run on other tasks only (digits-89abcdef): ratios do not carry over between tasks."
    )
    fill(tmp_path, hardware="other-cpu", techniques=["binary-weights"])
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights") == (
        "`binary-weights` was run on other-cpu only: ratios do not carry over between machines."
    )
    fill(tmp_path, suite="another", techniques=["binary-weights"])
    assert here in places_with(tmp_path, "binary-weights")
    assert "was run in another suite: run `joulemark run quick -t binary-weights`" in why_elsewhere(
        SUITE, tmp_path, here, "binary-weights"
    )
