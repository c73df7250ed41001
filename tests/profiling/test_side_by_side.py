"""Two nets side by side: ratios by hand, and the figures that contradict each other."""

from __future__ import annotations

import io

import msgspec
import pytest
from made_profile import modelled, profile, quantity
from rich.console import Console

from joulemark.energy.model import energy_model
from joulemark.profiling.opening import open_net
from joulemark.profiling.profile import profile_net
from joulemark.profiling.side_by_side import Comparison, as_renderables, cells, compare

SMALL = {"parameters": 100.0, "nonzero_parameters": 100.0, "macs_per_input": 2000.0, "peak_memory_bytes": 4096.0}
LARGE = {"parameters": 300.0, "nonzero_parameters": 50.0, "macs_per_input": 2000.0, "peak_memory_bytes": 2048.0}


def pair(first=None, second=None):
    return compare(
        profile("first", models=[modelled("toy", first or quantity(2e-6))], proxies=SMALL),
        profile("second", models=[modelled("toy", second or quantity(5e-6))], proxies=LARGE),
    )


def lines_of(comparison):
    return {line.figure: line for line in comparison.lines}


def drawn(comparison, width=160):
    console = Console(width=width, file=io.StringIO())
    for one in as_renderables(comparison):
        console.print(one)
    return console.file.getvalue()


def test_side_by_side_names_what_disagrees():
    first, second = (profile_net(open_net(name), [energy_model("datasheet")]) for name in ("lenet", "convnet"))
    both = compare(first, second)
    lines = {line.figure: line for line in both.lines}
    assert lines["parameters"].ratio == pytest.approx(89_706 / 431_080)
    assert lines["MACs per input"].ratio == pytest.approx(12_298_240 / 2_293_000)
    assert lines["datasheet"].kind == "modelled"
    (told,) = both.contradictions
    assert "less by parameters" in told
    assert "more by MACs per input" in told
    assert compare(first, first).contradictions == ()


def test_a_ratio_is_the_second_over_the_first():
    lines = lines_of(pair())
    assert {name: lines[name].ratio for name in ("parameters", "non-zero parameters", "MACs per input")} == {
        "parameters": 3.0, "non-zero parameters": 0.5, "MACs per input": 1.0,
    }  # fmt: skip
    toy = lines["toy"]
    assert (toy.kind, toy.unit, toy.first, toy.second) == ("modelled", "J", 2e-6, 5e-6)
    assert toy.ratio == pytest.approx(2.5)
    assert lines["peak memory"].kind == "proxy"


@pytest.mark.parametrize(("first", "second"), [(None, 1.0), (1.0, None), (0.0, 1.0), (None, None)])
def test_a_ratio_with_what_is_not_known_or_zero_is_unknown(first, second):
    assert lines_of(pair(quantity(first), quantity(second)))["toy"].ratio is None


def test_nothing_left_is_a_ratio_of_zero_and_not_unknown():
    assert lines_of(pair(quantity(1.0), quantity(0.0)))["toy"].ratio == 0.0


def test_contradictions_name_what_falls_and_what_rises_and_leave_out_what_is_equal_or_unknown():
    assert pair(second=quantity(None)).contradictions == (
        "Figures disagree about second: less by non-zero parameters, peak memory; more by parameters.",
    )
    same = profile("first", proxies=SMALL)
    assert compare(same, same).contradictions == ()
    fewer = profile("fewer", proxies={name: value / 2 for name, value in SMALL.items()})
    assert compare(same, fewer).contradictions == compare(fewer, same).contradictions == ()


def test_profiles_of_other_models_are_not_compared():
    with pytest.raises(ValueError, match="zip"):
        compare(profile(models=[modelled()]), profile())


def test_what_is_unknown_is_said_in_its_cell():
    lines = lines_of(pair(quantity(None)))
    assert cells(lines["toy"]) == ("toy", "modelled", "unknown", "5.00 µJ", "")
    assert cells(lines["weight bytes"]) == ("weight bytes", "proxy", "unknown", "unknown", "")
    assert cells(lines["parameters"]) == ("parameters", "proxy", "100", "300", "3.00")
    assert cells(lines["peak memory"]) == ("peak memory", "proxy", "4.10 kB", "2.05 kB", "0.50")


def test_the_table_says_over_which_and_that_nothing_was_measured():
    said = drawn(pair())
    told = "Ratio: second over first. Modelled, not measured; proxies are not energy."
    assert told in " ".join(said.split())
    assert "Figures disagree about second: less by" in said
    one = profile("first", proxies=SMALL)
    assert "disagree" not in drawn(compare(one, one))


def test_brackets_in_a_nets_name_are_no_markup():
    both = compare(profile("[bold]one"), profile("[red]two"))
    assert "[bold]one" in drawn(both).splitlines()[1]


def test_a_comparison_is_read_back_as_it_was():
    both = pair()
    assert msgspec.json.decode(msgspec.json.encode(both), type=Comparison) == both


@pytest.mark.parametrize("name", ["model[final].onnx", "a[/b].onnx"])
def test_brackets_in_a_name_are_no_markup_below_the_table_either(name):
    screen = Console(width=200, record=True, file=io.StringIO())
    for one in as_renderables(compare(profile("first"), profile(name))):
        screen.print(one)
    assert f"Ratio: {name} over first" in screen.export_text()
