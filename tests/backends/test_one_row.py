"""A dynamic net for one row: it answers as the net does, and refuses what branches cannot follow."""

from __future__ import annotations

import pytest
import torch
from small_nets import NETS, SHAPE, made

from joulemark.backends.one_row import OneRow
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net


@pytest.mark.parametrize("kind", ["dynamic", "cascade"])
def test_every_row_gets_the_answer_of_the_exit_that_it_takes(kind):
    module = NETS[kind].module()
    rows = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        right = module.run(rows)
        last = module(rows)
        found = torch.cat([OneRow(module, SHAPE)(row[None]) for row in rows])
    torch.testing.assert_close(found, right)
    assert not torch.allclose(found, last)  # some do leave early


def test_what_lies_behind_is_not_computed():
    """Weights that are not a number behind the exit show in the rows that go on and in no other."""
    module = NETS["dynamic"].module()
    rows = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = module.exits["stage1"](module.stage1(rows))
        leaves = (logits >= 0.3).sum(1) == 1
        module.stage2.conv.weight.fill_(float("nan"))
        broken = torch.cat([OneRow(module, SHAPE)(row[None]) for row in rows]).isnan().any(1)
    assert leaves.any()
    assert not leaves.all()
    assert torch.equal(broken, ~leaves)


def test_jumps_over_segments_are_refused():
    with pytest.raises(ValueError, match="the router after 'policy' sends rows past segments"):
        OneRow(NETS["skipping"].module(), SHAPE)


def test_parts_with_exits_of_their_own_are_refused():
    route = Route(
        kind="cascade",
        order=("first", "second"),
        exits=(Exit(after="first", router="exactly-one", threshold=0.1),),
    )
    parts = {"first": made("dynamic"), "second": made("static")}
    with pytest.raises(ValueError, match="a part of this cascade has exits of its own"):
        OneRow(Net(builder="lenet", input_shape=SHAPE, route=route, parts=parts).module(), SHAPE)
