"""The contract: what the decorator refuses, settings, chains, and techniques from files."""

import textwrap
from typing import Annotated, Literal

import pytest

from joulemark.techniques import technique as technique_module
from joulemark.techniques.technique import (
    Range,
    TechniqueError,
    check_chain,
    file_techniques,
    load_technique,
    technique,
)
from joulemark.vocabulary import TABLES

ABOUT = {"paper": "nobody 1900", "family": "test"}


@technique("sample", knob="strength", **ABOUT)
def sample(
    net,
    bench,
    *,
    strength: Annotated[float, Range(0.01, 1.0, log=True)] = 0.1,
    rounds: Annotated[int, Range(1, 9)] = 3,
    way: str = "short",
    careful: bool = True,
    limit: Annotated[float | None, Range(0, 1)] = None,
    order: Literal["up", "down"] = "up",
):
    """Do nothing, well.

    And more.
    """
    return net, strength, rounds, way, careful, limit


@pytest.mark.parametrize("name", [5, "", "a+b", "a:b", "baseline", "../evil", ".hidden", "a" * 65, "two words", "é"])
def test_a_name_that_could_not_be_asked_for_is_refused(name):
    with pytest.raises(TechniqueError, match="a technique cannot be called"):
        technique(name, **ABOUT)


def test_what_a_file_prints_while_it_is_imported_is_kept_from_standard_output(tmp_path, capsys):
    file = tmp_path / "talks.py"
    file.write_text(
        "import joulemark\nprint('hello')\n"
        "@joulemark.technique('talks', paper='none', family='test')\ndef talks(net, bench):\n    return net\n"
    )
    assert load_technique("talks", [file]).name == "talks"
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_the_decorator_reads_name_knobs_ranges_and_summary():
    assert (sample.name, sample.knob, sample.start) == ("sample", "strength", "trained")
    defaults = {"strength": 0.1, "rounds": 3, "way": "short", "careful": True, "limit": None, "order": "up"}
    assert sample.knobs == defaults
    assert sample.choices == {"order": ("up", "down")}
    assert set(sample.ranges) == {"strength", "rounds", "limit"}
    assert sample.summary == "Do nothing, well."
    assert sample.takes == sample.gives == {"float", "static"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"start": "warm"}, "odd: start is 'trained' or 'scratch', not 'warm'"),
        ({"takes": {"flaot"}}, "odd: unknown word in takes or gives 'flaot': did you mean 'float'?"),
        ({"gives": {"integer", "dynamical"}}, "did you mean 'dynamic'?"),
        ({"knob": "share"}, "odd: the searched knob 'share' needs a Range in its type"),
        ({"knob": "plain"}, "odd: the searched knob 'plain' needs a Range in its type"),
    ],
)
def test_words_the_decorator_refuses(words, sentence):
    with pytest.raises(TechniqueError, match="odd: ") as caught:

        @technique("odd", **ABOUT, **words)
        def odd(net, bench, *, plain: float = 1.0):
            return net

    assert sentence in str(caught.value)


def test_signatures_the_decorator_refuses():
    def no_default(net, bench, *, knob): ...

    def one_argument(net, *, knob=1): ...

    def positional(net, bench, knob=1): ...

    for function in (no_default, one_argument, positional):
        with pytest.raises(TechniqueError, match="odd: write it as"):
            technique("odd", **ABOUT)(function)

    def default_outside(net, bench, *, knob: Annotated[float, Range(0, 1)] = 2.0): ...

    with pytest.raises(TechniqueError, match="odd: knob = 2 is out of range, 0 to 1"):
        technique("odd", **ABOUT)(default_outside)


@pytest.mark.parametrize(
    "bad", [{"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 0, "high": 1, "gentle": "up"}]
)
def test_ranges_that_cannot_be_searched_are_refused(bad):
    with pytest.raises(TechniqueError, match="not a range"):
        Range(**bad)


def test_range_knows_its_gentle_end_and_its_middle():
    assert Range(0.0, 1.0).ends == (0.0, 1.0)
    assert Range(0.0, 1.0, gentle="high").ends == (1.0, 0.0)
    assert Range(0.0, 1.0).between(0.5, 1.0) == 0.75
    assert Range(1e-4, 1.0, log=True).between(1e-4, 1e-2) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"strength": 2.0}, "sample: strength = 2 is out of range, 0.01 to 1"),
        ({"strength": float("nan")}, "sample: strength must be a number, got nan"),
        ({"strength": "a lot"}, "sample: strength must be a number, got 'a lot'"),
        ({"strength": True}, "sample: strength must be a number, got True"),
        ({"rounds": 2.5}, "sample: rounds must be a whole number, got 2.5"),
        ({"rounds": 0}, "sample: rounds = 0 is out of range, 1 to 9"),
        ({"way": 3}, "sample: way must be like 'short', got 3"),
        ({"careful": 1}, "sample: careful must be like True, got 1"),
        ({"limit": 3.0}, "sample: limit = 3 is out of range, 0 to 1"),
        ({"limit": "low"}, "sample: limit must be a number, got 'low'"),
        ({"order": "upwards"}, "sample: unknown order 'upwards': did you mean 'up'? Known: down, up"),
        ({"order": 1}, "sample: order must be like 'up', got 1"),
        ({"strenght": 0.1}, "sample: unknown knob 'strenght': did you mean 'strength'?"),
    ],
)
def test_settings_out_of_range_are_one_sentence(given, sentence):
    with pytest.raises(TechniqueError) as caught:
        sample.settings(given)
    assert str(caught.value).startswith(sentence)
    with pytest.raises(TechniqueError):
        sample("net", None, **given)


def test_settings_override_defaults_and_a_whole_number_is_a_number():
    assert sample.settings({"strength": 1, "limit": None}) == {**sample.knobs, "strength": 1}
    assert sample("net", None, rounds=9) == ("net", 0.1, 9, "short", True, None)


def test_all_of_ours_load_and_hold_the_contract():
    for name in TABLES["technique"]:
        found = load_technique(name)
        assert found.name == name
        assert found.settings({}) == found.knobs
        assert found.summary.endswith(".")


def test_unknown_technique_offers_the_nearest():
    with pytest.raises(TechniqueError, match="unknown technique 'int9': did you mean 'int8'"):
        load_technique("int9")


def chain(*names):
    return [load_technique(name) for name in names]


def test_chains_are_checked_by_what_each_takes_and_gives():
    check_chain([])
    check_chain(chain("optimal-brain-damage", "conditional-deep-learning", "int8"))
    check_chain(chain("optimal-brain-damage", "int8"))
    with pytest.raises(
        TechniqueError, match=r"^optimal-brain-damage cannot come here: .* integer and takes only float"
    ):
        check_chain(chain("int8", "optimal-brain-damage"))
    with pytest.raises(TechniqueError, match=r"^conditional-deep-learning cannot come here: .* dynamic and takes"):
        check_chain(chain("conditional-deep-learning", "conditional-deep-learning"))
    with pytest.raises(TechniqueError, match="a net that is integer and takes"):  # of the axes it does not name: as got
        check_chain(chain("int8", "conditional-deep-learning"))
    with pytest.raises(TechniqueError, match="dynamic, integer and takes only"):
        check_chain(chain("conditional-deep-learning", "int8", "optimal-brain-damage"))


GOOD = '''
    from joulemark.techniques.technique import technique

    @technique("mine", paper="me", family="test")
    def mine(net, bench):
        """Give the net back."""
        return net
'''


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def test_a_technique_from_a_file(tmp_path):
    path = write(tmp_path / "mine.py", GOOD)
    found = load_technique("mine", [path])
    assert found("net", None) == "net"
    assert load_technique("int8", [path]).name == "int8"
    with pytest.raises(TechniqueError, match="did you mean 'mine'"):
        load_technique("mime", [path])


def test_a_changed_file_is_another_technique_under_the_same_name(tmp_path):
    path = write(tmp_path / "mine.py", GOOD)
    first = load_technique("mine", [path])
    assert load_technique("mine", [path]) is first
    write(path, GOOD + "        # changed\n")
    assert load_technique("mine", [path]).function is not first.function


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def broken(:\n", "cannot be imported: SyntaxError: "),
        ("import nothing_of_that_name\n", "cannot be imported: ModuleNotFoundError: No module named"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
        ("x = 1\n", "defines no technique: decorate a function with @joulemark.technique"),
        (
            "from joulemark.techniques.technique import technique\n"
            "@technique('odd', paper='me', family='test', start='warm')\n"
            "def odd(net, bench): ...\n",
            "cannot be imported: TechniqueError: odd: start is",
        ),
    ],
)
def test_a_broken_file_gives_one_sentence(tmp_path, text, sentence):
    path = write(tmp_path / "broken.py", text)
    with pytest.raises(TechniqueError) as caught:
        file_techniques(path)
    assert str(caught.value).startswith(f"{path} {sentence}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_gives_one_sentence(tmp_path):
    with pytest.raises(TechniqueError, match="is not a Python file"):
        file_techniques(tmp_path / "missing.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
        ("import time\nwhile True:\n    time.sleep(0.01)\n", "it was not done after 0.2 s"),
        ("while True:\n    try:\n        pass\n    except Exception:\n        pass\n", "it was not done after 0.2 s"),
    ],
)
def test_a_file_that_leaves_or_hangs_at_import_is_said(tmp_path, monkeypatch, text, said):
    monkeypatch.setattr(technique_module, "IMPORT_SECONDS", 0.2)
    (tmp_path / "odd.py").write_text(text)
    with pytest.raises(TechniqueError, match=rf"odd\.py cannot be imported: {said}"):
        file_techniques(tmp_path / "odd.py")


def test_a_search_is_declared_in_whole_epochs():
    plain = technique("plain", **ABOUT)(lambda net, bench: net)
    searching = technique("searching", search_epochs=4, **ABOUT)(lambda net, bench: net)
    control = technique("control", paper="nobody 1900", family="control")(lambda net, bench: net)
    assert [one.granted(6) for one in (plain, searching, control)] == [(6, 0), (6, 4), (6, 0)]
    assert control.fixed({"search_epochs": 4}).granted(6) == (10, 0)  # as many image passes as the one that searches
    assert searching.fixed({"search_epochs": 9}).granted(6) == (6, 9)
    for bad in (-1, 1.5, True, "4"):
        with pytest.raises(TechniqueError, match="search_epochs must be a whole number of at least 0"):
            technique("bad", search_epochs=bad, **ABOUT)(lambda net, bench: net)


FILE = """
import joulemark

@joulemark.technique("{name}", paper="none", family="test")
def {function}(net, bench):
    \"\"\"Do nothing.\"\"\"
    return net
"""


def test_a_name_that_is_taken_is_refused_wherever_it_comes_again(tmp_path):
    ours, one, other = (tmp_path / f"{name}.py" for name in ("ours", "one", "other"))
    ours.write_text(FILE.format(name="magnitude", function="mine"))
    one.write_text(FILE.format(name="dupe", function="first"))
    other.write_text(FILE.format(name="dupe", function="second"))
    with pytest.raises(
        TechniqueError, match=r"ours.py defines the technique 'magnitude', which is joulemark\.techniques"
    ):
        load_technique("magnitude", [ours])
    with pytest.raises(TechniqueError, match=r"other.py defines the technique 'dupe', which is in .*one.py: give it"):
        load_technique("dupe", [one, other])
    both = tmp_path / "both.py"
    both.write_text(FILE.format(name="dupe", function="first") + FILE.format(name="dupe", function="second"))
    with pytest.raises(TechniqueError, match=r"'dupe', which is in .*both\.py: give it another name"):
        load_technique("dupe", [both])
    assert load_technique("dupe", [one, one]).name == "dupe"  # the same file twice is the same
