"""A checkpoint holds all that a fit goes on from, bit for bit, in one safetensors file."""

from __future__ import annotations

import math
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from joulemark.training import fit, sgd
from joulemark.training.checkpoint import Run, stateful, states_from_bytes, states_to_bytes


class Place:
    """Where a checkpoint is kept: in memory."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data


class Holder:
    """A callback with any state."""

    def __init__(self, **state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def steps(module: nn.Module, optimiser: torch.optim.Optimizer, count: int) -> None:
    images = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(count):
        optimiser.zero_grad()
        module(images).square().sum().backward()
        optimiser.step()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Slowing(torch.optim.Optimizer):
    """Gradient descent by ever smaller steps, counted in a plain number."""

    def __init__(self, parameters) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["steps"] = state.get("steps", 0) + 1
            parameter -= 0.1 / state["steps"] * parameter.grad


OPTIMISERS = {
    "plain numbers": lambda module: Slowing(module.parameters()),
    "momentum": lambda module: torch.optim.SGD(module.parameters(), 0.01, 0.9),
    "no state": lambda module: torch.optim.SGD(module.parameters(), 0.01),
    "adam": lambda module: torch.optim.Adam(module.parameters(), 0.01, amsgrad=True),
    "averaged": lambda module: torch.optim.ASGD(module.parameters(), 0.01),
    "two groups": lambda module: torch.optim.Adam(
        [{"params": module[0].parameters(), "lr": 0.1}, {"params": module[2].parameters()}], 0.01
    ),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
def test_what_goes_on_from_a_checkpoint_ends_where_what_never_stopped_does(make):
    place, module = Place(), net()
    optimiser = make(module)
    steps(module, optimiser, 3)
    Run(module, optimiser, [], place, losses=[0.5, 0.25]).save(2)
    steps(module, optimiser, 2)
    other = net(seed=9)
    run = Run(other, make(other), [], place)
    assert run.restore() == 2
    assert run.losses == [0.5, 0.25]
    steps(other, run.optimiser, 2)
    assert same(other.state_dict(), module.state_dict())


def test_rates_are_those_of_the_fit_that_goes_on():
    """They follow the schedule, which knows where it is; what is kept is what the optimiser learned."""
    place, module = Place(), net()
    Run(module, torch.optim.SGD(module.parameters(), 0.5), [], place).save(1)
    run = Run(module, torch.optim.SGD(module.parameters(), 0.1), [], place)
    run.restore()
    assert [group["lr"] for group in run.optimiser.param_groups] == [0.1]


def test_without_a_place_nothing_is_kept_and_nothing_is_done():
    module = net()
    run = Run(module, torch.optim.SGD(module.parameters(), 0.1), [Holder()], None)
    run.save(3)
    assert run.restore() == 0


def test_without_a_checkpoint_everything_stays_as_it_is():
    module, holder = net(), Holder(count=1)
    run = Run(module, torch.optim.SGD(module.parameters(), 0.1), [holder], Place(), losses=[0.1])
    assert run.restore() == 0
    assert same(module.state_dict(), net().state_dict())
    assert (holder.state, run.losses) == ({"count": 1}, [0.1])


def test_callbacks_get_back_their_own_states():
    place, module = Place(), net()
    kept = [Holder(number=number, tensor=torch.full((2,), float(number))) for number in range(12)]
    Run(module, torch.optim.SGD(module.parameters(), 0.1), kept, place).save(1)
    blank = [Holder() for _ in kept]
    Run(module, torch.optim.SGD(module.parameters(), 0.1), blank, place).restore()
    assert all(one.state.keys() == {"number", "tensor"} for one in blank)
    assert [one.state["number"] for one in blank] == list(range(12))
    assert [one.state["tensor"].tolist() for one in blank] == [[number, number] for number in range(12)]


def test_a_callback_may_call_its_tensors_as_it_likes():
    place, module = Place(), net()
    names = ("module/0.weight", "optimiser/0/momentum_buffer", "states/0/a", "a/b", "")
    kept, blank = Holder(**{name: torch.full((1,), float(at)) for at, name in enumerate(names)}), Holder()
    Run(module, torch.optim.SGD(module.parameters(), 0.1, 0.9), [kept], place).save(1)
    Run(module, torch.optim.SGD(module.parameters(), 0.1, 0.9), [blank], place).restore()
    assert same(blank.state, kept.state)
    assert same(module.state_dict(), net().state_dict())


def test_the_last_checkpoint_counts():
    place, module = Place(), net()
    run = Run(module, torch.optim.SGD(module.parameters(), 0.1), [], place)
    for epoch in (1, 2):
        nn.init.constant_(module[2].bias, float(epoch))
        run.losses.append(1.0 / epoch)
        run.save(epoch)
    nn.init.constant_(module[2].bias, 7.0)
    run.losses.append(9.0)
    assert run.restore() == 2
    assert run.losses == [1.0, 0.5]
    assert module[2].bias.tolist() == [2.0, 2.0]


def test_it_is_a_safetensors_file_that_holds_the_module():
    place, module = Place(), net()
    Run(module, torch.optim.SGD(module.parameters(), 0.1), [], place).save(1)
    tensors = safetensors.torch.load(place.data)
    assert same(tensors, {f"module/{name}": tensor for name, tensor in module.state_dict().items()})


def test_tied_and_strided_weights_are_kept():
    """A safetensors file takes neither of them as they are."""
    place, module = Place(), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Conv2d(2, 2, 3))
    module[1].weight = module[0].weight
    module[2].to(memory_format=torch.channels_last)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    run = Run(module, torch.optim.SGD(module.parameters(), 0.1), [], place)
    run.save(1)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    run.restore()
    assert same(module.state_dict(), before)
    assert module[1].weight is module[0].weight


def test_stateful_is_what_has_both_halves():
    class Half:
        def state_dict(self) -> dict[str, Any]:
            return {}

    holder, loss = Holder(), nn.Linear(2, 2)
    assert stateful(None, holder, print, Half(), loss, lambda step: None) == [holder, loss]
    assert stateful() == []


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), plain, max_size=4), max_size=4))
def test_states_of_json_values_come_back(states):
    things = [Holder() for _ in states]
    states_from_bytes(things, states_to_bytes([Holder(**state) for state in states]))
    assert [one.state for one in things] == states


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(0, 3), torch.tensor(2.5), torch.tensor([True, False]), torch.arange(3),
     torch.ones(2, dtype=torch.bfloat16), torch.tensor([float("nan"), float("inf")]), torch.arange(6.0).reshape(2, 3).T,
     torch.ones(2, requires_grad=True)],
    ids=lambda tensor: f"{tensor.dtype} {list(tensor.shape)}",
)  # fmt: skip
def test_a_tensor_comes_back_bit_for_bit(tensor):
    thing = Holder()
    states_from_bytes([thing], states_to_bytes([Holder(some=tensor, other=1)]))
    found = thing.state["some"]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(found.nan_to_num(7), tensor.detach().nan_to_num(7))
    assert thing.state["other"] == 1


def test_a_state_that_no_file_holds_is_said_in_one_sentence():
    class Odd(Holder):
        pass

    with pytest.raises(TypeError, match=r"^the state of Odd cannot be kept: hold JSON values and tensors \(.*object"):
        states_to_bytes([Holder(steps=1), Odd(steps=object())])
    with pytest.raises(TypeError, match="the state of Odd cannot be kept"):
        module = net()
        Run(module, torch.optim.SGD(module.parameters(), 0.1), [Odd(tensors=[torch.ones(1)])], Place()).save(1)


def test_states_are_for_as_many_things_as_they_are_of():
    with pytest.raises(ValueError, match="shorter"):
        states_from_bytes([Holder(), Holder()], states_to_bytes([Holder(a=1)]))


@pytest.mark.parametrize(
    "state",
    [{"best": math.inf}, {"seen": {0: 1}}, {"raw": b"x"}, {"best": math.nan}],
    ids=["infinity", "numbers for keys", "bytes", "no number"],
)
def test_a_state_that_would_come_back_as_another_is_refused(state):
    class Holder:
        def state_dict(self):
            return {"fine": 1, **state}

        def load_state_dict(self, state): ...

    with pytest.raises(
        TypeError, match=rf"^the state of Holder cannot be kept: '{next(iter(state))}' would come back as"
    ):
        states_to_bytes([Holder()])


class Decays:
    """Changes an option of the optimiser at its third step, and keeps its count."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, step) -> None:
        self.steps += 1
        if self.steps == 3:
            step.optimiser.param_groups[0].update(weight_decay=0.5)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state) -> None:
        self.steps = state["steps"]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_options_that_a_callback_sets_survive_a_kill(stop):
    class Kept:
        data, saves = None, 0

        def load(self):
            return self.data

        def save(self, data):
            type(self).data = data
            Kept.saves += 1
            if Kept.saves == stop:
                raise KeyboardInterrupt

    def run(checkpoint=None) -> torch.Tensor:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        fit(
            module, torch.linspace(-1, 1, 24).view(8, 3), torch.arange(8) % 2, epochs=4, batch_size=4, seed=0,
            optimiser=sgd(0.1, momentum=0.9, weight_decay=0.0), after_step=Decays(), checkpoint=checkpoint,
            checkpoint_seconds=0.0,
        )  # fmt: skip
        return module.weight.detach().clone()

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(Kept())
    assert torch.equal(run(Kept()), whole)


def test_a_tuple_in_a_state_comes_back_as_a_list():
    class Holder:
        pair = (1, (2, 3))

        def state_dict(self):
            return {"pair": self.pair}

        def load_state_dict(self, state):
            self.pair = state["pair"]

    other = Holder()
    states_from_bytes([other], states_to_bytes([Holder()]))
    assert other.pair == [1, [2, 3]]
