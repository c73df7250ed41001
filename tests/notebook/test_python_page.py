"""Every example of docs/python.md gives what it says, and the page has one for each public name."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import torch

import joulemark
from joulemark import vocabulary

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_example_gives_what_it_says(monkeypatch):
    monkeypatch.setattr(vocabulary, "_registered", {})
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for number, block in enumerate(BLOCKS):
        test = doctest.DocTestParser().get_doctest(block, names, f"block {number}", str(PAGE), 0)
        told: list[str] = []
        doctest.DocTestRunner(verbose=False).run(test, out=told.append, clear_globs=False)
        names = test.globs
        assert not told, "".join(told)


@pytest.mark.parametrize("name", joulemark.__all__)
def test_every_public_name_has_an_example(name):
    assert f"joulemark.{name}" in "".join(BLOCKS)
