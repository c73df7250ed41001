"""All pages share one head: its policy, and that text is escaped."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

import joulemark
from joulemark.report.template import page_environment

PACKAGE = Path(joulemark.__file__).parent
PAGES = {"report": "page.html", "profiling": "profile.html", "auditing": "audit.html"}


def test_only_the_base_has_a_head():
    heads = [path.name for path in PACKAGE.glob("**/*.html") if "<head>" in path.read_text(encoding="utf-8")]
    assert heads == ["base.html"]


@pytest.mark.parametrize(("room", "page"), PAGES.items())
def test_every_page_extends_it(room, page):
    source = (PACKAGE / room / page).read_text(encoding="utf-8")
    assert source.startswith('{% extends "base.html" %}')
    loader = page_environment(f"joulemark.{room}").loader
    assert {page, "base.html"} <= set(loader.list_templates())


def test_the_base_alone_forbids_everything():
    text = page_environment("joulemark.report").get_template("base.html").render()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1)
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_text_is_escaped_and_an_unknown_name_is_an_error():
    environment = page_environment("joulemark.report")
    assert environment.from_string("{{ text }}").render(text="<b>") == "&lt;b&gt;"
    with pytest.raises(jinja2.UndefinedError, match="'text' is undefined"):
        environment.from_string("{{ text }}").render()
