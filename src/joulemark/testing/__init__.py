"""Check a technique before it is compared with others: what we run on ours, anybody can run on theirs.

A technique is a function from a net to a net, so most of what can go wrong with one can be found without knowing what
it does. In the test file of your own package:

    from joulemark.testing import check_technique
    from my_package import half_the_filters

    def test_half_the_filters():
        check_technique(half_the_filters, knobs={"share": 0.5})

That trains a small LeNet on 300 generated images (once a process), runs the technique a few times on a workbench like
the benchmark's and checks, in this order:

1. it returns a ``Net`` that runs and keeps the shape of the outputs, and the net is what ``gives`` says;
2. **deterministic**: the same seed gives the same net, bit for bit, whatever the state of the global random generators;
3. **resumable**: stopped after its first fit and started again it ends with the same net, and repeats no fit;
4. **reload**: a net saved and read gives the same logits, bit for bit;
5. **one function**: a row's logits depend on its image alone, not on the rows beside it; gathered and dense form of
   masked layers agree; rows that leave early get the logits of the exit that the router chose (it never sees a label);
6. **costs**: the workload counts the multiply-accumulates that PyTorch's own flop counter sees;
7. **export**: ONNX Runtime gives the logits of eager PyTorch.

Another net than LeNet is asked for by its builder: ``check_technique(mine, net="resnet20", options={"width": 0.5})``.

A net whose outputs are random by design says so: one of its modules has the attribute ``stochastic = True``. What is
asked to be equal bit for bit is then compared with the same seed, and what is computed in two ways by its distribution.

There is no test data on the workbench, here or in the benchmark: a technique that asks for them fails. The first check
that does not hold raises ``AssertionError`` with one sentence that says what was expected, so a failing test reads like
advice. A mistake the third check is made for: statistics gathered by a callback in a Python list and used after the
fit. When the run is resumed the finished fit is not repeated and the list is empty. Keep such things in the net, give
the callback ``state_dict`` and ``load_state_dict``, or wrap fit and use of the list in ``bench.remember``. The same
holds for a loss that learns.
"""

from joulemark.testing.checks import check_technique
from joulemark.testing.example import EPOCHS, TASK, baseline, generated, generated_task
from joulemark.testing.watched import WatchedBench, workbench

__all__ = [
    "EPOCHS",
    "TASK",
    "WatchedBench",
    "baseline",
    "check_technique",
    "generated",
    "generated_task",
    "workbench",
]
