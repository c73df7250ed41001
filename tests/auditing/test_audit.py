"""An audit from end to end on a small net, its words and its page."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest
from rich.console import Console
from small_graphs import SHAPE

from joulemark.auditing.advice import advice
from joulemark.auditing.audit import Audit, audit
from joulemark.auditing.audit_page import render_audit
from joulemark.auditing.audit_text import as_renderables
from joulemark.auditing.images import Preprocessing
from joulemark.auditing.integers import quantised
from joulemark.auditing.subject import open_subject
from joulemark.auditing.trying import Tried, Way, ways
from joulemark.record import Agreement, Kind, Quantity, Ratio


@pytest.fixture(scope="module")
def audited(tmp_path_factory) -> Audit:
    path = tmp_path_factory.mktemp("images") / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((80, *SHAPE), dtype=np.float32))
    return audit("small_graphs:build", path, how=Preprocessing(), minutes=0.15)


def test_an_audit_has_its_parts(audited):
    assert audited.workload.macs_per_input == 8 * 36 * 27 + 8 * 36 * 9 + 72 * 5
    assert audited.energy.joules.kind is Kind.MODELLED
    assert audited.tried[0].control
    done = [one for one in audited.tried if one.ratio is not None]
    assert done, [one.reason for one in audited.tried]
    assert all(one.reason for one in audited.tried if one.ratio is None)
    fp32 = [one for one in done if one.precision == "fp32" and one.agreement is not None]
    assert all(one.agreement.same_class == 1.0 for one in fp32)
    assert all(one.agreement.largest_relative < 1e-4 for one in fp32)
    assert msgspec.json.decode(msgspec.json.encode(audited), type=Audit) == audited


def test_its_words_claim_no_saving(audited):
    page = render_audit(audited)
    text = audited.advice + page
    for word in ("saves energy", "kWh", "CO2", "FLOP"):
        assert word not in text
    assert "modelled" in page
    assert len(list(as_renderables(audited))) >= 4


def test_the_page_escapes_and_asks_nothing(audited):
    page = render_audit(msgspec.structs.replace(audited, net="<script>alert(1)</script>"))
    assert "<script" not in page
    assert "http://" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page


def made(title, ratio, **changes):
    low, value, high = ratio
    return Tried(
        title=title, backend="onnxruntime", options=(), threads=1, precision=changes.pop("precision", "fp32"),
        batch_size=changes.pop("batch_size", 1), control=changes.pop("control", False),
        ratio=Ratio(value=value, low=low, high=high, count=8), **changes,
    )  # fmt: skip


NEAR = Agreement(
    images=200,
    same_class=0.975,
    low=0.943,
    high=0.989,
    largest_difference=1.0,
    mean_relative=0.02,
    largest_relative=0.3,
)


def test_advice_names_only_what_was_measured_to_be_faster():
    control = made("one", (0.95, 1.0, 1.05), control=True)
    noise = made("noise", (1.01, 1.04, 1.07))
    two = made("two threads", (1.5, 1.6, 1.7))
    int8 = made("int8", (1.9, 2.0, 2.1), precision="int8", agreement=NEAR)
    text = advice([control, noise, two, int8], (), images="folder")
    assert "In float32 the quickest answer comes from two threads: 1.60 (1.50 to 1.70) times as fast" in text
    assert "the same class on 97.5% of 200 images (95 %: 94.3% to 98.9%)" in text
    assert "Joules were not measured here" in text
    assert "nothing that was tried answers faster" in advice([control, noise], (), images="folder")
    assert "Nothing but the baseline itself was measured" in advice([control], (), images="folder")
    assert "cannot be said from random inputs" in advice([control, int8], (), images=None)


def test_float32_is_not_spoken_of_where_only_integers_were_tried():
    control = made("one", (0.95, 1.0, 1.05), control=True)
    text = advice([control, made("int8", (1.9, 2.0, 2.1), precision="int8", agreement=NEAR)], (), images="folder")
    assert "In float32 nothing but the baseline itself was measured" in text
    assert "answers faster" not in text


def test_a_certain_slowdown_is_called_slower():
    control = made("one", (0.98, 1.0, 1.02), control=True)
    for ratio, words in [
        ((0.67, 0.68, 0.68), "int8): 0.68 (0.67 to 0.68) times as fast, which is slower"),
        ((0.97, 0.98, 0.99), "which is no gain that the noise here leaves sure"),  # the control reaches down to 0.98
        ((1.9, 2.0, 2.1), "int8): 2.00 (1.90 to 2.10) times as fast;"),
    ]:
        text = advice([control, made("int8", ratio, precision="int8", agreement=NEAR)], (), images="folder")
        assert words in text
        assert ("slower" in text) is ("slower" in words)


def test_a_quantised_file_is_not_called_float32(tmp_path):
    rows = np.random.default_rng(0).standard_normal((8, *SHAPE), dtype=np.float32)
    made_from = open_subject("small_graphs:build", None)
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantised(made_from.graph, rows))
    subject = open_subject(str(path), None)
    assert (made_from.precision, subject.precision) == ("fp32", "int8")
    assert not any(way.integers for way in ways(subject, 2))
    control = made("one", (0.98, 1.0, 1.02), control=True, precision="int8")
    text = advice([control, made("two", (1.5, 1.6, 1.7), precision="int8")], (), images="folder")
    assert text.startswith("In the file's own eight-bit integers the quickest answer comes from two")
    assert "float32" not in text and "Eight-bit" not in text
    np.save(tmp_path / "x.npy", rows)
    found = audit(str(path), tmp_path / "x.npy", how=Preprocessing(), minutes=0.02)
    assert {one.precision for one in found.tried} == {"int8"}
    assert any("The file is quantised already" in note for note in found.notes)


@pytest.mark.parametrize(
    ("images", "words"), [(1, "the very image that set their ranges"), (40, "the half that did not")]
)
def test_few_images_are_said(tmp_path, images, words):
    np.save(tmp_path / "x.npy", np.ones((images, *SHAPE), np.float32))
    found = audit("small_graphs:build", tmp_path / "x.npy", how=Preprocessing(), minutes=0.02)
    (note,) = (note for note in found.notes if "eight-bit integers are compared" in note)
    assert words in note


def test_modelled_joules_stand_with_their_assumptions_in_the_terminal(audited):
    console = Console(width=4000, file=io.StringIO())
    for part in as_renderables(audited):
        console.print(part)
    assert audited.energy.assumptions
    said = " ".join(console.file.getvalue().split())
    assert all(" ".join(text.split()) in said for text in audited.energy.assumptions)


def test_a_batch_is_advised_only_if_it_beats_single_inputs():
    control = made("one thread", (0.98, 1.0, 1.02), control=True)
    single = made("two threads", (1.80, 1.85, 1.91))
    for value, advised in (((1.67, 1.69, 1.72), False), ((2.4, 2.5, 2.6), True)):
        text = advice([control, single, made("a batch of 64", value, batch_size=64)], (), images="folder")
        assert ("highest throughput comes from" in text) is advised


def test_joules_are_claimed_only_with_their_interval():
    joules = Quantity(value=1.0, unit="J/input", kind=Kind.MEASURED, method="m", scope="s", source="s")
    two = made("two", (1.5, 1.6, 1.7), joules=joules, joules_ratio=Ratio(value=1.1, low=0.9, high=1.3, count=4))
    assert "None of them uses measurably fewer joules" in advice([two], (), images="folder")


def test_ways_keep_to_a_fixed_batch(tmp_path):
    from joulemark.auditing.subject import Subject

    fixed = Subject("m", b"", None, SHAPE, False, 4)
    assert {way.batch_size for way in ways(fixed, 2)} == {4}
    free = fixed._replace(batch=None)
    assert ways(free, 2)[0] == Way("onnxruntime", (), 1, 1)
    assert not any(way.backend == "eager" for way in ways(free, 2))
