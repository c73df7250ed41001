"""Advice: every sentence names only what was measured, with its figures."""

from __future__ import annotations

import pytest
from made_audit import NEAR, layer, made, quantity, ratio

from joulemark.auditing.advice import advice
from joulemark.record import LayerEnergy

CONTROL = made("one thread", (0.98, 1.0, 1.02), control=True)
INT8 = made("int8", (1.9, 2.0, 2.1), precision="int8", agreement=NEAR)


def told(*tried, layers=(), images="folder"):
    return advice([CONTROL, *tried], layers, images=images)


def test_advice_names_only_what_was_measured_to_be_faster():
    control = made("one", (0.95, 1.0, 1.05), control=True)
    noise = made("noise", (1.01, 1.04, 1.07))
    two = made("two threads", (1.5, 1.6, 1.7))
    int8 = made("int8", (1.9, 2.0, 2.1), precision="int8", agreement=NEAR)
    text = advice([control, noise, two, int8], (), images="folder")
    assert "In float32 the quickest answer comes from two threads: 1.60 (1.50 to 1.70) times as fast" in text
    assert "the same class on 97.5% of 200 images (95 %: 94.3% to 98.9%)" in text
    assert "Joules were not measured here" in text
    assert "nothing that was tried answers faster" in advice([control, noise], (), images="folder")
    assert "Nothing but the baseline itself was measured" in advice([control], (), images="folder")
    assert "cannot be said from random inputs" in advice([control, int8], (), images=None)


def test_float32_is_not_spoken_of_where_only_integers_were_tried():
    control = made("one", (0.95, 1.0, 1.05), control=True)
    text = advice([control, made("int8", (1.9, 2.0, 2.1), precision="int8", agreement=NEAR)], (), images="folder")
    assert "In float32 nothing but the baseline itself was measured" in text
    assert "answers faster" not in text


def test_a_certain_slowdown_is_called_slower():
    control = made("one", (0.98, 1.0, 1.02), control=True)
    for value, words in [
        ((0.67, 0.68, 0.68), "int8): 0.68 (0.67 to 0.68) times as fast, which is slower"),
        ((0.97, 0.98, 0.99), "which is no gain that the noise here leaves sure"),  # the control reaches down to 0.98
        ((1.9, 2.0, 2.1), "int8): 2.00 (1.90 to 2.10) times as fast;"),
    ]:
        text = advice([control, made("int8", value, precision="int8", agreement=NEAR)], (), images="folder")
        assert words in text
        assert ("slower" in text) is ("slower" in words)


def test_a_batch_is_advised_only_if_it_beats_single_inputs():
    control = made("one thread", (0.98, 1.0, 1.02), control=True)
    single = made("two threads", (1.80, 1.85, 1.91))
    for value, advised in (((1.67, 1.69, 1.72), False), ((2.4, 2.5, 2.6), True)):
        text = advice([control, single, made("a batch of 64", value, batch_size=64)], (), images="folder")
        assert ("highest throughput comes from" in text) is advised


def test_joules_are_claimed_only_with_their_interval():
    joules = quantity(1.0, "J/input")
    two = made("two", (1.5, 1.6, 1.7), joules=joules, joules_ratio=ratio(0.9, 1.1, 1.3))
    assert "None of them uses measurably fewer joules" in advice([two], (), images="folder")


def test_the_files_own_integers_are_not_called_float32():
    control = made("one", (0.98, 1.0, 1.02), control=True, precision="int8")
    text = advice([control, made("two", (1.5, 1.6, 1.7), precision="int8")], (), images="folder")
    assert text.startswith("In the file's own eight-bit integers the quickest answer comes from two")
    assert "float32" not in text and "Eight-bit" not in text


def test_nothing_tried_is_nothing_said_of_it():
    text = advice([], (), images=None)
    assert text == (
        "Nothing but the baseline itself was measured, so nothing can be said of other ways to run it. "
        "Joules were not measured here: faster is no proof of fewer joules, and neither is a model."
    )
    assert advice([CONTROL, made("broken", None, reason="no kernel")], (), images=None) == text


def test_of_several_that_are_faster_the_quickest_is_named():
    two, four = made("two threads", (1.5, 1.6, 1.7)), made("four threads", (1.7, 1.8, 1.9))
    text = told(two, four)
    assert "comes from four threads: 1.80 (1.70 to 1.90) times as fast." in text
    assert "two threads" not in text


def test_a_gain_within_the_controls_noise_is_none_and_without_a_control_1_is_the_bar():
    just = made("two threads", (1.01, 1.04, 1.07))
    assert "nothing that was tried answers faster than ONNX Runtime on one thread" in told(just)
    assert "the quickest answer comes from two threads" in advice([just], (), images=None)
    assert "answers faster" in advice([made("two threads", (1.0, 1.04, 1.07))], (), images=None)


@pytest.mark.parametrize(
    ("cpu", "words"),
    [
        ((0.45, 0.5, 0.55), ", for 2.00 times the CPU-seconds"),
        ((0.98, 1.0, 1.02), ", for 1.00 times the CPU-seconds"),
        (None, "(1.50 to 1.70) times as fast."),
    ],
)
def test_what_a_gain_costs_in_cpu_seconds_stands_beside_it(cpu, words):
    assert words in told(made("two threads", (1.5, 1.6, 1.7), cpu_ratio=cpu and ratio(*cpu)))


def test_a_larger_batch_alone_is_throughput_and_no_quick_answer():
    text = told(made("a batch of 64", (2.4, 2.5, 2.6), batch_size=64))
    assert "nothing that was tried answers faster" in text
    assert "If inputs can wait for each other, the highest throughput comes from a batch of 64: 2.50" in text


def test_a_file_that_fixes_its_batch_has_no_larger_one():
    control = made("batch 4", (0.98, 1.0, 1.02), control=True, batch_size=4)
    text = advice([control, made("two threads, batch 4", (1.5, 1.6, 1.7), batch_size=4)], (), images="folder")
    assert "the quickest answer comes from two threads, batch 4" in text
    assert "wait for each other" not in text


def test_the_best_of_each_reduced_precision_is_told_with_its_outputs():
    bf16 = made("bf16, channels last", (1.2, 1.3, 1.4), precision="bf16", agreement=NEAR)
    text = told(INT8, bf16, made("int8, two threads", (2.9, 3.0, 3.1), precision="int8", agreement=NEAR))
    assert "Eight-bit integers (int8, two threads): 3.00 (2.90 to 3.10) times as fast;" in text
    assert "bf16 (bf16, channels last): 1.30 (1.20 to 1.40) times as fast;" in text
    assert text.count("outputs move by 2.0% of their size on average. Check it on labels before use.") == 2
    assert "(int8):" not in text


def test_outputs_that_are_no_classes_or_were_not_compared_are_not_spoken_of_as_if():
    shapeless = made("int8", (1.9, 2.0, 2.1), precision="int8",
                     agreement=type(NEAR)(images=9, same_class=None, low=None, high=None, largest_difference=1.0,
                                          mean_relative=0.5, largest_relative=0.9))  # fmt: skip
    text = told(shapeless)
    assert "the same class" not in text
    assert "outputs move by 50.0% of their size" in text
    bare = told(made("int8", (1.9, 2.0, 2.1), precision="int8"))
    assert "Eight-bit integers (int8): 2.00 (1.90 to 2.10) times as fast. On" not in bare
    assert "Eight-bit integers (int8): 2.00 (1.90 to 2.10) times as fast." in bare and "outputs" not in bare


def test_the_three_heaviest_layers_are_named_with_their_shares_of_all():
    layers = [layer("a", 1.0), layer("b", 4.0, "linear"), layer("c", 2.0), layer("d", 3.0)]
    told_of = "On the modelled accelerator (not this machine) most energy goes to "
    assert f"{told_of}b (linear) 40%, d (conv) 30%, c (conv) 20%: look there first." in told(layers=layers)
    assert "most energy" not in told(layers=[])
    assert "most energy" not in told(layers=[layer("a", 0.0)])


def test_the_fewest_measured_joules_are_named_and_models_are_no_proof():
    joules = quantity(1.0, "J/input")
    two, four = (made(title, (1.5, 1.6, 1.7), joules=joules, joules_ratio=ratio(*found))
                 for title, found in (("two", (1.1, 1.2, 1.3)), ("four", (1.3, 1.4, 1.5))))  # fmt: skip
    text = told(two, four)
    assert text.endswith("Fewest measured joules: four, 1.40 (1.30 to 1.50) times fewer per input.")
    assert "not measured" not in text
    assert told(made("two", (1.5, 1.6, 1.7))).endswith("faster is no proof of fewer joules, and neither is a model.")


def test_a_layer_that_runs_twice_has_the_sum_of_both():
    layers = [
        LayerEnergy(layer=name, operator=operator, joules={"mac": joules}, macs=1.0)
        for name, operator, joules in (("reused", "conv", 3.0), ("reused", "conv", 1.0), ("fc", "linear", 1.0))
    ]
    assert "reused (conv) 80%, fc (linear) 20%" in advice([], layers, images=None)
