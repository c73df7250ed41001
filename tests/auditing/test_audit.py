"""An audit from end to end on a small net, its words and its page."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from small_graphs import SHAPE

from joulemark.auditing.audit import Audit, audit
from joulemark.auditing.audit_page import render_audit
from joulemark.auditing.audit_text import as_renderables
from joulemark.auditing.images import Preprocessing
from joulemark.auditing.integers import quantised
from joulemark.auditing.subject import open_subject
from joulemark.auditing.trying import Way, ways
from joulemark.record import Kind


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


def test_a_quantised_file_is_not_called_float32(tmp_path):
    rows = np.random.default_rng(0).standard_normal((8, *SHAPE), dtype=np.float32)
    made_from = open_subject("small_graphs:build", None)
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantised(made_from.graph, rows))
    subject = open_subject(str(path), None)
    assert (made_from.precision, subject.precision) == ("fp32", "int8")
    assert not any(way.integers for way in ways(subject, 2))
    np.save(tmp_path / "x.npy", rows)
    found = audit(str(path), tmp_path / "x.npy", how=Preprocessing(), minutes=0.02)
    assert {one.precision for one in found.tried} == {"int8"}
    assert "float32" not in found.advice
    assert any("The file is quantised already" in note for note in found.notes)


@pytest.mark.parametrize(
    ("images", "words"), [(1, "the very image that set their ranges"), (40, "the half that did not")]
)
def test_few_images_are_said(tmp_path, images, words):
    np.save(tmp_path / "x.npy", np.ones((images, *SHAPE), np.float32))
    found = audit("small_graphs:build", tmp_path / "x.npy", how=Preprocessing(), minutes=0.02)
    (note,) = (note for note in found.notes if "eight-bit integers are compared" in note)
    assert words in note


def test_ways_keep_to_a_fixed_batch(tmp_path):
    from joulemark.auditing.subject import Subject

    fixed = Subject("m", b"", None, SHAPE, False, 4)
    assert {way.batch_size for way in ways(fixed, 2)} == {4}
    free = fixed._replace(batch=None)
    assert ways(free, 2)[0] == Way("onnxruntime", (), 1, 1)
    assert {way.options for way in ways(free, 2) if way.backend == "openvino"} == {(), ("static",), ("bf16",)}
    assert not any(way.backend == "eager" for way in ways(free, 2))
