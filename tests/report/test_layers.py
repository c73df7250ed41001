"""The layer-by-layer figure: nothing of the sum is lost, bars are stacked, names stay inert."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import FAST, make_results
from test_board import row_of, view_of

from joulemark.record import LayerEnergy
from joulemark.report import layers

MODEL = "row-stationary"
BASELINE, WINNER = 0.45, 1.0  # opacities


@pytest.fixture(scope="module")
def results():
    return make_results()


def drawn(results):
    return layers.per_layer(results, row_of(view_of(results, MODEL), FAST.technique), MODEL)


def with_layers(results, layers_of):
    """The same results with other layers of each trial's model."""

    def changed(trial):
        report = msgspec.structs.replace(trial.models[0], layers=tuple(layers_of(trial)))
        return msgspec.structs.replace(trial, models=(report,))

    return msgspec.structs.replace(results, trials=[changed(trial) for trial in results.trials])


def layer(name, joules):
    return LayerEnergy(layer=name, operator="conv", joules={"MAC": joules}, macs=1.0)


def test_layers_sum_to_the_whole(results):
    figure = drawn(results)
    whole = dict.fromkeys((BASELINE, WINNER), 0.0)
    for trace in figure.data:
        whole[trace.marker.opacity] += sum(trace.x)
    assert whole == {BASELINE: pytest.approx(1e-5), WINNER: pytest.approx(5e-6)}
    conv2 = [(trace.base[1], trace.x[1]) for trace in figure.data if trace.marker.opacity == WINNER]
    assert [base for base, _ in conv2] == pytest.approx([0.0, 1.25e-6, 2.0e-6])  # stacked: DRAM, buffer, MAC


def test_both_bars_of_a_layer_have_one_colour_a_component_and_say_what_they_are(results):
    traces = drawn(results).data
    assert [(trace.meta, trace.marker.opacity) for trace in traces] == [
        (name, side) for side in (BASELINE, WINNER) for name in ("DRAM", "buffer", "MAC")
    ]
    colours = [trace.marker.color for trace in traces]
    assert colours[:3] == colours[3:] and len(set(colours)) == 3
    assert traces[0].text[1] == "conv2, DRAM, baseline: 2.50 µJ"
    assert traces[5].text[2] == f"fc1, MAC, {FAST.technique}: 200 nJ"
    first, second = traces[0], traces[3]
    assert first.offset + first.width <= second.offset  # side by side, not over each other


def test_small_layers_are_folded_not_lost():
    folded = layers.fold_small({"a": {"MAC": 1.0}, "b": {"MAC": 0.2}, "c": {"MAC": 0.1}}, ["a"])
    assert folded == {"a": {"MAC": 1.0}, layers.OTHERS: {"MAC": pytest.approx(0.3)}}


def test_a_layer_that_is_kept_and_is_not_there_is_empty_and_nothing_to_fold_leaves_no_rest():
    assert layers.fold_small({"a": {"MAC": 1.0}}, ["a", "gone"]) == {"a": {"MAC": 1.0}, "gone": {}}
    assert layers.fold_small({}, []) == {}


stacks = st.dictionaries(
    st.sampled_from("abcdef"), st.dictionaries(st.sampled_from(["MAC", "DRAM"]), st.integers(0, 100))
)


@given(stacks, st.lists(st.sampled_from("abcdef"), unique=True))
def test_folding_keeps_the_sum_of_every_component(given_stacks, keep):
    before = {layer: dict(parts) for layer, parts in given_stacks.items()}
    folded = layers.fold_small(given_stacks, keep)
    assert set(folded) <= {*keep, layers.OTHERS}
    for component in ("MAC", "DRAM"):
        sums = [sum(parts.get(component, 0) for parts in some.values()) for some in (given_stacks, folded)]
        assert sums[0] == sums[1]
    assert given_stacks == before


def test_only_the_largest_layers_of_a_deep_net_have_bars_and_the_rest_has_one(results):
    names = [f"layer{i:02d}" for i in range(40)]
    deep = with_layers(results, lambda trial: [layer(name, float(i)) for i, name in enumerate(names)])
    figure = drawn(deep)
    assert list(figure.data[0].y) == [*names[-layers.MOST_LAYERS :], layers.OTHERS]
    for trace in figure.data:
        assert trace.x[-1] == sum(range(40 - layers.MOST_LAYERS))
        assert sum(trace.x) == sum(range(40))


def test_as_many_layers_as_have_room_are_not_folded(results):
    names = [f"layer{i:02d}" for i in range(layers.MOST_LAYERS)]
    figure = drawn(with_layers(results, lambda trial: [layer(name, 1.0) for name in names]))
    assert list(figure.data[0].y) == names


def test_a_layer_that_only_one_of_the_nets_has_is_drawn_for_both(results):
    both = with_layers(results, lambda t: [layer("conv" if t.technique == "baseline" else "lowered", 2.0)])
    old, new = drawn(both).data
    assert (list(old.y), list(old.x)) == (["conv", "lowered"], [2.0, 0.0])
    assert (list(new.y), list(new.x)) == (["conv", "lowered"], [0.0, 2.0])


def test_names_of_layers_are_escaped(results):
    (trace, _) = drawn(with_layers(results, lambda trial: [layer("<b>x</b>", 1.0)])).data
    assert trace.y == ("&lt;b&gt;x&lt;/b&gt;",)
    assert "<" not in trace.text[0]


@pytest.mark.parametrize("silent", ["baseline", FAST.technique])
def test_no_figure_where_the_model_says_nothing_of_one_of_the_nets(results, silent):
    some = with_layers(results, lambda trial: [] if trial.technique == silent else [layer("a", 1.0)])
    assert drawn(some) is None
