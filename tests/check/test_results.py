"""Stored results judged again: nothing in a sound folder, and every single kind of damage named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import GENTLE, GREEDY, attempt, baseline_trial, fill, free, made, net_hash, score, study, trial

from joulemark.check.results import as_json, as_lines, check_results
from joulemark.record import Quantity
from joulemark.store import Store


def problems(root: Path) -> list[str]:
    return [f"{one.path.partition('/')[2].partition('/')[2]} {one.problem}" for one in check_results(root).broken]


def place(store: Store, name: str) -> Path:
    return Path(store.folder, name)


def edit(path: Path, **changes) -> None:
    """Change members of a stored record in its file, as an editor would."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace(store: Store, record, **changes) -> None:
    """Store a changed record with a fresh seal: what somebody who knows the code could make up."""
    store.put(msgspec.structs.replace(record, **changes))


def test_a_sound_folder_has_nothing_broken(folder):
    root, _ = folder
    found = check_results(root)
    assert found.broken == found.notes == ()
    assert (found.records, found.nets) == (21, 6)
    assert as_json(found)["clean"] is True
    assert as_lines(found) == [f"21 records and 6 nets in {root}: nothing broken."]


def test_checking_changes_nothing(folder):
    root, store = folder
    edit(place(store, f"attempts/{attempt('halve', GENTLE, 0).key}.json"), seed=7)
    before = {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}
    assert problems(root)
    assert {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()} == before


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="there are no results in"):
        check_results(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there are no results in"):
        check_results(tmp_path)


def test_any_fsspec_url_is_checked(folder):
    import fsspec

    root, _ = folder
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/checked", recursive=True)
    try:
        assert check_results("memory://checked").broken == ()
    finally:
        memory.rm("/checked", recursive=True)


SEALED = ("made", "attempts", "trials", "studies")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from(SEALED), where=st.floats(0, 0.999), data=st.data())
def test_any_change_of_a_number_or_word_breaks_the_seal(folder, kind, where, data):
    root, store = folder
    paths = sorted(place(store, kind).iterdir())
    path = paths[int(where * len(paths))]
    text = path.read_text()
    spots = [index for index, letter in enumerate(text) if letter.isdigit() or letter.isalpha()]
    spot = data.draw(st.sampled_from(spots))
    other = data.draw(st.sampled_from([c for c in "0123456789abcxyz" if c != text[spot]]))
    try:
        path.write_text(text[:spot] + other + text[spot + 1 :])
        if json_equal(path.read_text(), text):
            return  # 1e-05 and 1e-5 are one number
        assert any(f"{kind}/{path.name}" in problem for problem in problems(root))
    finally:
        path.write_text(text)


def json_equal(one: str, two: str) -> bool:
    try:
        return json.loads(one) == json.loads(two)
    except ValueError:
        return False


def test_white_space_and_order_are_not_content(folder):
    root, store = folder
    path = next(place(store, "trials").iterdir())
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(stated.items()))))
    assert problems(root) == []


def test_an_edited_record_is_set_aside_when_it_is_loaded_too(folder):
    root, store = folder
    key = trial("halve", GENTLE, 0).key
    edit(place(store, f"trials/{key}.json"), seed=7)
    fresh = Store(root, hardware_class="toy-cpu", task=Path(store.folder).name)
    assert fresh.trial(key) is None
    assert "edited after it was made" in fresh.damaged[0].reason


def test_a_record_without_a_seal_is_named(folder):
    root, store = folder
    path = place(store, f"attempts/{attempt('halve', GREEDY, 0).key}.json")
    stated = json.loads(path.read_text())
    del stated["seal"]
    path.write_text(json.dumps(stated))
    (problem,) = problems(root)
    assert "is unsealed" in problem


def test_a_changed_net_is_named_and_a_missing_one_noted(folder):
    root, store = folder
    path = place(store, f"nets/{net_hash('halve', GENTLE, 0)}.safetensors")
    path.write_bytes(path.read_bytes() + b"x")
    assert ["its bytes hash to" in problem for problem in problems(root)] == [True]
    path.unlink()
    found = check_results(root)
    assert found.broken == ()
    assert "1 of 6 net is not here" in found.notes[0].problem


GENTLE_TRIAL, GENTLE_ATTEMPT = trial("halve", GENTLE, 0), attempt("halve", GENTLE, 0)


@pytest.mark.parametrize(
    ("record", "changes", "sentence"),
    [
        (GENTLE_TRIAL, {"net": "f" * 16}, "net differs from its attempt"),
        (GENTLE_TRIAL, {"knobs": GREEDY}, "knobs differs from its attempt"),
        (GENTLE_TRIAL, {"technique": "other"}, "technique differs from its attempt"),
        (GENTLE_TRIAL, {"seed": 1}, "seed differs from its attempt"),
        (GENTLE_TRIAL, {"attempt": "f" * 16}, "attempts/ffffffffffffffff.json, is not there"),
        (GENTLE_TRIAL, {"hardware_class": "big-cpu"}, "was made on big-cpu, in the folder of toy-cpu"),
        (GENTLE_TRIAL, {"task_key": "f" * 16}, "in the folder of toy-01234567"),
        (GENTLE_TRIAL, {"proxies": {"macs_per_input": 1000.0, "parameters": 9.0}}, "proxies differ"),
        (GENTLE_ATTEMPT, {"made": "f" * 16}, "its making, made/ffffffffffffffff.json, is not there"),
        (GENTLE_ATTEMPT, {"notes": {"a": 1}}, "notes differs from its making"),
        (made("halve", GENTLE, 0), {"start": "f" * 16}, "no baseline of seed 0 here"),
        (study(), {"baselines": study().baselines[:1]}, "seed 1 has no baseline"),
        (study(), {"trials": (*study().trials, study().trials[0])}, "names a trial twice"),
    ],
)
def test_a_record_made_up_with_a_fresh_seal_is_caught_by_what_it_disagrees_with(folder, record, changes, sentence):
    root, store = folder
    replace(store, record, **changes)
    assert any(sentence in problem for problem in problems(root)), problems(root)


def test_a_tested_loser_is_caught(folder):
    root, store = folder
    loser = trial("halve", GREEDY, 0)
    store.put(loser)
    assert problems(root) == []
    assert "1 records stand in no study" in check_results(root).notes[0].problem
    replace(store, study(), trials=(*study().trials, loser.key))
    assert any("halve, seed 0) was tested, though the rules do not choose it" in one for one in problems(root))


def test_records_under_other_names_and_other_schemas_are_named(folder):
    root, store = folder
    one, two = baseline_trial(0).key, baseline_trial(1).key
    shutil.copy(place(store, f"trials/{one}.json"), place(store, f"trials/{two}.json"))
    assert any(f"the record inside is {one}" in problem for problem in problems(root))
    fill(root)
    edit(place(store, f"trials/{two}.json"), schema=3)
    assert any("it has schema 3, this version reads 2: update Joulemark" in problem for problem in problems(root))
    edit(place(store, f"trials/{two}.json"), schema=1)
    assert any("it has schema 1, this version reads 2: bring it over" in problem for problem in problems(root))


def test_lines_are_grouped_by_file_and_counted(folder):
    root, store = folder
    replace(store, GENTLE_TRIAL, net="f" * 16, seed=1)
    lines = as_lines(check_results(root))
    assert lines[0] == f"BROKEN  toy-cpu/toy-01234567/trials/{GENTLE_TRIAL.key}.json"
    assert lines[1:3] == [
        f"        seed differs from its attempt, attempts/{GENTLE_ATTEMPT.key}.json",
        f"        net differs from its attempt, attempts/{GENTLE_ATTEMPT.key}.json",
    ]
    assert lines[-1].endswith(": 2 broken in 1 file.")


def double(quantity: Quantity) -> Quantity:
    return msgspec.structs.replace(quantity, value=2 * quantity.value)


def test_joules_of_a_model_doubled_in_attempt_and_trial_are_caught(folder):
    root, store = folder
    own, judged = baseline_trial(0), attempt("baseline", (), 0)
    report = msgspec.structs.replace(own.models[0], joules=double(own.models[0].joules))
    replace(store, own, models=(report,))
    assert any("says other joules than in its attempt" in one for one in problems(root))
    replace(store, judged, models={"toy-model": report.joules})
    assert any("its layers add up to" in one for one in problems(root))
    replace(store, own, models=())
    assert any("models are others than those of its attempt" in one for one in problems(root))


def test_a_simulated_attempt_whose_trial_is_called_real_is_caught(folder):
    root, store = folder
    replace(store, GENTLE_ATTEMPT, backend="eager", execution="simulated", reason="no kernel")
    found = problems(root)
    assert any("is real on eager, simulated there in its attempt" in one for one in found)
    assert any("is simulated in its attempt, and its timings say otherwise" in one for one in found)


@pytest.mark.parametrize(
    ("record", "changes", "path", "sentence"),
    [
        (GENTLE_ATTEMPT, {"score": score("validation", 22, 800)}, "attempts", "800 validation images; others of this"),
        (attempt("baseline", (), 1), {"score": score("validation", 22, 800)}, "attempts", "800 validation images"),
        (GENTLE_TRIAL, {"scores": {"eager": score("test", 22, 800)}}, "trials", "800 test images; others of this task"),
    ],
)
def test_a_score_of_other_images_is_named_and_all_else_is_judged(folder, record, changes, path, sentence):
    root, store = folder
    replace(store, record, **changes)
    replace(store, baseline_trial(0), warnings=("load",))
    found = problems(root)
    assert any(one.startswith(f"{path}/{record.key}.json ") and sentence in one for one in found)
    assert any("warns of load" in one for one in found)
    if path == "attempts":
        assert any(one.startswith("studies/toy-suite.json the choice of halve cannot be made again") for one in found)


@pytest.mark.parametrize(
    ("changes", "path", "count"),
    [
        ({"attempts": {"halve": study().attempts["halve"][:2]}}, "attempts", 2),  # a setting
        ({"attempts": {}, "trials": study().trials[:2]}, "attempts", 4),  # a technique
        ({"free": study().free[:1]}, "free", 1),
        ({"free": ()}, "free", 2),
    ],
)
def test_what_a_study_leaves_out_is_named(folder, changes, path, count):
    root, store = folder
    replace(store, study(), **changes)
    found = [one for one in problems(root) if "no study names it" in one]
    assert len(found) == count
    assert all(one.startswith(f"{path}/") for one in found)


def test_records_without_a_study_are_broken_and_a_net_alone_is_not(folder):
    root, store = folder
    place(store, "studies/toy-suite.json").unlink()
    assert any(one.startswith("studies there is no study") for one in problems(root))
    for kind in ("attempts", "trials", "free"):
        shutil.rmtree(place(store, kind))
    assert problems(root) == []


def test_a_group_of_free_settings_has_one_control(folder):
    root, store = folder
    control = free(control=True)
    replace(store, control, key="f" * 16)
    assert any("is the second control of its group" in one for one in problems(root))
    another = msgspec.structs.replace(control.conditions, seconds=11.0)
    replace(store, control, key="f" * 16, conditions=another)  # measured again, in a group of its own
    assert problems(root) == []
