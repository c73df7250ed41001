"""Masked layers: both faces agree, gathering is undone, and only what is active is counted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from joulemark.nets.layers.masked import MaskedLayer, gathered
from joulemark.workloads.recording import record


class GatedLinear(MaskedLayer):
    """Computes the outputs whose gate any row opens; a row's closed outputs are zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.register_buffer("gate", torch.randn(outputs, inputs))

    def mask(self, x: Tensor) -> Tensor:
        return (x[:, None, :] * self.gate).sum(-1) > 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.mask(x)

    def run(self, x: Tensor) -> Tensor:
        mask = self.mask(x)
        active = mask.any(0).nonzero()[:, 0]
        output = x.new_zeros(len(x), mask.shape[1])
        output[:, active] = nn.functional.linear(x, self.linear.weight[active], self.linear.bias[active])
        return output * mask


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), GatedLinear(5, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def test_forward_equals_run(net):
    x = torch.randn(20, 6)
    with torch.no_grad():
        dense = net(x)
        with gathered(net) as same:
            assert same is net
            torch.testing.assert_close(net(x), dense)


def test_inside_the_block_run_is_what_is_called(net, monkeypatch):
    calls = []
    monkeypatch.setattr(GatedLinear, "run", lambda self, x: calls.append(len(x)) or self.forward_dense(x))
    monkeypatch.setattr(GatedLinear, "forward_dense", GatedLinear.forward, raising=False)
    x = torch.randn(4, 6)
    net(x)
    assert calls == []
    with gathered(net):
        net(x)
    net(x)
    assert calls == [4]


def test_gathered_restores_after_an_error_and_may_nest(net):
    layer = net[1]
    with pytest.raises(KeyError), gathered(net), gathered(net):
        assert layer.forward == layer.run
        raise KeyError
    assert layer.forward == GatedLinear.forward.__get__(layer)
    with gathered(net):
        with gathered(net):
            pass
        assert layer.forward == layer.run


def test_workload_counts_what_is_gathered(net):
    x = torch.randn(30, 6)
    work = record(net, x, batch_size=1)
    macs: dict[str, int] = {}
    for operation in work.operations:  # one for each number of outputs that were active
        macs[operation.layer] = macs.get(operation.layer, 0) + operation.macs
    macs = {layer: count for layer, count in macs.items() if count}
    with torch.no_grad():
        active = int(net[1].mask(net[0](x)).sum())
    assert 0 < active < 30 * 8
    assert macs == {"0": 30 * 6 * 5, "1": 5 * active, "3": 30 * 8 * 3}


def test_whole_counts_masked_layers_dense(net):
    work = record(net, torch.randn(30, 6), whole=True)
    dense = {o.layer: o.macs for o in work.operations if o.operator == "linear"}
    assert dense == {"0": 30 * 6 * 5, "1.linear": 30 * 5 * 8, "3": 30 * 8 * 3}
    assert not any("forward" in vars(m) for m in net.modules())


@pytest.mark.parametrize("what", ["mask", "run"])
def test_a_layer_that_lacks_a_face_says_so(what):
    class Half(MaskedLayer):
        pass

    with pytest.raises(NotImplementedError, match=f"^Half is a masked layer without {what}: "):
        getattr(Half(), what)(torch.zeros(1, 2))
