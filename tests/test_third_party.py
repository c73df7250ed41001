"""A package of somebody else adds one of everything: one file and one line of its entry points each."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
import torch

from joulemark import testing
from joulemark.backends.backend import simulated
from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.judging.losses import pooled_loss
from joulemark.judging.truths import score_of_logits, truth_record
from joulemark.nets.header import Exit, Format, Route
from joulemark.nets.net import Net
from joulemark.techniques.technique import load_technique
from joulemark.vocabulary import GROUPS, names
from joulemark.workloads.recording import record

FILES = {
    "steps": '''
        """A kind of layer: weights are multiples of 1/64."""
        import torch
        from joulemark.nets.layers.layer import LayerKind, StandIn

        class Steps(StandIn):
            needs = "steps"

            def forward(self, x):
                rounded = (self.weight.detach() * 64).round() / 64
                return torch.nn.functional.linear(x, self.weight + (rounded - self.weight.detach()), self.bias)

        STEPS = LayerKind(
            trained=lambda layer, form: Steps(layer), deployed=lambda layer, form: Steps(layer),
            needs=lambda form: "steps",
        )
    ''',
    "surest": '''
        """A router: leave where the largest output is above the threshold."""
        from joulemark.nets.routers.router import Router

        class Surest(Router):
            def __init__(self, threshold, share=1.0):
                super().__init__()
                self.threshold = threshold * share

            def forward(self, carry, logits):
                return logits.softmax(1).amax(1) < self.threshold
    ''',
    "two_layers": '''
        """A builder: two linear layers."""
        from collections import OrderedDict
        from torch import nn
        INPUT_SHAPE = (1, 28, 28)

        def two_layers(hidden=20):
            return nn.Sequential(OrderedDict(
                first=nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ReLU()), last=nn.Linear(hidden, 10)))
    ''',
    "silence": '''
        """An edit: a layer without bias."""
        def silence(module, *, layer):
            module.get_submodule(layer).bias = None
    ''',
    "coarse": '''
        """A metric: the share of rows whose class is right but for its last bit."""
        from joulemark.judging.metrics.right_rows import largest, share_of_right_rows

        coarse = share_of_right_rows(
            name="coarse", title="coarse accuracy", keep=largest,
            right=lambda true, predicted: true // 2 == predicted // 2)
    ''',
    "wider": '''
        """A technique: as many epochs as there are, with whatever loss."""
        import joulemark

        @joulemark.technique("wider", paper="Them 2026", family="test")
        def wider(net, bench):
            """Train on."""
            return bench.fit(net, epochs=1)
    ''',
}
ENTRIES = {
    "kind of layer": "steps = theirs.steps:STEPS",
    "router": "surest = theirs.surest:Surest",
    "builder": "two-layers = theirs.two_layers:two_layers",
    "edit": "silence = theirs.silence:silence",
    "technique": "wider = theirs.wider",
    "metric": "coarse = theirs.coarse:coarse",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package, installed: its files, and the metadata that an installer writes beside them."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("")
    for name, text in FILES.items():
        (tmp_path / "theirs" / f"{name}.py").write_text(textwrap.dedent(text))
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "".join(f"[{GROUPS[kind]}]\n{line}\n" for kind, line in ENTRIES.items())
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("package")
def test_one_file_each_is_enough():
    for kind, line in ENTRIES.items():
        name, _, where = line.partition(" = ")
        assert names(kind)[name] == where
    net = Net.new("two-layers", (1, 28, 28), seed=0, hidden=16)
    net = net.replace(edits=({"edit": "silence", "layer": "last"},))
    net = net.replace(state={name: tensor for name, tensor in net.state.items() if name != "last.bias"})
    net = net.replace(formats={"first.1": Format(kind="steps")})
    exits = (Exit(after="first", router="surest", threshold=0.2, features=16, classes=10, options={"share": 0.6}),)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blank = net.replace(state={}, route=Route(kind="exits", exits=exits))
        whole = blank.with_state(blank.module())
    again = Net.from_bytes(whole.to_bytes())
    x = torch.randn(50, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again.module().run(x), whole.module().run(x))
    assert again.needs() == {"steps", "route"}
    for one in (Eager(), OnnxRuntime()):
        assert simulated(again, one) == f"{one.title} has no kernel for steps: what that saves is simulated"
        found = one.compile(again, threads=1).run(x.numpy())
        torch.testing.assert_close(torch.from_numpy(found.copy()), whole.module().run(x).detach(), rtol=0, atol=1e-4)
    workload = record(again.module(), x)
    reached = [one.rows for one in workload.operations if one.layer == "last"]
    assert 0 < sum(reached) < 50
    module = again.module(training=True)
    module(x).sum().backward()
    assert module.get_parameter("first.1.weight").grad.abs().sum() > 0


@pytest.mark.usefixtures("package")
def test_their_metric_scores_and_bounds_as_ours_do():
    labels = np.arange(40) % 10
    truth = truth_record("t", "k", "validation", labels, classes=10)
    logits = np.eye(10, dtype=np.float32)[labels ^ 1]  # every class off by its last bit
    score = score_of_logits(logits, truth, "coarse")
    assert (score.metric, score.value) == ("coarse", 1.0)
    assert score_of_logits(logits, truth, "accuracy").value == 0.0
    loss, bound = pooled_loss([score], [score], {truth.key: truth})
    assert loss == 0.0 <= bound


@pytest.mark.usefixtures("package")
def test_their_technique_is_checked_as_ours_are():
    testing.check_technique(load_technique("wider"))
    testing.check_technique(load_technique("wider"), net="two-layers")
