"""Studies judged against the records they stand on: all that was tried is named, and what was tested was chosen."""

from __future__ import annotations

import msgspec
import pytest
from made_up import CONDITIONS, GENTLE, GREEDY, SEEDS, TRUTHS, attempt, free, made, score, study, trial

from joulemark.check.choice import hidden, miscounted, named_attempts, second_controls, study_faults, unreadable
from joulemark.record import Failure
from joulemark.store import KINDS

STUDY = study()
LOSERS = [attempt("halve", GREEDY, seed) for seed in SEEDS]
GONE = "f" * 16


def path_of(record) -> str:
    return f"{KINDS[type(record)]}/{record.key}.json"


def folder(*more) -> dict:
    """The records of the made-up folder by their path, and others beside them or in their place."""
    settings = [("baseline", ()), ("halve", GENTLE), ("halve", GREEDY)]
    every = [
        *(make(*setting, seed) for make in (made, attempt) for setting in settings for seed in SEEDS),
        *(trial(*setting, seed) for setting in settings[:2] for seed in SEEDS),
        *(free(control=control) for control in (True, False)),
        *TRUTHS.values(), STUDY, *more,
    ]  # fmt: skip
    return {path_of(record): record for record in every}


def changed(record, **changes):
    return msgspec.structs.replace(record, **changes)


def faults(*more, without=(), **changes) -> list[str]:
    """What is wrong with the made-up study, itself changed, beside other records or without some."""
    records = {path: record for path, record in folder(*more).items() if path not in without}
    return list(study_faults(changed(STUDY, **changes), records))


def unnamed(records, **changes) -> list[str]:
    return [path for path, _ in hidden({**records, path_of(STUDY): changed(STUDY, **changes)})]


def test_a_sound_folder_hides_nothing_and_breaks_no_rule():
    records = folder()
    assert list(study_faults(STUDY, records)) == []
    assert [*hidden(records), *miscounted(records), *second_controls(records)] == []
    assert named_attempts(STUDY) == [*STUDY.baselines, *STUDY.attempts["halve"]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"baselines": STUDY.baselines[:1]}, "seed 1 has no baseline"),
        ({"baselines": (*STUDY.baselines, GONE)}, f"attempt {GONE} of baseline is not there or cannot be read"),
        ({"attempts": {"double": STUDY.attempts["halve"]}}, "is of halve, named as double"),
        ({"models": ("toy-model", "other")}, "is judged by toy-model, the study by other, toy-model"),
        ({"models": ()}, "is judged by toy-model, the study by no model"),
        ({"trials": (*STUDY.trials, GONE)}, f"trial {GONE} is not there or cannot be read"),
        ({"free": (GONE,)}, f"free setting {GONE} is not there or cannot be read"),
        ({"trials": STUDY.trials[:-1]}, "(halve, seed 1) is chosen by the rules and was not tested"),
        ({"trials": STUDY.trials[1:]}, "(baseline, seed 0) is chosen by the rules and was not tested"),
        ({"attempts": {}}, "which the study does not name"),
        ({"attempts": {"halve": STUDY.attempts["halve"][:3]}}, "halve share 0.9 is named without seed 1"),
        ({"limits_points": (30.0,)}, "(halve, seed 0) was tested, though the rules do not choose it"),
        ({"limits_points": ()}, "does not say its limits, so the choice cannot be made again"),
    ],
)
def test_what_a_study_says_and_its_records_do_not_is_named(changes, sentence):
    found = faults(**changes)
    assert any(sentence in one for one in found), found


def test_without_limits_the_choice_is_not_held_against_anything():
    found = faults(limits_points=(), trials=())
    assert found == [
        "does not say its limits, so the choice cannot be made again: run the suite, which repeats no step"
    ]


def test_two_baselines_of_one_seed_are_named():
    twin = changed(attempt("baseline", (), 0), key=GONE)
    assert "two baselines share a seed" in faults(twin, baselines=(*STUDY.baselines, GONE))


def test_a_setting_that_was_tested_twice_is_named():
    again = changed(trial("halve", GENTLE, 0), key=GONE)
    assert faults(again, trials=(*STUDY.trials, GONE)) == [f"attempt {again.attempt} was tested 2 times"]


def test_a_loser_that_was_tested_is_named_with_its_seed():
    loser = trial("halve", GREEDY, 1)
    assert faults(loser, trials=(*STUDY.trials, loser.key)) == [
        f"attempt {LOSERS[1].key} (halve, seed 1) was tested, though the rules do not choose it"
    ]


def test_a_missing_attempt_is_named_and_the_choice_of_its_technique_is_left_alone():
    gone = path_of(attempt("halve", GENTLE, 0))
    records = folder()
    assert not unreadable(STUDY, "halve", records)
    del records[gone]
    assert unreadable(STUDY, "halve", records)
    found = faults(without=[gone], trials=())
    assert f"attempt {attempt('halve', GENTLE, 0).key} of halve is not there or cannot be read" in found
    assert not any("halve, seed" in one for one in found)


def test_a_missing_baseline_makes_every_choice_unreadable():
    records = folder()
    del records[path_of(attempt("baseline", (), 1))]
    assert unreadable(STUDY, "halve", records)


def test_a_choice_that_cannot_be_made_leaves_those_of_other_techniques():
    others = [attempt("third", ({"share": 0.4},), seed) for seed in SEEDS]
    odd = changed(attempt("halve", GENTLE, 0), score=score("validation", 22, 800))
    found = faults(odd, *others, attempts={**STUDY.attempts, "third": tuple(one.key for one in others)})
    assert [one for one in found if one.startswith("the choice of halve cannot be made again: ")]
    assert any("(third, seed 1) is chosen by the rules and was not tested" in one for one in found)
    assert not any(one.startswith("the choice of third") for one in found)


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"attempts": {"halve": STUDY.attempts["halve"][:2]}}, [path_of(one) for one in LOSERS]),
        ({"free": STUDY.free[:1]}, [path_of(free(control=False))]),
        ({"free": ()}, [path_of(free(control=control)) for control in (True, False)]),
        ({}, []),
    ],
)
def test_what_a_study_leaves_out_is_hidden(changes, paths):
    assert unnamed(folder(), **changes) == paths


def test_a_whole_technique_that_is_left_out_is_hidden_if_the_code_of_a_study_made_it():
    assert len(unnamed(folder(), attempts={}, trials=())) == 4
    elsewhere = [
        changed(one, provenance=changed(one.provenance, commit="0123456789ab"))
        for one in folder().values()
        if getattr(one, "technique", None) == "halve" and path_of(one).startswith("attempts/")
    ]
    assert unnamed(folder(*elsewhere), attempts={}, trials=()) == []


def test_without_a_study_nothing_is_hidden():
    records = folder()
    del records[path_of(STUDY)]
    assert list(hidden(records)) == []


FIRST_SETTING = {"attempts": {"halve": STUDY.attempts["halve"][:2]}}


def test_attempts_of_another_commit_or_of_other_code_are_not_hidden():
    older = [changed(loser, provenance=changed(loser.provenance, commit="0123456789ab")) for loser in LOSERS]
    assert unnamed(folder(*older), **FIRST_SETTING) == []
    other = [changed(made("halve", GREEDY, seed), code={"joulemark.x": "2" * 16}) for seed in SEEDS]
    assert unnamed(folder(*other), **FIRST_SETTING) == []
    assert unnamed(folder(other[0]), **FIRST_SETTING) == [path_of(LOSERS[1])]


def test_a_net_that_was_judged_twice_may_be_named_once_and_so_may_a_free_setting():
    again = changed(LOSERS[0], key=GONE)
    assert unnamed(folder(again, changed(free(control=False), key="e" * 16))) == []


def test_the_seeds_of_a_setting_that_failed_are_no_secret():
    loser = LOSERS[0]
    failure = Failure(
        key=GONE, task=loser.task, task_key=loser.task_key, technique="halve", knobs=GREEDY, seed=1,
        reason="it hung", started="2026-01-02T03:04:05Z",
    )  # fmt: skip
    assert unnamed(folder(failure), **FIRST_SETTING) == []
    assert len(unnamed(folder(changed(failure, knobs=GENTLE)), **FIRST_SETTING)) == 2


def test_free_settings_of_nets_that_are_no_baseline_here_are_not_hidden():
    stray = changed(free(control=False), key=GONE, net="0" * 16, threads=8)
    assert unnamed(folder(stray)) == []
    assert unnamed(folder(changed(stray, net=free(control=True).net))) == [f"free/{GONE}.json"]


def test_what_is_hidden_is_called_by_its_setting():
    sentences = dict(hidden({**folder(), path_of(STUDY): changed(STUDY, free=(), **FIRST_SETTING)}))
    assert sentences[path_of(LOSERS[1])] == (
        "halve share 0.9, seed 1: no study names it, and the code of a study made it: finish the run; "
        "nothing that was tried is hidden"
    )
    assert sentences[path_of(free(control=False))].startswith(
        "eager bf16 channels_last, 2 threads, batch 8: no study names it"
    )
    assert sentences[path_of(free(control=True))].startswith("eager, 1 thread, batch 1: no study names it")


def test_a_score_of_other_images_than_most_is_named():
    odd = changed(LOSERS[0], score=score("validation", 22, 800))
    assert list(miscounted(folder(odd))) == [
        (path_of(odd), "a score is of 800 validation images; others of this task are of 1,004")
    ]
    tested = changed(trial("halve", GENTLE, 0), scores={"eager": score("test", 22, 800)})
    ((path, sentence),) = miscounted(folder(tested))
    assert path == path_of(tested) and "800 test images" in sentence


def test_of_as_many_scores_on_either_side_the_larger_number_of_images_is_usual():
    records = {"a": changed(LOSERS[0], score=score("validation", 22, 800)), "b": LOSERS[1]}
    assert [path for path, _ in miscounted(records)] == ["a"]
    assert list(miscounted({})) == []


def test_a_group_of_free_settings_has_one_control():
    control = free(control=True)
    assert [path for path, _ in second_controls(folder(changed(control, key=GONE)))] == [f"free/{GONE}.json"]
    another = changed(control, key=GONE, conditions=changed(CONDITIONS, seconds=11.0))
    assert list(second_controls(folder(another))) == []  # measured again, in a group of its own
    failed = changed(control, order=())  # before its windows
    assert list(second_controls(folder(failed, changed(failed, key=GONE)))) == []
