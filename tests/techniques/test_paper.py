"""Sections of a docstring: what is read, what is refused, and that all of ours are written so."""

import importlib

import pytest

from joulemark.techniques.paper import Claim, read_claim, read_paper
from joulemark.vocabulary import TABLES

WRITTEN = """Half the work: do every second
thing.

Reference:
    A. Nobody, "Halves",
    NIPS 1900.

Claims:
    - 2x faster; LeNet, seconds; the whole; none [seen: abstract]
    - 3x smaller (of 1,000); LeNet on MNIST, bytes; the whole;
      1 point; of 100 [recalled]

Prose of no section: it is not read.

Equations:
    y = x / 2
        if x is even

    z = y
Idea:
    Things are alike. So half of
    them will do.
"""


def test_every_section_is_read_in_any_order():
    paper = read_paper(WRITTEN)
    assert paper.title == "Half the work: do every second thing."
    assert paper.idea == "Things are alike. So half of them will do."
    assert paper.equations == ("y = x / 2", "    if x is even", "z = y")
    assert paper.reference == 'A. Nobody, "Halves", NIPS 1900.'
    first, second = paper.claims
    assert first == Claim(
        figure="2x faster",
        metric="LeNet, seconds",
        baseline="the whole",
        accuracy="none",
        mark="seen",
        where="abstract",
    )
    assert (second.accuracy, second.mark, second.verified) == ("1 point; of 100", "recalled", False)
    assert first.verified


@pytest.mark.parametrize("text", ["", "One sentence.", "One sentence.\n\nAnd prose: more.\n\n    x = 1"])
def test_a_docstring_without_sections_has_none(text):
    paper = read_paper(text)
    assert paper.title == text.partition("\n")[0]
    assert (paper.idea, paper.equations, paper.claims, paper.reference) == (None, (), (), None)


@pytest.mark.parametrize(
    "text",
    [
        "9x smaller [seen: abstract]",  # of what, than what, at which accuracy
        "9x smaller; AlexNet, bytes; the dense net [seen: abstract]",
        "9x smaller; AlexNet, bytes; the dense net; none",  # who says so
        "9x smaller; AlexNet, bytes; the dense net; none [seen]",  # where
        "9x smaller; AlexNet, bytes; the dense net; none [known]",
        "9x smaller; AlexNet, bytes; the dense net; none [recalled: abstract]",
    ],
)
def test_a_claim_without_its_conditions_is_refused(text):
    with pytest.raises(ValueError, match="a claim is written 'figure; metric; baseline; accuracy"):
        read_claim(text)


@pytest.mark.parametrize(
    "line",
    [
        "* 9x smaller; AlexNet, bytes; the dense net; none [recalled]",
        "It is nine times smaller.",
        "-9x smaller; AlexNet, bytes; the dense net; none [recalled]",
    ],
)
def test_what_is_no_claim_is_refused_and_not_dropped(line):
    good = "- 2x faster; LeNet, seconds; the whole; none [recalled]"
    for lines in ([line], [line, good], [good, line]):
        text = "Do less.\n\nClaims:\n" + "".join(f"    {one}\n" for one in lines)
        with pytest.raises(ValueError, match='under "Claims:" begins with "- "'):
            read_paper(text)


@pytest.mark.parametrize("name", TABLES["technique"])
def test_each_of_ours_tells_its_idea_equations_and_reference(name):
    paper = read_paper(importlib.import_module(TABLES["technique"][name]).__doc__)
    assert paper.idea is not None
    assert 1 <= paper.idea.count(". ") + 1 <= 2  # two sentences at most
    assert paper.equations
    assert paper.reference
    assert paper.title.endswith(".")
    assert all(len(line) <= 116 for line in paper.equations)
