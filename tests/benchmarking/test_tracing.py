"""The roots of a trace: all that the names in nets, task and suite lead to, parts of parts included."""

from __future__ import annotations

from tiny import tiny_suite

from joulemark.benchmarking.tracing import asked, judges, key_of, making_roots, modules_of
from joulemark.judging.trace import trace
from joulemark.nets.header import Exit, Format, Route
from joulemark.nets.net import Net
from joulemark.record import content_key
from joulemark.techniques.technique import load_technique

LENET = "joulemark.nets.builders.lenet"
INTEGER = "joulemark.nets.layers.integer"


def net(**changes) -> Net:
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.1).replace(**changes)


def test_the_names_in_a_net_lead_to_their_modules():
    form = Format(weight_bits=8, activation_bits=8)
    assert modules_of([net()]) == {LENET}
    edited = net(edits=({"edit": "fire", "layer": "x"},), formats={"x": form})
    assert modules_of([net(), edited]) == {LENET, INTEGER, "joulemark.nets.edits.fire"}
    route = Route(kind="cascade", order=("a", "b"), exits=(Exit(after="a", router="onward", threshold=0.0),))
    inner = Net(builder="", input_shape=(1, 28, 28), route=route, parts={"a": net(formats={"x": form}), "b": net()})
    assert modules_of([inner]) == {LENET, INTEGER, "joulemark.nets.routers.onward"}
    outer = Net(builder="", input_shape=(1, 28, 28), route=route, parts={"a": net(), "b": inner})
    assert modules_of([outer]) == modules_of([inner])


def test_a_technique_is_traced_with_its_file_and_guides_and_no_other(open_session):
    session = open_session(tiny_suite())
    units = trace(making_roots(session, [load_technique("int8")]))
    assert {"joulemark.techniques.precision.int8", "joulemark.training.loop", "joulemark.backends.eager"} <= set(units)
    assert not [unit for unit in units if unit.startswith("joulemark.techniques.pruning")]
    assert "joulemark.backends.onnx" not in units
    assert "joulemark.benchmarking.trial" not in units
    assert set(trace(making_roots(session, []))) < set(units)


def test_what_judges_is_what_the_suite_names(open_session):
    session = open_session(tiny_suite())
    assert "joulemark.judging.metrics.accuracy" in judges(session)
    assert "joulemark.backends.eager" in judges(session)
    assert asked(session) == ["joulemark.data", "joulemark.data.mnist5k", LENET]


def test_a_key_says_inputs_and_code():
    code = {"joulemark.training.loop": "0" * 16}
    assert key_of("a" * 16, code) == f"{'a' * 16}-{content_key(code)[:8]}"
    assert key_of("a" * 16, code) != key_of("a" * 16, {"joulemark.training.loop": "1" * 16})
