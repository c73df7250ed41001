"""The words lint: sentences that claim, sentences that only mention, backings that hold and that do not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import baseline_trial

from joulemark.check.claims import shown_strings, stored_trials, unbacked, unbacked_in, visible_words
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
    ],
)
def test_mentions_and_other_words_pass(sentence):
    assert claims(sentence) == []


@pytest.fixture
def trials():
    """A trial with joules from a counter, one that only models them and one that measured no gain."""
    trial = baseline_trial(0)
    joules = Quantity(value=1e-3, unit="J/input", kind=Kind.MEASURED, method="energy counter", scope="x", source="x")

    def with_joules(quantity, ratio=None):
        timings = tuple(msgspec.structs.replace(t, joules=quantity, joules_ratio=ratio) for t in trial.timings)
        return msgspec.structs.replace(trial, timings=timings)

    return {
        "a1": with_joules(joules, Ratio(value=1.5, low=1.4, high=1.6, count=12)),
        "b2": trial,
        "c3": with_joules(joules, Ratio(value=1.0, low=0.9, high=1.1, count=12)),
        "d4": with_joules(msgspec.structs.replace(joules, kind=Kind.MODELLED), Ratio(value=2, low=2, high=2, count=3)),
    }


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("a1", None),
        ("b2", "trial b2 measured no joules"),
        ("c3", "trial c3 measured joules and does not show fewer"),
        ("d4", "trial d4 measured no joules"),
        ("e5", "there is no trial e5"),
    ],
)
def test_only_a_trial_with_measured_joules_backs_a_sentence(trials, key, problem):
    found = unbacked(f"It saves energy. <!-- measured: {key} -->", trials)
    assert [one.problem for one in found] == ([] if problem is None else [problem])


def test_a_backing_covers_the_sentence_before_it_and_no_other(trials):
    backed = "It saves energy. <!-- measured: a1 -->"
    assert claims(backed, trials) == []
    assert claims(f"{backed} It saves energy.", trials) == ["saved energy"]
    assert claims(f"It saves energy. {backed}", trials) == ["saved energy"]
    assert claims("It saves energy.\n\n<!-- measured: a1 -->", trials) == ["saved energy"]
    assert claims("It saves energy. <!-- measured: e5 --> <!-- measured: a1 -->", trials) == []
    assert claims("It took 5 kWh. <!-- measured: c3 -->", trials) == []  # measured, and no claim of a gain
    assert claims("| saves energy <!-- measured: a1 --> | saves energy |", trials) == ["saved energy"]
    assert claims("`<!-- measured: a1 -->` It saves energy.", trials) == ["saved energy"]


def test_the_line_and_the_sentence_are_told():
    (one,) = unbacked("# Title\n\nAll is well. It\nsaves 0.5 J of\nenergy. Yes.\n", {})
    assert (one.line, one.sentence) == (3, "It saves 0.5 J of energy.")


@settings(deadline=None)
@given(st.text(st.sampled_from("ab. \n|`\"-#*<!>'“”"), max_size=60), st.text(st.sampled_from("xy ,."), max_size=20))
def test_text_without_the_words_never_claims_and_a_paragraph_with_them_always_does(before, after):
    assert claims(before + after) == []
    assert claims(f"{before.replace('`', '').replace('<', '')}\n\nIt saves energy\n\n{after}") != [] or '"' in before


def test_a_page_is_read_as_a_person_sees_it():
    page = """<html><head><title>Fast</title><style>.a { content: "saves energy" }</style></head><body>
    <p>It <b>saves</b> energy</p><p>CO<sub>2</sub></p><img alt="5 kWh"><code>saves energy</code>
    <script>let x = "saves energy"</script>
    <script type="application/json">{"title": "energy savings", "n": [1, {"t": "none"}]}</script></body></html>"""
    assert claims(visible_words(page)) == ["saved energy", "carbon", "watt-hours", "saved energy"]


def test_strings_of_a_program_are_read_without_docstrings():
    source = '"""saves energy"""\ndef f(x):\n    """saves energy"""\n    return f"{x} kWh"\n'
    assert claims(shown_strings(source)) == ["watt-hours"]


def test_a_file_that_is_no_text_gets_a_sentence(tmp_path):
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.md is not a text in UTF-8"):
        unbacked_in(tmp_path / "a.md", {})


def texts() -> list[Path]:
    """What people read of this repository: prose, and the strings and templates of the report."""
    prose = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "CITATION.cff"]
    shown = [*ROOT.glob("src/joulemark/**/*.html"), *ROOT.glob("src/joulemark/report/*.py")]
    return sorted([*prose, *shown, *(ROOT / "src/joulemark/cli").glob("*.py")])


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_our_own_words_claim_no_more_than_was_measured(path):
    assert unbacked_in(path, stored_trials(ROOT / "results")) == []


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
