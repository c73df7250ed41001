"""The training loop: repeatable bit for bit, killed and resumed, masks, frozen parts."""

from __future__ import annotations

import copy
import hashlib
import math

import pytest
import torch
from torch import nn

from joulemark.nets.layers.masked import MaskedLayer
from joulemark.training import Fitted, Step, cosine, crop_flip, cross_entropy, fit, image_passes, sgd

IMAGES, LABELS = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)), torch.arange(50) % 4


def small(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))


class Kept:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.saves = 0

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data
        self.saves += 1


def train(module: nn.Module, **changes) -> Fitted:
    usual = {
        "epochs": 4, "batch_size": 16, "seed": 5, "optimiser": sgd(0.1, weight_decay=1e-3), "checkpoint_seconds": 0.0,
    }  # fmt: skip
    return fit(module, IMAGES, LABELS, **{**usual, **changes})


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


class Decay:
    """A callback with state: shrinks the first weights, each time by less, and counts."""

    def __init__(self, *, fail_after: int | None = None, factor: float = 0.9) -> None:
        self.steps, self.factor, self.fail_after = 0, factor, fail_after

    def __call__(self, step: Step) -> None:
        if self.steps == self.fail_after:
            raise KeyboardInterrupt
        self.steps += 1
        self.factor = self.factor**0.97
        with torch.no_grad():
            step.module[0].weight.mul_(self.factor)

    def state_dict(self) -> dict:
        return {"steps": self.steps, "factor": self.factor}

    def load_state_dict(self, state: dict) -> None:
        self.steps, self.factor = state["steps"], state["factor"]


def test_the_same_seed_gives_the_same_bits():
    first, second, other = small(), small(), small()
    train(first)
    torch.manual_seed(99)  # whatever happened before
    torch.rand(7)
    train(second)
    train(other, seed=6)
    assert same(first, second)
    assert not same(first, other)


def test_training_lowers_the_loss_and_counts_passes():
    module = small()
    fitted = train(module, epochs=10)
    assert fitted.losses[-1] < fitted.losses[0]
    assert len(fitted.losses) == 10
    assert fitted.image_passes == 500
    assert not module.training


OPTIMISERS = {
    "momentum": sgd(0.1),
    "adam": lambda module: torch.optim.Adam(module.parameters(), 0.01),
    "rmsprop": lambda module: torch.optim.RMSprop(module.parameters(), 0.01, momentum=0.5),
    "no state": sgd(0.1, momentum=0.0),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("step", [4, 6, 11, 15])  # four steps an epoch: at an edge and inside of epochs
def test_killed_and_resumed_ends_bit_equal(optimiser, step):
    whole, counted = small(), Decay()
    straight = train(whole, optimiser=OPTIMISERS[optimiser], after_step=counted)
    kept, resumed = Kept(), Decay()
    with pytest.raises(KeyboardInterrupt):
        train(small(), optimiser=OPTIMISERS[optimiser], after_step=Decay(fail_after=step), checkpoint=kept)
    assert kept.saves == step // 4
    module = small(seed=3)  # other weights: all that counts is in the checkpoint
    again = train(module, optimiser=OPTIMISERS[optimiser], after_step=resumed, checkpoint=kept)
    assert same(module, whole)
    assert again.losses == straight.losses
    assert again.image_passes == (4 - step // 4) * 50
    assert (resumed.steps, resumed.factor) == (counted.steps, counted.factor)


def test_killed_twice():
    whole, kept = small(), Kept()
    train(whole)
    for step in (5, 7):
        with pytest.raises(KeyboardInterrupt):
            calls = iter([None] * step)

            def fail(_: Step, calls=calls) -> None:
                if next(calls, "none left") == "none left":
                    raise KeyboardInterrupt

            train(small(), after_backward=fail, checkpoint=kept)
    assert kept.saves == 2
    module = small()
    train(module, checkpoint=kept)
    assert same(module, whole)


def test_both_callbacks_keep_their_own_state():
    def run(kept: Kept | None, before: Decay, after: Decay) -> nn.Module:
        module = small()
        train(module, after_backward=before, after_step=after, checkpoint=kept)
        return module

    whole = run(None, Decay(), Decay())
    kept, before, after = Kept(), Decay(), Decay()
    with pytest.raises(KeyboardInterrupt):
        run(kept, Decay(), Decay(fail_after=9))
    assert same(run(kept, before, after), whole)
    assert (before.steps, after.steps) == (16, 16)


def test_checkpoints_are_not_written_more_often_than_asked():
    kept = Kept()
    train(small(), checkpoint=kept, checkpoint_seconds=3600.0)
    assert kept.saves == 0


def test_masked_weights_stay_exactly_zero():
    module = small()
    mask = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    seen = []

    def disturb(step: Step) -> None:
        net = step.module
        seen.append(bool((net[0].weight[~mask] == 0).all()))
        with torch.no_grad():
            net[0].weight.add_(1.0)

    train(module, masks={"0.weight": mask}, after_step=disturb)
    assert all(seen)
    assert (module[0].weight[~mask] == 0).all()
    assert (module[0].weight[mask] != 0).all()


def test_masks_hold_even_without_an_epoch():
    module, mask = small(), torch.zeros(8, 3, dtype=torch.bool)
    assert train(module, epochs=0, masks={"0.weight": mask}).image_passes == 0
    assert not module[0].weight.any()


@pytest.mark.parametrize("affine", [True, False])
def test_a_frozen_trunk_keeps_its_statistics(affine):
    trunk = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8, affine=affine), nn.Dropout(0.5))
    net = nn.Sequential(trunk, nn.Linear(8, 4))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = []
    train(
        net,
        optimiser=lambda module: torch.optim.SGD(module[1].parameters(), 0.1),
        after_backward=lambda step: modes.append([part.training for part in (*step.module[0], step.module[1])]),
    )
    after = net.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("0."))
    assert not torch.equal(after["1.weight"], before["1.weight"])
    assert modes[0] == [False, False, False, True]


def test_a_trained_batch_norm_gathers_statistics():
    module = small()
    train(module)
    assert module[1].num_batches_tracked == 16
    assert module[1].running_mean.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_raises(bad):
    with pytest.raises(FloatingPointError, match="in epoch 1: lower the learning rate"):
        train(small(), loss=lambda module, x, y: module(x).sum() * bad)


def test_too_great_a_learning_rate_raises():
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(small(), optimiser=sgd(1e30))


def test_schedule_scales_the_rate_of_every_group_before_each_step():
    rates, asked = [], []

    def make(module: nn.Module) -> torch.optim.Optimizer:
        made = torch.optim.SGD(
            [{"params": module[0].parameters(), "lr": 1.0}, {"params": module[4].parameters(), "lr": 10.0}], 0.5
        )
        step = made.step
        made.step = lambda: rates.append([group["lr"] for group in made.param_groups]) or step()
        return made

    def schedule(progress: float) -> float:
        asked.append(progress)
        return progress / 100

    train(small(), epochs=2, optimiser=make, schedule=schedule)
    assert asked == [i / 8 for i in range(8)]
    assert rates == [pytest.approx([i / 800, i / 80]) for i in range(8)]


def test_one_step_is_plain_gradient_descent():
    module = nn.Linear(3, 4)
    weight = module.weight.detach().clone()
    loss = cross_entropy(module, IMAGES, LABELS)
    (gradient,) = torch.autograd.grad(loss, module.weight)
    train(module, epochs=1, batch_size=50, optimiser=sgd(0.3, momentum=0.0), schedule=lambda _: 1.0)
    torch.testing.assert_close(module.weight.detach(), weight - 0.3 * gradient)


def test_every_image_is_seen_once_an_epoch_in_a_new_order():
    orders = []

    def watch(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        orders.extend(images[:, 0].tolist())
        return cross_entropy(module, images, labels)

    train(small(), epochs=2, loss=watch)
    first, second = orders[:50], orders[50:]
    assert sorted(first) == sorted(second) == sorted(IMAGES[:, 0].tolist())
    assert first != second


def test_augmentation_is_part_of_what_a_seed_decides():
    images, labels = torch.randn(40, 3, 8, 8), torch.arange(40) % 2

    def trained(seed: int, **settings) -> torch.Tensor:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
        fit(module, images, labels, epochs=2, batch_size=16, seed=seed, optimiser=sgd(0.05), **settings)
        return module[2].weight.detach()

    plain, once = trained(0), trained(0, augment=crop_flip)
    assert torch.equal(once, trained(0, augment=crop_flip))
    assert not torch.equal(once, plain)
    assert not torch.equal(once, trained(1, augment=crop_flip))


def test_bf16_products_leave_weights_and_gradients_in_float32():
    images, labels = torch.randn(64, 1, 8, 8), torch.arange(64) % 2
    kinds, computed = set(), set()

    def watch(step: Step) -> None:
        kinds.update(p.grad.dtype for p in step.module.parameters())

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    module[0].register_forward_hook(lambda _m, _i, output: computed.add(output.dtype))
    settings = {"epochs": 1, "batch_size": 32, "seed": 0, "optimiser": sgd(0.05), "after_backward": watch}
    fit(module, images, labels, precision="bf16", **settings)
    assert computed == {torch.bfloat16}
    assert kinds == {torch.float32} == {p.dtype for p in module.parameters()}


def by_hand(module: nn.Module, epochs: int, seed: int) -> None:
    """The same training, written down once more without the loop."""
    optimiser = torch.optim.SGD(module.parameters(), 0.1, 0.9, weight_decay=1e-3, nesterov=True)
    module.train()
    for epoch in range(epochs):
        torch.manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(50, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        for step in range(4):
            rows = order[16 * step : 16 * (step + 1)]
            optimiser.param_groups[0]["lr"] = 0.1 * cosine((4 * epoch + step) / (4 * epochs))
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(IMAGES[rows]), LABELS[rows]).backward()
            optimiser.step()


def digest(module: nn.Module) -> str:
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in module.state_dict().values())).hexdigest()


def test_a_fit_is_a_plain_loop_bit_for_bit():
    module, plain = small(), small()
    train(module, epochs=3)
    by_hand(plain, 3, 5)
    assert digest(module) == digest(plain) != digest(small())


def test_callbacks_see_module_optimiser_and_progress():
    steps: dict[str, list[Step]] = {"backward": [], "step": []}
    rates = []

    def after_backward(step: Step) -> None:
        steps["backward"].append(step)
        rates.append(step.optimiser.param_groups[0]["lr"])

    module = small()
    train(module, epochs=2, after_backward=after_backward, after_step=steps["step"].append)
    assert [one.progress for one in steps["backward"]] == [i / 8 for i in range(8)]
    assert [one.progress for one in steps["step"]] == [(i + 1) / 8 for i in range(8)]
    for seen in steps.values():
        assert [(one.epoch, one.step) for one in seen] == [(i // 4, i) for i in range(8)]
        assert all(one.module is module for one in seen)
    assert rates == pytest.approx([0.1 * cosine(i / 8) for i in range(8)])


def watched(epochs: float, **changes) -> tuple[list[int], Fitted]:
    """Row numbers in the order in which a fit sees them."""
    seen: list[int] = []

    def loss(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.extend(int((one == IMAGES).all(1).nonzero()) for one in images)
        return cross_entropy(module, images, labels)

    return seen, train(small(), epochs=epochs, loss=loss, **changes)


@pytest.mark.parametrize(
    ("epochs", "passes"), [(1 / 3, 16), (0.5, 25), (1.5, 75), (1.34, 67), (2.04, 102), (2.02, 100), (0.001, 0)]
)
def test_a_part_of_an_epoch_is_exactly_so_many_images(epochs, passes):
    seen, fitted = watched(epochs)
    whole, _ = watched(3)
    assert len(seen) == fitted.image_passes == passes
    assert seen == whole[:passes]  # the last epoch is the beginning of a whole one
    assert len(fitted.losses) == math.ceil(passes / 50)


def test_no_image_is_alone_in_a_batch():
    """Batch norm, which ``small`` has, cannot train on one."""
    sizes = []
    loss = lambda module, x, y: sizes.append(len(x)) or cross_entropy(module, x, y)  # noqa: E731
    train(small(), epochs=33 / 50, loss=loss)
    assert sizes == [16, 17]


def test_the_schedule_ends_with_a_part_of_an_epoch():
    asked = []
    train(small(), epochs=1.5, schedule=lambda progress: asked.append(progress) or 1.0)
    assert asked == [i / 6 for i in range(6)]  # four steps, and two of 25 images


@pytest.mark.parametrize("step", [5, 8, 9])
def test_a_part_of_an_epoch_is_resumed_bit_equal(step):
    whole, kept, module = small(), Kept(), small(seed=3)
    train(whole, epochs=2.5)
    with pytest.raises(KeyboardInterrupt):
        train(small(), epochs=2.5, after_step=Decay(fail_after=step, factor=1.0), checkpoint=kept)
    again = train(module, epochs=2.5, checkpoint=kept, after_step=Decay(factor=1.0))
    assert again.image_passes == 125 - 50 * (step // 4)
    assert same(module, whole)


@pytest.mark.parametrize("images", [50, 100, 200, 299, 300, 1000])
@pytest.mark.parametrize("parts", [2, 3, 7, 11, 100])
def test_parts_of_a_budget_never_add_up_to_more(images, parts):
    for budget in (1, 2, 6):
        each = image_passes(budget / parts, images)
        assert budget * images - 2 * parts < parts * each <= budget * images
    assert sum(image_passes(share, images) for share in (0.1, 0.2, 0.7)) <= images
    assert image_passes(0.29, 100) == 29  # 0.29 x 100 = 28.999999999999996


@pytest.mark.parametrize("epochs", [-1, -0.1, math.nan, math.inf])
def test_what_is_no_number_of_epochs_is_refused(epochs):
    with pytest.raises(ValueError, match=r"^epochs must be a number of at least 0, not"):
        train(small(), epochs=epochs)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"^a fit multiplies in fp32 or bf16, not in 'fp16'"):
        train(small(), precision="fp16")


class Calibrated:
    """A loss with a state of its own: the weight of each class follows how often it was missed."""

    def __init__(self, *, fail_after: int | None = None) -> None:
        self.weights, self.calls, self.fail_after = torch.ones(4), 0, fail_after

    def __call__(self, module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.calls == self.fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        logits = module(images)
        missed = torch.bincount(labels[logits.argmax(1) != labels], minlength=4)
        self.weights = 0.9 * self.weights + 0.1 * missed
        return nn.functional.cross_entropy(logits, labels, weight=self.weights + 0.1)

    def state_dict(self) -> dict:
        return {"weights": self.weights, "calls": self.calls}

    def load_state_dict(self, state: dict) -> None:
        self.weights, self.calls = state["weights"], state["calls"]


class Learned(nn.Module):
    """A loss with a temperature that is trained and a buffer that counts."""

    def __init__(self, *, fail_after: int | None = None) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.fail_after = fail_after

    def forward(self, module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if int(self.calls) == self.fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        return nn.functional.cross_entropy(module(images) / self.temperature, labels)


@pytest.mark.parametrize("kind", [Calibrated, Learned])
@pytest.mark.parametrize("step", [4, 7, 13])
def test_the_state_of_a_loss_goes_on_after_a_kill(kind, step):
    whole, straight = small(), kind()
    train(whole, loss=straight)
    kept, resumed, module = Kept(), kind(), small(seed=3)
    with pytest.raises(KeyboardInterrupt):
        train(small(), loss=kind(fail_after=step), checkpoint=kept)
    train(module, loss=resumed, checkpoint=kept)
    assert same(module, whole)
    ended, expected = resumed.state_dict(), straight.state_dict()
    assert expected["calls"] == 16
    assert all(torch.equal(torch.as_tensor(ended[key]), torch.as_tensor(expected[key])) for key in expected)


@pytest.mark.parametrize("given", [False, True])
def test_parameters_of_a_loss_are_trained_once(given):
    """By the optimiser's defaults, or as the technique says that hands them over itself."""
    loss, rates = Learned(), []

    def make(module: nn.Module) -> torch.optim.Optimizer:
        groups = [{"params": list(module.parameters())}]
        return torch.optim.SGD([*groups, {"params": list(loss.parameters()), "lr": 0.0}] if given else groups, 0.1)

    train(
        small(), loss=loss, optimiser=make, after_backward=lambda step: rates.append(len(step.optimiser.param_groups))
    )
    assert rates == [2] * 16
    assert (loss.temperature.item() == 1.0) == given


def test_a_teacher_in_a_loss_is_not_trained():
    class Distil(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = small(seed=9).eval()

        def forward(self, module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                wanted = self.teacher(images)
            return nn.functional.mse_loss(module(images), wanted)

    loss = Distil()
    train(small(), loss=loss)
    assert same(loss.teacher, small(seed=9))


def test_a_masked_layer_trains_by_its_dense_form():
    class Gated(MaskedLayer):
        """A linear layer whose outputs are switched off where a gate, trained with it, says so."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gate = nn.Linear(3, 4), nn.Linear(3, 4)

        def mask(self, x: torch.Tensor) -> torch.Tensor:
            return self.gate(x) > 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            soft = torch.sigmoid(self.gate(x))
            return self.layer(x) * (self.mask(x) + soft - soft.detach())  # straight through

        def run(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("what is gathered has no gradient for the gate")

    torch.manual_seed(0)
    module = nn.Sequential(Gated(), nn.Linear(4, 4))
    gate, before = module[0].gate, module[0].gate.weight.detach().clone()
    fitted = train(module, epochs=20)
    assert fitted.losses[-1] < fitted.losses[0]
    assert not torch.equal(gate.weight, before)


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ((6,), nn.Linear(6, 8)),
        ((2, 16), nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten())),
        ((2, 4, 4), nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten())),
        ((1, 4, 4, 4), nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten())),
    ],
    ids=["features", "windows", "images", "volumes"],
)
def test_inputs_of_any_rank_are_learned(shape, body):
    rows = torch.randn(60, *shape, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(60) % 3
    rows += labels.reshape(-1, *[1] * len(shape))
    module = nn.Sequential(copy.deepcopy(body), nn.LazyLinear(3))
    module(rows[:1])
    before = cross_entropy(module, rows, labels).item()
    fit(module, rows, labels, epochs=5, batch_size=10, seed=0, optimiser=sgd(0.05))
    assert cross_entropy(module, rows, labels).item() < before / 1.5
    assert all(p.is_contiguous() for p in module.parameters())


class Flattening(nn.Module):
    """A net as tutorials write them: ``view`` refuses what is laid out channels last."""

    def __init__(self):
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(64, 2)

    def forward(self, x):
        return self.linear(self.convolution(x).view(len(x), -1))


def test_a_net_that_flattens_by_view_is_trained_in_the_layout_that_it_takes():
    torch.manual_seed(0)
    module, images, labels = Flattening(), torch.randn(20, 3, 6, 6), torch.arange(20) % 2
    before = module.linear.weight.clone()
    fit(module, images, labels, epochs=1, batch_size=10, seed=0, optimiser=sgd(0.1))
    assert not torch.equal(before, module.linear.weight)


class Made:
    """Inputs that are made when they are asked for."""

    def __init__(self, images):
        self.images, self.shape, self.asked = images.numpy(), tuple(images.shape), []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.asked.append(len(rows))
        return self.images[rows]


def test_rows_that_are_made_when_asked_for_train_the_same_net_bit_for_bit():
    images, labels = torch.randn(30, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 2
    trained = []
    for given in (images, Made(images)):
        torch.manual_seed(0)
        module = Flattening()
        fit(module, given, labels, epochs=2, batch_size=8, seed=0, optimiser=sgd(0.1))
        trained.append(module.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
    assert max(given.asked) <= 8
