"""The words lint: sentences that claim, sentences that only mention, backings that hold and that do not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import GENTLE, baseline_trial, trial

from joulemark.check.claims import Backing, stored_trials, unbacked, unbacked_in
from joulemark.record import Kind, Quantity, Ratio

ROOT = Path(__file__).parents[2]


def claims(text: str, trials=None) -> list[str]:
    return [one.claim for one in unbacked(text, trials or {})]


@pytest.mark.parametrize(
    "sentence",
    [
        "It saves energy.",
        "Pruning saved 40 % of the energy here.",
        "**Saves** energy!",
        "Energy savings of 3x are possible.",
        "The energy that it saves is large.",
        "Joules were saved by int8.",
        "An energy-saving net.",
        "Techniques that are energy-saving",
        "It saves\nenergy.",
        "- it saves battery power",
        "| int8 | saves energy |",
        "# Saving energy at the edge",
        "It halves the energy.",
        "This reduces the energy of inference.",
        "It cuts electricity by half.",
        "The net pays back its making energy after a million images.",
        "Break-even: 3 million joules.",
        "The break-even in energy comes late.",
        "Training amortises its joules.",
        "It took 5 kWh.",
        "It took 300 Wh of a battery.",
        "Two watt-hours.",
        "Less CO2.",
        "Less CO₂.",
        "Less CO<sub>2</sub>.",
        "Less CO~2~.",
        "Its carbon footprint is small.",
        "It lowers modelled joules by half and so saves energy on this machine.",
        "It halves modelled joules and uses half the energy.",
        'It "saves energy" by 40 %.',
        "It breaks even in joules after a day.",
        "It pays off in joules.",
        "It pays for its own making in joules.",
        "It saves 0.4 mJ per image.",
        "It saves kilojoules.",
        "It sa\u00adves energy.",
        "It saves en\u200bergy.",
        "It sa&shy;ves energy.",
        "It sa**ves** energy.",
        "Energy is halved.",
        "Energy is 2x lower.",
        "It uses half the energy.",
        "It needs 40 % less energy.",
        "It took 5 kW·h.",
        "It took 5 \u00b5Wh.",
        "It took 5kWh.",
        "It emits 3 gCO2.",
        "It emits 3 tCO2.",
        "It emits 3 kgCO2e.",
        'A 5" disk saves energy, unlike a 6" disk.',
        "It does not only save energy.",
        "It does not save time but energy.",
        "It saves\n**energy** here.",
        "> It saves\n> energy.",
    ],
)
def test_a_claim_is_caught_wherever_it_stands(sentence):
    assert claims(sentence)
    assert claims(f"Before it. {sentence}\n\nAfter it.")
    assert claims(f'Some "quoted words" and `code`. {sentence}')


@pytest.mark.parametrize(
    "sentence",
    [
        "Energy-saving techniques of the literature.",
        "An energy-saving technique.",
        "A page without counters never says `saves energy`.",
        'It never says "saves energy", “kWh” or "CO2".',
        "```\nsaves energy, 5 kWh\n```",
        "It is 2x faster.",
        "Modelled accelerator energy is 2x lower.",
        "It lowers modelled joules by half.",
        "Results are saved. Joules are read from counters.",
        "The break-even in seconds comes after 300 images.",
        "Early exits must pay for themselves.",
        "Energy counters of the processor.",
        "<!-- a note to ourselves: saves energy? -->",
        "codecarbon is another tool.",
        "The energy report is saved as JSON.",
        "Results are saved with joules.",
        "Break-even in seconds; joules unknown.",
        "It does not save energy.",
        "No energy was saved.",
        "Energy is not saved here.",
        "It never breaks even in joules.",
        "Lower power limit",
        "Convolutional networks that use less energy.",
        "Faster is no proof of fewer joules.",
        "Energy-efficient nets.",
        "Joules (modelled) of convolutions: 90 % of all.",
        "Of ``code ` that saves energy`` nothing is said.",
        "````\n```\nsaves energy\n````",
    ],
)
def test_mentions_and_other_words_pass(sentence):
    assert claims(sentence) == []


def test_a_stray_back_tick_blinds_no_other_paragraph():
    assert claims("A ` here.\n\nIt saves energy.\n\nAnd ` there.") == ["saved energy"]
    assert claims("A `` here ` it saves energy.") == ["saved energy"]  # fences of other lengths make no code
    assert claims("| ` | saves energy | ` |") == ["saved energy"]
    assert claims("``` saves energy\n\nIt saves energy.") == []  # a fence that never closes is code to the end
    assert claims("```x``` It saves energy.") == ["saved energy"]


def with_joules(one, quantity, ratio=None, **changes):
    timings = tuple(msgspec.structs.replace(t, joules=quantity, joules_ratio=ratio, **changes) for t in one.timings)
    return msgspec.structs.replace(one, timings=timings)


@pytest.fixture
def trials():
    """Trials of `halve` with joules from a counter, without, modelled, of no gain, and beside other controls."""
    one = trial("halve", GENTLE, 0)
    joules = Quantity(value=1e-3, unit="J/input", kind=Kind.MEASURED, method="energy counter", scope="x", source="x")
    modelled = msgspec.structs.replace(joules, kind=Kind.MODELLED)
    gain = Ratio(value=1.5, low=1.4, high=1.6, count=12)

    def control(half):
        ratio = Ratio(value=1.0, low=1 - half, high=1 + half, count=12)
        return with_joules(baseline_trial(0), joules, ratio).timings

    def backing(found, *, half=0.01, spent=joules):
        return Backing(trial=found, controls=control(half) if half else (), making_joules=spent)

    return {
        "a1": backing(with_joules(one, joules, gain)),
        "b2": backing(one),
        "c3": backing(with_joules(one, joules, Ratio(value=1.0, low=0.9, high=1.1, count=12))),
        "d4": backing(with_joules(one, modelled, gain)),
        "f6": backing(with_joules(one, joules, gain), half=0.5),
        "g7": backing(with_joules(one, joules, gain), half=None),
        "h8": backing(with_joules(one, joules, gain, execution="simulated", reason="no kernel")),
        "i9": backing(with_joules(one, joules, gain), spent=None),
    }


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("a1", None),
        ("b2", "trial b2 measured no joules"),
        ("c3", "trial c3 measured joules and does not show fewer than the A/A control can tell apart"),
        ("d4", "trial d4 measured no joules"),
        ("e5", "there is no trial e5"),
        ("f6", "trial f6 measured joules and does not show fewer than the A/A control can tell apart"),
        ("g7", "trial g7 measured joules and does not show fewer than the A/A control can tell apart"),
        ("h8", "trial h8 measured no joules with real kernels"),
        ("i9", None),
    ],
)
def test_only_a_trial_with_measured_joules_backs_a_sentence(trials, key, problem):
    found = unbacked(f"Here `halve` saves energy. <!-- measured: {key} -->", trials)
    assert [one.problem for one in found] == ([] if problem is None else [problem])


def test_a_backing_needs_the_technique_the_making_and_a_counter_of_what_is_claimed(trials):
    (found,) = unbacked("Halving saves energy. <!-- measured: a1 -->", trials)
    assert found.problem == "trial a1 is of halve, which the sentence does not name"
    assert claims("By `halve` it breaks even in joules. <!-- measured: a1 -->", trials) == []
    (found,) = unbacked("By `halve` it breaks even in joules. <!-- measured: i9 -->", trials)
    assert found.problem == "the joules of making the net of trial i9 were not measured"
    (found,) = unbacked("By `halve` there is less CO2. <!-- measured: a1 -->", trials)
    assert found.problem == "no counter reads carbon, so nothing can back it"


def test_a_backing_covers_the_sentence_before_it_and_no_other(trials):
    backed = "By halve it saves energy. <!-- measured: a1 -->"
    assert claims(backed, trials) == []
    assert claims(f"{backed} It saves energy.", trials) == ["saved energy"]
    assert claims(f"It saves energy. {backed}", trials) == ["saved energy"]
    assert claims("It saves energy.\n\n<!-- measured: a1 -->", trials) == ["saved energy"]
    assert claims("By halve it saves energy. <!-- measured: e5 --> <!-- measured: a1 -->", trials) == []
    assert claims("By halve it took 5 kWh. <!-- measured: c3 -->", trials) == []  # measured, and no claim of a gain
    assert claims("| halve saves energy <!-- measured: a1 --> | saves energy |", trials) == ["saved energy"]
    assert claims("`<!-- measured: a1 -->` It saves energy.", trials) == ["saved energy"]


def test_the_line_and_the_sentence_are_told():
    (one,) = unbacked("# Title\n\nAll is well. It\nsaves 0.5 J of\nenergy. Yes.\n", {})
    assert (one.line, one.sentence) == (3, "It saves 0.5 J of energy.")


@settings(deadline=None)
@given(st.text(st.sampled_from("ab. \n|`\"-#*<!>'“”"), max_size=60), st.text(st.sampled_from("xy ,."), max_size=20))
def test_text_without_the_words_never_claims_and_a_paragraph_with_them_always_does(before, after):
    assert claims(before + after) == []
    assert claims(f"{before.replace('`', '').replace('<', '')}\n\nIt saves energy\n\n{after}") != [] or '"' in before


@pytest.mark.parametrize("name", ["a.html", "a.HTM", "a.xhtml"])
def test_pages_are_known_by_their_ending(tmp_path, name):
    (tmp_path / name).write_text("<p title='5 kWh'><code>saves energy</code></p>")
    assert [one.claim for one in unbacked_in(tmp_path / name, {})] == ["watt-hours"]


def test_a_file_that_is_no_text_gets_a_sentence(tmp_path):
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.md is not a text in UTF-8"):
        unbacked_in(tmp_path / "a.md", {})


def texts() -> list[Path]:
    """What people read of this repository: prose, and the strings and templates of what is shown."""
    package = ROOT / "src/joulemark"
    prose = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "CITATION.cff", ROOT / "pyproject.toml"]
    shown = [
        *package.glob("**/*.html"),
        *package.glob("**/*.js"),
        *package.glob("suites/*.toml"),
        *package.glob("tasks/*.toml"),
    ]
    rooms = ("auditing", "cli", "explain", "profiling", "report", "techniques")
    told = [path for room in rooms for path in (package / room).glob("*.py")]
    return sorted([*prose, *shown, *told])


@pytest.fixture(scope="module")
def measured():
    """What stands in the committed results."""
    return stored_trials(ROOT / "results")


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_our_own_words_claim_no_more_than_was_measured(path, measured):
    assert unbacked_in(path, measured) == []


def test_reading_trials_changes_nothing_and_takes_sealed_ones_only(folder):
    root, store = folder
    good, edited, bare = sorted(path.stem for path in Path(store.folder, "trials").iterdir())[:3]
    path = Path(store.folder, "trials", f"{edited}.json")
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), "seed": 7}))
    stated = msgspec.json.decode(Path(store.folder, "trials", f"{bare}.json").read_bytes())
    Path(store.folder, "trials", f"{bare}.json").write_bytes(msgspec.json.encode({**stated, "seal": None}))
    before = sorted(Path(root).rglob("*"))
    found = stored_trials(root)
    assert good in found
    assert not {edited, bare} & set(found)
    assert sorted(Path(root).rglob("*")) == before
