"""Two techniques side by side: the verdict and every reason to have none."""

import json
from dataclasses import replace

import msgspec
import pytest
from synthetic import FAST, SETTINGS, Setting, make_results, with_joules, with_metric

from joulemark.judging.rules import BASELINE
from joulemark.record import Ratio
from joulemark.report.comparison import accuracy_gap, compare

RIVAL = Setting("rival", 1.0, 1.6, (2.5, 2.5), 2.0, 14, tested=True)
PAIR = (*SETTINGS, RIVAL)


def test_a_verdict_by_hand():
    answer = compare(make_results(PAIR), FAST.technique, "rival")
    assert answer.verdict == "cheaper"
    assert (answer.ratio.value, answer.ratio.low, answer.ratio.high) == pytest.approx((2.0 / 1.6,) * 3)
    assert answer.sentence.startswith(
        "On Toy digits, toy-cpu: `conditional-deep-learning` is 1.25x faster here than `rival` "
        "(95 % interval 1.25 to 1.25; ONNX Runtime, batch 1), both within 2 points of accuracy"
    )
    assert answer.reason is None


def test_flags_of_the_rows_stand_in_the_sentence_and_in_the_answer():
    results = make_results(PAIR)
    trials = [
        msgspec.structs.replace(t, warnings=("drift",)) for t in results.trials if (t.technique, t.seed) != ("rival", 1)
    ]
    answer = compare(msgspec.structs.replace(results, trials=trials), FAST.technique, "rival")
    assert answer.flags["rival"] == ("1 of 2 seeds tested", "one seed", "unsteady: drift")
    assert answer.sentence.endswith(
        "; flagged: `conditional-deep-learning` (unsteady: drift), "
        "`rival` (1 of 2 seeds tested; one seed; unsteady: drift)."
    )
    assert json.loads(msgspec.json.encode(answer))["flags"]["rival"][1] == "one seed"
    assert "flagged" not in compare(results, FAST.technique, "rival").sentence


def test_exchanging_the_two_says_the_same():
    there, back = (
        compare(make_results(PAIR), *pair) for pair in [(FAST.technique, "rival"), ("rival", FAST.technique)]
    )
    assert (back.verdict, back.ratio.value) == ("dearer", pytest.approx(1.6 / 2.0))
    assert there.sentence.partition(";")[0] == back.sentence.partition(";")[0]
    assert there.accuracy.points == pytest.approx(-back.accuracy.points)


def test_accuracy_by_hand():
    # Of 2,000 test images the one loses 10, the other 20 or 12, ten of them the same.
    results = make_results((*SETTINGS, replace(RIVAL, wrong_test=20)))
    lines = [line for line in results.table.settings if line.technique in (FAST.technique, "rival")]
    gap = accuracy_gap(*lines, backends=["onnxruntime"] * 2, truths=results.truths)
    assert gap.points == pytest.approx(-0.5)
    assert gap.low < -0.5 < gap.high < 0
    assert gap.decided
    turned = accuracy_gap(*lines[::-1], backends=["onnxruntime"] * 2, truths=results.truths)
    assert (turned.low, turned.high) == pytest.approx((-gap.high, -gap.low))
    assert accuracy_gap(*lines, backends=["openvino"] * 2, truths=results.truths) is None
    sentence = compare(results, "rival", FAST.technique).sentence
    assert "; `conditional-deep-learning` is the more accurate by 0.50 points (test rows, 95 % interval 0." in sentence
    near = make_results((*SETTINGS, replace(RIVAL, wrong_test=12)))
    sentence = compare(near, "rival", FAST.technique).sentence
    assert "; in accuracy they cannot be told apart (on test rows `rival` loses 0.10 points more, 95 % " in sentence


def test_what_overlaps_cannot_be_told_apart():
    noisy = (replace(FAST, wobble=0.2), replace(RIVAL, speed=1.95, wobble=0.2))
    results = make_results((SETTINGS[0], *noisy))
    answer = compare(results, FAST.technique, "rival")
    assert answer.verdict == "undecided"
    assert answer.ratio.low < 1 < answer.ratio.high
    assert "cannot be told apart in speed (`conditional-deep-learning` 1." in answer.sentence


def test_what_differs_less_than_the_baseline_from_itself_cannot_be_told_apart():
    nearly = (SETTINGS[0], FAST, replace(RIVAL, speed=1.99))
    results = make_results(nearly)
    assert compare(results, FAST.technique, "rival").verdict == "cheaper"
    shaky = Ratio(value=1.01, low=0.99, high=1.03, count=12)

    def with_control(trial):
        if trial.technique != BASELINE:
            return trial
        return msgspec.structs.replace(
            trial, timings=tuple(msgspec.structs.replace(t, ratio=shaky) for t in trial.timings)
        )

    answer = compare(
        msgspec.structs.replace(results, trials=[with_control(t) for t in results.trials]), FAST.technique, "rival"
    )
    assert answer.verdict == "undecided"
    assert "the baseline differs from itself by up to 1.0" in answer.sentence


def test_a_technique_and_the_baseline():
    answer = compare(make_results(), BASELINE, FAST.technique)
    assert (answer.verdict, answer.ratio.value) == ("dearer", pytest.approx(0.5))
    assert "`conditional-deep-learning` is 2.00x faster here than `baseline`" in answer.sentence
    assert "`conditional-deep-learning` within 2 points" in answer.sentence


def test_a_model_says_modelled_and_simulated():
    answer = compare(make_results(PAIR), "unstructured-pruning", "rival", board="row-stationary")
    assert answer.verdict == "undecided"  # 2 and 4 against 2.5 twice
    answer = compare(make_results(PAIR), "rival", FAST.technique, board="row-stationary")
    assert answer.sentence.startswith(
        "By the row-stationary model: `rival` needs 1.25x fewer modelled joules than `conditional-deep-learning`, both"
    )
    many = compare(
        make_results((SETTINGS[0], FAST, replace(SETTINGS[4], model=(5.0, 6.0)))), "unstructured-pruning",
        FAST.technique, board="row-stationary",
    )  # fmt: skip
    assert "x fewer modelled joules than `conditional-deep-learning` (2.50 to 3.00 over seeds)" in many.sentence
    assert "`unstructured-pruning` simulated on this machine" in many.sentence


def test_measured_joules():
    answer = compare(with_joules(make_results()), FAST.technique, BASELINE, board="joules")
    assert "needs 2.00x fewer measured joules than `baseline`" in answer.sentence


@pytest.mark.parametrize(
    ("name", "board", "limit", "words"),
    [
        ("unstructured-pruning", "seconds", 2.0, "simulated: no kernel skips unstructured zeros"),
        (
            "binary-weights",
            "seconds",
            2.0,
            "`binary-weights` is not ranked within 2 points of accuracy: loses at least",
        ),
        ("squeezenet", "seconds", 2.0, "failed: the loss became NaN in epoch 3"),
        ("rival", "joules", 2.0, "Empty: joules were not measured here"),
        ("rival", "seconds", 0.5, "the data cannot decide: 0.70 points lost"),
    ],
)
def test_every_reason_to_have_no_verdict(name, board, limit, words):
    answer = compare(make_results(PAIR, limits=(0.5, 2.0)), FAST.technique, name, board=board, limit_points=limit)
    assert (answer.verdict, answer.ratio) == ("none", None)
    assert answer.sentence.startswith(f"No verdict on `conditional-deep-learning` and `{name}` by measured ")
    assert words in answer.reason
    assert json.loads(msgspec.json.encode(answer))["verdict"] == "none"


def test_untested_and_without_a_common_seed():
    results = make_results(PAIR)
    none = [t for t in results.trials if t.technique != "rival"]
    answer = compare(msgspec.structs.replace(results, trials=none), FAST.technique, "rival")
    assert "`rival` is not ranked within 2 points of accuracy: chosen on validation, not tested yet" in answer.reason
    split = [t for t in results.trials if (t.technique, t.seed) not in {("rival", 0), (FAST.technique, 1)}]
    answer = compare(msgspec.structs.replace(results, trials=split), FAST.technique, "rival")
    assert answer.reason == "they were not tested with a common seed."


def test_names_from_other_places_are_explained_and_unknown_ones_refused():
    results = make_results()
    answer = compare(results, FAST.technique, "int8", elsewhere={"int8": "`int8` was run on other-cpu only."}.get)
    assert answer.reason == "`int8` was run on other-cpu only."
    for words, message in [
        ((FAST.technique, "binary-weight"), "unknown technique 'binary-weight': did you mean 'binary-weights'"),
        ((FAST.technique, FAST.technique), "the same technique"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(results, *words)
    with pytest.raises(ValueError, match="did you mean 'seconds'"):
        compare(results, FAST.technique, BASELINE, board="second")
    with pytest.raises(ValueError, match="the suite's limits are 2"):
        compare(results, FAST.technique, BASELINE, limit_points=1.0)


def test_ratios_with_different_denominators_are_not_compared():
    results = make_results(PAIR)

    def against(trial, backend):
        timings = tuple(
            msgspec.structs.replace(t, reference=backend, reference_seconds=t.baseline_seconds, reference_ratio=t.ratio)
            for t in trial.timings
        )
        return msgspec.structs.replace(trial, timings=timings)

    same = [against(trial, "eager") for trial in results.trials]
    answer = compare(msgspec.structs.replace(results, trials=same), FAST.technique, "rival")
    assert (answer.verdict, answer.ratio.value) == ("cheaper", pytest.approx(1.25))
    mixed = [against(t, "eager" if t.technique == "rival" else "onnxruntime") for t in results.trials]
    answer = compare(msgspec.structs.replace(results, trials=mixed), FAST.technique, "rival")
    assert answer.reason == (
        "their ratios divide by the fp32 baseline on different backends, eager PyTorch and ONNX Runtime: "
        "run the suite again."
    )
    assert compare(msgspec.structs.replace(results, trials=mixed), "rival", BASELINE).verdict == "cheaper"


def test_the_metric_is_named_and_bounded_by_its_own_method():
    results = with_metric(make_results((*SETTINGS, replace(RIVAL, wrong_test=40))), "weighted-f1")
    answer = compare(results, "rival", FAST.technique)
    assert "within 2 points of weighted F1" in answer.sentence
    assert "; `conditional-deep-learning` is better in weighted F1 by 1." in answer.sentence
    assert "accura" not in answer.sentence
    assert answer.accuracy.low < answer.accuracy.points < answer.accuracy.high
