"""An audit from end to end on a small net, its words and its page."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from small_graphs import SHAPE

from joulemark.audit.advice import advice
from joulemark.audit.audit import Audit, audit
from joulemark.audit.images import Preprocessing
from joulemark.audit.page import render_audit
from joulemark.audit.terminal import as_renderables
from joulemark.audit.trying import Tried, Way, ways
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
    from joulemark.audit.subject import Subject

    fixed = Subject("m", b"", None, SHAPE, False, 4)
    assert {way.batch_size for way in ways(fixed, 2)} == {4}
    free = fixed._replace(batch=None)
    assert ways(free, 2)[0] == Way("onnxruntime", (), 1, 1)
    assert not any(way.backend == "eager" for way in ways(free, 2))
