"""Parts of a cascade that have exits, or parts, of their own."""

from __future__ import annotations

import msgspec
import pytest
import torch
from small_nets import FORM, NETS, SHAPE

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.nets.routers.router import Router
from joulemark.vocabulary import TABLES


def nested(kind: str) -> Net:
    """A cascade whose first part has exits, or parts of its own, one of which has exits."""
    first = NETS["dynamic"] if kind == "exits" else nested("exits")
    exits = (Exit(after="first", router="exactly-one", threshold=0.12),)
    route = Route(kind="cascade", order=("first", "last"), exits=exits)
    last = Net.new("lenet", SHAPE, seed=9, width=0.3)
    return Net(builder="lenet", input_shape=SHAPE, route=route, parts={"first": first, "last": last})


def by_hand(net: Net, image: torch.Tensor) -> torch.Tensor:
    """One row through a cascade, each part by itself."""
    first = net.parts["first"]
    inner = by_hand(first, image) if "first" in first.parts else first.module().run(image)
    leaves = (inner >= net.route.exits[0].threshold).sum() == 1
    return inner if leaves else net.parts["last"].module()(image)


@pytest.mark.parametrize("kind", ["exits", "parts"])
def test_a_part_may_have_a_route_of_its_own(kind):
    torch.manual_seed(3)
    net, x = nested(kind), torch.randn(40, *SHAPE)
    with torch.no_grad():
        expected = torch.cat([by_hand(net, image) for image in x.split(1)])
        found = net.module().run(x)
    torch.testing.assert_close(found, expected)
    answered = [bool(torch.equal(a, b)) for a, b in zip(found, net.parts["last"].module()(x), strict=True)]
    assert 0 < sum(answered) < 40  # some went on, some did not
    torch.testing.assert_close(torch.from_numpy(OnnxRuntime().compile(net, threads=1).run(x.numpy())), expected,
                               rtol=0, atol=1e-4)  # fmt: skip
    with torch.no_grad():
        every = net.module().forward_all(x)
    assert len(every) == len(net.module().segments())
    exits = OnnxRuntime().compile(net, threads=1).exit_logits(x.numpy())
    for got, wanted in zip(exits, every, strict=True):  # what follows a part reads what the part was given
        torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=0, atol=1e-4)
    again = Net.from_bytes(net.to_bytes())
    assert torch.equal(again.module().run(x), found)
    assert again.hash == net.hash


def test_masks_and_formats_of_a_part_within_a_part_are_obeyed():
    inner = NETS["dynamic"].replace(
        formats={"stage2.conv": FORM}, masks={"stage1.conv.weight": torch.zeros(4, 1, 5, 5) > 0}
    )
    net = nested("parts")
    net = net.replace(
        parts={**net.parts, "first": net.parts["first"].replace(parts={**net.parts["first"].parts, "first": inner})}
    )
    module = net.module()
    assert not module.get_parameter("first.first.stage1.conv.weight").any()
    assert module.get_submodule("first.first.stage2.conv").form == FORM
    assert net.needs() == {"int8", "zeros", "route"}


class Jumps(Router):
    """Sends every row to one segment."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.target = int(threshold)

    def forward(self, carry, logits):
        return torch.full((len(carry["features"]),), self.target)


@pytest.mark.parametrize("backend", [Eager(), OnnxRuntime()], ids=["eager", "onnx"])
def test_a_router_of_a_part_cannot_send_rows_out_of_its_part(backend, monkeypatch):
    """Two more segments follow the first of the part: the third is none of it, though the whole net has one."""
    monkeypatch.setitem(TABLES["router"], "jumps", f"{__name__}:Jumps")
    inner = NETS["dynamic"].route
    jumping = msgspec.structs.replace(inner.exits[0], router="jumps", threshold=len(inner.exits) + 1)
    first = NETS["dynamic"].replace(route=msgspec.structs.replace(inner, exits=(jumping, *inner.exits[1:])))
    net = nested("exits")
    net = net.replace(parts={**net.parts, "first": first})
    compiled = backend.compile(net, threads=1)
    with pytest.raises(RuntimeError, match="sent rows to a segment that its net does not have"):
        compiled.run(torch.zeros(2, *SHAPE).numpy())
