"""An audit as a page: the same figures as in the terminal, escaped, with no script and no request."""

from __future__ import annotations

import re

import msgspec
import pytest
from made_audit import NEAR, layer, made, made_audit, timed

from joulemark.auditing.audit_page import render_audit
from joulemark.auditing.audit_text import cells
from joulemark.check.prose import visible_words

EVIL = "<script>alert(1)</script>"
WAYS = (
    timed("one thread", (0.98, 1.0, 1.02), control=True),
    timed("two threads", (1.5, 1.6, 1.7), agreement=NEAR),
    made("bf16", None, reason="no kernel"),
)


def cells_of(page, number):
    """The texts of one of its tables, row by row."""
    body = page.split("<tbody>")[number + 1].partition("</tbody>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, flags=re.DOTALL)
    return [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows
    ]


@pytest.mark.parametrize(
    "audit",
    [
        made_audit(*WAYS, net=EVIL, inputs=EVIL, baseline=EVIL, advice=EVIL, notes=(EVIL,)),
        made_audit(made(EVIL, None, reason=EVIL), layers=[layer(EVIL, 1.0, EVIL)]),
    ],
)
def test_the_page_escapes_and_asks_nothing(audit):
    page = render_audit(audit)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "http://" not in page.replace("http-equiv", "") and "https://" not in page
    assert "default-src 'none'" in page


def test_the_ways_stand_there_as_in_the_terminal():
    page = render_audit(made_audit(*WAYS))
    assert cells_of(page, 0) == [list(cells(one, random=False)) for one in WAYS]
    assert page.count('<tr class="dim">') == 1  # what was not measured


def test_the_layers_stand_there_with_bars_of_their_shares():
    page = render_audit(made_audit(*WAYS))
    assert [row[:5] for row in cells_of(page, 1)] == [
        ["conv1", "conv", "100", "3.00 µJ", "75.0%"],
        ["fc1", "linear", "50", "1.00 µJ", "25.0%"],
    ]
    assert re.findall(r'style="width: ([0-9.]+)px"', page) == ["120.0", "40.0"]


def test_it_says_what_is_modelled_what_it_rests_on_and_what_was_not_measured():
    audit = made_audit(*WAYS, notes=("A note.",))
    work = msgspec.structs.replace(audit.workload, unknown={"aten.fft": 0.25})
    words = " ".join(visible_words(render_audit(msgspec.structs.replace(audit, workload=work))).split())
    for told in (
        "toy-model: 4.00 µJ per input, modelled for an accelerator, not measured and not this machine.",
        "It describes 80% of the MACs. No rule for aten.fft (25.0% of all output elements).",
        "Joules were not measured (no energy counter was read).",
        "1,234,567 MACs per input of 1x8x8. 80 inputs: folder, as it is. Toy CPU 3000, 2 cores. It took 62 s.",
        "weights fit the buffer", "Someone 2016", "Do this.", "A note.",
    ):  # fmt: skip
        assert told in words


def test_notes_are_loud_where_inputs_were_noise():
    note = "NO IMAGES WERE GIVEN."
    assert f'<p class="loud">{note}</p>' in render_audit(made_audit(*WAYS, random=True, notes=(note,)))
    assert f'<p class="dim">{note}</p>' in render_audit(made_audit(*WAYS, notes=(note,)))


def test_random_inputs_say_nothing_of_outputs_on_the_page_too():
    assert "97.5%" in render_audit(made_audit(*WAYS))
    assert "97.5%" not in render_audit(made_audit(*WAYS, random=True))


def test_an_audit_of_nothing_still_renders():
    page = render_audit(made_audit(layers=()))
    assert cells_of(page, 0) == cells_of(page, 1) == []
    assert "toy-model: unknown per input" in page


def test_the_page_is_the_same_each_time():
    assert render_audit(made_audit(*WAYS)) == render_audit(made_audit(*WAYS))
