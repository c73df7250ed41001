"""docs/own-nets.md lists what a task file may define, and quotes only sentences that the program can say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from joulemark.benchmarking.own_task import FUNCTIONS, VALUES
from joulemark.check.prose import shown_strings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-nets.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in PAGE.split("\n## ")}
DEFINED, SENTENCES = SECTIONS["What a task file may define"], SECTIONS["Sentences you may meet"]
SAID = [re.sub(r"\s+", " ", shown_strings(path.read_text())) for path in (ROOT / "src" / "joulemark").rglob("*.py")]
QUOTED = re.findall(r"^\| `(.*?)` \| ", SENTENCES, re.MULTILINE)
VALUE = re.compile(r"mine\.py|net\.pth|cuda:0|\bp7\b|\w+\(\)|\d+")
"""What stands for a value in a quoted sentence."""


def test_the_table_has_every_name():
    listed = re.findall(r"^\| `(\w+)", DEFINED, re.MULTILINE)
    assert sorted(listed) == sorted((*FUNCTIONS, *VALUES))


@pytest.mark.parametrize("sentence", QUOTED)
def test_a_quoted_sentence_is_in_the_program(sentence):
    fragments = [one.strip() for one in re.split(r"7|\.\.\.", VALUE.sub("7", sentence)) if len(one.strip()) > 3]
    assert fragments and any(all(one in said for one in fragments) for said in SAID), fragments


def test_sentences_are_quoted():
    assert len(QUOTED) > 10
