"""Explanations: facts against what is known of the thing, the drawing against the facts."""

import io
import textwrap
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from synthetic import FAST, SETTINGS, make_results

from joulemark import testing
from joulemark.explain import explanation
from joulemark.explain.explanation import explain, paragraphs, reached
from joulemark.explain.explanation_text import as_text
from joulemark.nets.net import Net
from joulemark.techniques.technique import load_technique

MINE = '''
    """Do nothing at all [really].

    Idea:
        Nothing costs nothing.

    Claims:
        - 2x faster; LeNet, seconds; itself; none [recalled]
    """
    import joulemark
    from typing import Annotated

    @joulemark.technique("mine", paper="me", family="test", knob="share")
    def mine(net, bench, *, share: Annotated[float, joulemark.Range(0.1, 0.9)] = 0.5, careful: bool = False):
        """Give the net back."""
        if careful:
            raise RuntimeError("no luck")
        return net
'''


def drawn(known):
    console = Console(width=250, file=io.StringIO())
    console.print(as_text(known))
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """Nothing is trained: what backends say of a net does not depend on its weights."""
    blank = Net.new("lenet", testing.TASK.input_shape, seed=0, width=0.2)
    monkeypatch.setattr(testing, "baseline", lambda: blank)
    monkeypatch.setattr(testing.WatchedBench, "fit", lambda self, net, **how: net)


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(MINE))
    return path


def test_a_technique_of_ours_with_all_that_is_known_of_it():
    known = explain("magnitude")
    assert known.paper.idea.startswith("A weight near zero")
    knobs = {knob.name: knob for knob in known.knobs}
    assert (knobs["sparsity"].low, knobs["sparsity"].high, knobs["sparsity"].searched) == (0.1, 0.99, True)
    assert knobs["retraining"].choices == ("fine-tune", "rewind")
    assert not knobs["rewind"].searched
    ways = {one.backend: one for one in known.executions}
    assert {name for name, way in ways.items() if way.execution == "real"} == {"sparse"}
    assert "no sparse kernel" in ways["onnxruntime"].reason
    source = Path(known.file).read_text().splitlines()
    assert source[known.line - 1].startswith("@technique(")
    text = drawn(known)
    assert "seen: abstract of Han et al." in text
    assert all("recalled, not verified" in line for line in text.splitlines() if "5.96x" in line)
    assert "No stored results of it" in text


def test_execution_is_what_each_backend_says_of_a_net_it_makes():
    ways = {one.backend: one.execution for one in explain("int8").executions}
    assert (ways["onnxruntime"], ways["eager"]) == ("real", "simulated")
    assert {one.execution for one in explain("conditional-deep-learning").executions} == {"real"}


def test_a_third_party_s_technique_explains_itself_the_same_way(mine):
    known = explain("mine", files=[mine])
    assert known.title == "Do nothing at all [really]."
    assert known.paper.idea == "Nothing costs nothing."
    assert {one.execution for one in known.executions} == {"real"}
    assert known.file == str(mine)
    text = drawn(known)
    assert "[really]" in text  # brackets are no markup
    assert "recalled, not verified" in text
    assert "Equations" not in text


def test_a_technique_that_fails_is_explained_and_said_to_fail(mine):
    mine.write_text(mine.read_text().replace("if careful", "if not careful"))
    known = explain("mine", files=[mine.rename(mine.with_name("fails.py"))])
    assert {one.execution for one in known.executions} == {"unknown"}
    assert "RuntimeError: no luck" in drawn(known)


def test_a_technique_that_gives_no_net_is_said_to(mine):
    mine.write_text(mine.read_text().replace("return net", "return 7"))
    known = explain("mine", files=[mine.rename(mine.with_name("seven.py"))])
    assert {one.reason for one in known.executions} == {"mine returned int, not a Net"}


def test_a_claim_without_conditions_is_one_sentence(mine):
    mine.write_text(mine.read_text().replace("; itself; none", ""))
    with pytest.raises(ValueError, match=r"^mine: a claim is written"):
        explain("mine", files=[mine.rename(mine.with_name("claims.py"))])


def test_what_it_reached_is_what_the_boards_say():
    results = make_results()
    rows = list(reached(FAST.technique, [results]))
    by_board = {row.board: row for row in rows}
    assert {row.limit_points for row in rows} == {2.0}
    seconds = by_board["measured seconds per input"]
    assert seconds.ratio.value == pytest.approx(2.0)
    assert seconds.remark.startswith("2.00x faster")
    assert by_board["modelled joules per input (row-stationary)"].ratio.value == pytest.approx(2.0)
    joules = by_board["measured joules per input"]
    assert joules.ratio is None
    assert "joules were not measured here" in joules.remark
    simulated = {row.board: row for row in reached("unstructured-pruning", [results])}
    assert "simulated" in simulated["measured seconds per input"].remark
    assert list(reached("nobody", [results])) == []


def test_other_results_count_where_the_first_know_nothing_and_say_where_they_lie(monkeypatch):
    monkeypatch.setattr(explanation, "executions", lambda technique: ())
    known = msgspec.structs.replace(make_results(), folder="results")
    name = FAST.technique
    assert not explain("int8", otherwise=lambda: [known]).reached
    assert not explain(name).reached
    assert {row.folder for row in explain(name, otherwise=lambda: [known]).reached} == {"results"}
    own = msgspec.structs.replace(make_results(), folder="runs")
    both = explain(name, results=[own], otherwise=lambda: pytest.fail("not asked for"))
    assert {row.folder for row in both.reached} == {"runs"}
    assert "points lost (records in runs)" in drawn(both)


def test_fixed_knobs_and_compositions_count_as_its_own():
    names = ("int8:images=64", "optimal-brain-damage+int8", "int8-like", "point8")
    settings = tuple(replace(FAST, technique=name, tested=False) for name in names)
    results = make_results((SETTINGS[0], *settings))
    assert {row.technique for row in reached("int8", [results]) if row.status != "empty"} == set(names[:2])
    assert {row.technique for row in reached(names[0], [results]) if row.status != "empty"} == {names[0]}


def test_a_name_with_knobs_is_explained_with_them_and_a_composition_is_not(mine):
    known = explain("mine:share=0.2", files=[mine])
    assert known.name == "mine:share=0.2"
    assert [(knob.default, knob.searched) for knob in known.knobs] == [(0.2, False), (False, False)]
    with pytest.raises(ValueError, match="int8 is a composition: explain mine and int8 one by one"):
        explain("mine+int8", files=[mine])


def test_reached_rows_are_drawn(monkeypatch):
    def fail(technique):
        raise explanation.AttemptError("not asked in this test")

    monkeypatch.setattr(explanation, "example", fail)
    known = explanation.explain_technique(load_technique("conditional-deep-learning"), [make_results()])
    text = drawn(known)
    assert "2.00 (2.00 to 2.00)" in text
    assert "suite quick on toy-cpu with at most 2 points" in text
    assert "unknown" in text


@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("row-stationary", "energy model", "Horowitz"),
        ("eager", "backend", "float32"),
        ("rapl", "meter", "package"),
        ("nvml", "meter", "Volta"),
        ("lenet", "net", "Caffe"),
    ],
)
def test_other_words_are_explained_from_their_own_files(name, kind, word):
    known = explain(name)
    assert known.kind == kind
    assert known.title
    assert known.file.endswith(".py")
    text = drawn(known)
    assert word in text
    assert "Reached" not in text
    assert "``" not in text
    assert msgspec.json.decode(msgspec.json.encode(known))["name"] == name


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown name 'magnitud': did you mean 'magnitude'\? Known: .*row-stationary"
    ):
        explain("magnitud")


def test_a_backend_that_is_not_installed_is_one_sentence(monkeypatch):
    from joulemark.vocabulary import TABLES

    monkeypatch.setitem(TABLES["backend"], "odd", "joulemark.backends.nothing_here:Odd")
    with pytest.raises(ValueError, match="the backend 'odd' is not installed here"):
        explain("odd")


def test_paragraphs_join_lines_and_keep_what_is_indented():
    assert paragraphs(None) == ()
    assert paragraphs("One\ntwo.\n\n    a = 1\n      b\n\nThree.\n") == ("One two.", "    a = 1\n      b", "Three.")
