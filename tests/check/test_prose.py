"""The words that a person reads in a file, and nothing that is only mentioned in it or that no one sees."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.check.claims import unbacked
from joulemark.check.prose import (
    CODE,
    COMMENT,
    FENCE,
    QUOTE,
    blank,
    blocks,
    read_words,
    script_strings,
    seen,
    shown_strings,
    visible_words,
)


def claims(text: str) -> list[str]:
    return [one.claim for one in unbacked(text, {})]


def paragraphs(words: str) -> list[str]:
    return [" ".join(one.split()) for one in words.split("\n\n") if one.strip()]


def test_a_page_is_read_as_a_person_sees_it():
    page = """<html><head><title>Fast</title><style>.a { content: "saves energy" }</style></head><body>
    <p>It <b>saves</b> energy</p><p>CO<sub>2</sub></p><img alt="5 kWh"><code>saves energy</code>
    <script>let x = "saves energy"</script>
    <script type="application/json">{"title": "energy savings", "n": [1, {"t": "none"}]}</script></body></html>"""
    assert claims(visible_words(page)) == ["saved energy", "carbon", "watt-hours", "saved energy"]


def test_strings_of_a_program_are_read_without_docstrings():
    source = '"""saves energy"""\ndef f(x):\n    """saves energy"""\n    return f"{x} kWh"\n'
    assert claims(shown_strings(source)) == ["watt-hours"]
    assert claims(shown_strings('x = f"It saves {a} " + "energy"')) == ["saved energy"]
    assert claims(shown_strings("x = f'{[\"saves energy\"]} or {1}'")) == ["saved energy"]
    technique = '@technique("mine")\ndef mine():\n    """It saves energy."""'
    assert claims(shown_strings(technique)) == ["saved energy"]  # `joulemark explain` shows it


def test_strings_of_a_script_are_read_without_comments():
    source = """// saves energy
    /* 5 kWh */ let a = "It saves " + 'nothing', b = `it saves ${x} energy`, c = 'less CO2'"""
    assert claims(script_strings(source)) == ["saved energy", "carbon"]


def test_text_of_a_page_is_no_markdown():
    assert claims(visible_words("<p>```</p><p>It saves energy.</p>")) == ["saved energy"]
    assert claims(visible_words("<p>&lt;!-- It saves energy. --&gt;</p>")) == ["saved energy"]
    assert claims(visible_words("<p>A <code>x` y</code> here</p><p>saves energy, ` too</p>")) == ["saved energy"]
    assert claims(visible_words("<p>The words <q>saves energy</q> are a mention.</p><q><p>saves energy")) != []


def test_a_page_keeps_titles_labels_and_comments_and_loses_scripts():
    page = (
        "<title>One</title><meta name=description content='Two'><img alt='Three'><a title='Four' aria-label='Five'>Six"
        "</a><script>let x = 'no'</script><style>p { color: no }</style><p>Seven <!-- measured: a1 -->"
    )
    assert paragraphs(visible_words(page)) == [
        "One", "Two", "Three", "Four", "Five", "Six", "Seven <!-- measured: a1 -->",
    ]  # fmt: skip


def test_words_of_one_line_stay_together_and_blocks_part():
    page = "<p>a<b>b</b><sub>2</sub> c</p><p>d<br>e</p><ul><li>f<li>g</ul><table><td>h<td>i</table>"
    assert paragraphs(visible_words(page)) == ["ab2 c", "d", "e", "f", "g", "h", "i"]


def test_code_of_a_page_parts_words_and_is_not_read():
    assert visible_words("a<code>x</code>b<kbd>y</kbd>c").split() == ["a", "b", "c"]
    assert visible_words("<pre>x <code>y</code> z</pre>w").split() == ["w"]


def test_strings_of_a_data_block_are_read_however_deep_and_a_placeholder_as_it_stands():
    block = '<script type="application/json">%s</script>'
    assert paragraphs(visible_words(block % '{"key": ["a", {"b": "c <b>d</b>"}], "n": [1, null, true]}')) == [
        "a", "c d",
    ]  # fmt: skip
    assert paragraphs(visible_words(block % "{{ data }}")) == ["{{ data }}"]
    assert visible_words('<script type="module">"a"</script>') == "\n\n\n\n"


def test_a_quotation_of_a_page_is_marked_as_one():
    assert visible_words("he <q>says</q> so") == "he “says” so"


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=40))
def test_escaped_words_are_read_as_they_look(words):
    read = visible_words(f"<p>{html.escape(words)}</p>")
    plain = words.translate(str.maketrans("`<~|", "'\u2039 /"))
    assert read.split() == plain.split()


def test_values_of_a_string_are_sevens_and_what_is_joined_is_one():
    assert shown_strings('x = f"a {b} c" + "d" + e') == "a 7 cd7"
    assert shown_strings('x = a + "b"') == "7b"
    assert shown_strings("x = a + b") == ""
    assert shown_strings('x = "a" "b"') == "ab"
    assert shown_strings('x = {"k": ["v"]}\ny = b"raw"') == "k\n\nv"


@pytest.mark.parametrize("head", ["def f():", "async def f():", "class C:"])
def test_docstrings_are_told_to_nobody_but_by_a_technique(head):
    source = f'"""module"""\n{head}\n    """inner"""\n    x = "kept"\n'
    assert shown_strings(source) == "kept"


@pytest.mark.parametrize("decorator", ["@technique", "@technique('a')", "@joulemark.technique(name)"])
def test_a_technique_is_known_by_the_last_name_of_its_decorator(decorator):
    found = shown_strings(f'{decorator}\ndef mine():\n    """shown"""\n')
    assert "shown" in found.split()
    assert "shown" not in shown_strings('@other.thing\ndef mine():\n    """shown"""\n')


def test_strings_of_a_script_keep_what_looks_like_a_comment_and_know_all_three_marks():
    assert script_strings("a = 'http://x'; // 'no'\nb = \"it's\"; c = `${n} of ${m}`; d = '\\'e'") == (
        "http://x\n\n\n\nit's\n\n7 of 7\n\n\\'e"
    )
    assert script_strings("let a = 1") == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.md", "`x` *y* <b>", "`x` *y* <b>"),
        ("a.toml", 'title = "x"', 'title = "x"'),
        ("a.html", "<i>x</i>", "x"),
        ("a.PY", 'x = "y"', "y"),
        ("a.js", "'x' // y", "x\n\n"),
    ],
)
def test_a_file_is_read_by_its_ending(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    assert read_words(tmp_path / name) == words


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.md is not a text in UTF-8$"):
        read_words(tmp_path / "a.md")
    (tmp_path / "a.py").write_text("x = 1\ndef (:\n")
    with pytest.raises(ValueError, match=r"a\.py is no Python: .*, line 2$"):
        read_words(tmp_path / "a.py")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("sa\u00adves en\u200bergy", "saves energy"),
        ("CO\u2082, \uff2b\uff37h", "CO2, KWh"),
        ("break\u2011even, break\u2010even", "break-even, break-even"),
        ("1\u00a0kWh", "1 kWh"),
        ("", ""),
    ],
)
def test_letters_are_read_in_one_form(text, form):
    assert seen(text) == form


@given(st.text())
def test_reading_adds_and_takes_no_line(text):
    assert seen(text).count("\n") == text.count("\n")


@given(st.text(st.sampled_from("ab \n`|-#*.1>\\"), max_size=60))
def test_a_block_stands_where_it_says_with_nothing_changed_but_what_is_blanked(text):
    for place, block in blocks(text):
        stands = text[place : place + len(block)]
        assert len(stands) == len(block)
        assert all(one in (other, " ") for one, other in zip(block, stands, strict=True))
        assert [m.start() for m in re.finditer("\n", block)] == [m.start() for m in re.finditer("\n", stands)]


def read(text: str) -> list[str]:
    return [found for _, block in blocks(text) if (found := " ".join(block.split()))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("a\nb\n\nc\n \t\nd", ["a b", "c", "d"]),
        ("a\n- b\n* c\n1. d\n# e", ["a", "- b", "* c", "1. d", "# e"]),
        ("a\n-b", ["a -b"]),
        ("| a | b |\n|---|---|\n| c\\|d | e |", ["a", "b", "---", "---", "c\\|d", "e"]),
        ("a | b", ["a", "b"]),
        ("> a\n> > b", ["a b"]),
        ("a `b` c ``d ` e`` f", ["a c f"]),
        ("a `b | c` d", ["a d"]),  # no cells: it is no row
        ("a `b\n\nc` d", ["a `b", "c` d"]),
        ("| `a | b` |", ["`a", "b`"]),
    ],
)
def test_blocks_by_hand(text, found):
    assert read(text) == found


@pytest.mark.parametrize(
    ("pattern", "text", "left"),
    [
        (FENCE, "a\n```sh\nb\n```\nc", "a c"),
        (FENCE, "a\n~~~\nb\n```\n~~~~\nc", "a c"),
        (FENCE, "a\n```\nb", "a"),
        (FENCE, "a ``` b", "a ``` b"),
        (FENCE, "````\n```\na\n````\nb", "b"),
        (CODE, "a ``b ` c`` d", "a d"),
        (CODE, "a ``b` c", "a ``b` c"),
        (COMMENT, "a <!-- b\nc --> d <!-- e --> f", "a d f"),
        (QUOTE, 'a "b c" d “e” f «g» h', "a d f h"),
        (QUOTE, 'a 5" b c 6" d', 'a 5" b c 6" d'),
        (QUOTE, 'a " b " c', 'a " b " c'),
    ],
)
def test_what_is_only_mentioned_is_blanked(pattern, text, left):
    blanked = pattern.sub(blank, text)
    assert " ".join(blanked.split()) == left
    assert len(blanked) == len(text) and blanked.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    print("It saves energy.")\n',
        'y = "a" + ("It saves energy." if x else "")\n',
        'y = "a" + f("It saves energy.") + "b"\n',
        'class A:\n    note("It saves energy.")\n',
    ],
)
def test_strings_in_calls_and_sums_are_read(source):
    assert "It saves energy." in shown_strings(source)
