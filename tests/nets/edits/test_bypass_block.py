"""Of a block that is bypassed only its shortcut is left."""

from __future__ import annotations

import pytest
import torch

from joulemark.nets.edits.bypass_block import bypass_block
from joulemark.nets.net import Net


def test_the_net_is_that_without_the_branch():
    net = Net.new("resnet20", (3, 32, 32), seed=0, width=0.25)
    module = net.module()
    block = next(path for path, layer in module.named_modules() if hasattr(layer, "bypassed"))
    shortcut, x = module.get_submodule(block).bypassed(), []
    module.get_submodule(block).register_forward_pre_hook(lambda _, inputs: x.append(inputs[0]))
    with torch.no_grad():
        module(torch.randn(2, 3, 32, 32))
        bypass_block(module, block=block)
        torch.testing.assert_close(module.get_submodule(block)(x[0]), shortcut(x[0]))
        assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("block", ["", "stem", "nowhere"])
def test_what_is_no_block_is_refused(block):
    module = Net.new("resnet20", (3, 32, 32), seed=0, width=0.25).module()
    with pytest.raises(ValueError, match="is no residual block that can be bypassed"):
        bypass_block(module, block=block)
