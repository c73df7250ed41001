"""The training loop: repeatable bit for bit, killed and resumed, masks, frozen parts."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from joulemark.training import Fitted, cosine, crop_flip, cross_entropy, fit, sgd

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

    def __init__(self, *, fail_after: int | None = None) -> None:
        self.steps, self.factor, self.fail_after = 0, 0.9, fail_after

    def __call__(self, module: nn.Module) -> None:
        if self.steps == self.fail_after:
            raise KeyboardInterrupt
        self.steps += 1
        self.factor = self.factor**0.97
        with torch.no_grad():
            module[0].weight.mul_(self.factor)

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

            def fail(_: nn.Module, calls=calls) -> None:
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

    def disturb(net: nn.Module) -> None:
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
        after_backward=lambda module: modes.append([part.training for part in (*module[0], module[1])]),
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


def test_cosine_by_hand():
    assert cosine(0.0) == 0.0
    assert cosine(0.025) == pytest.approx(0.25)
    assert cosine(0.1) == 1.0
    assert cosine(0.1 + 0.9 / 3) == pytest.approx(0.75)  # cos 60 degrees is a half
    assert cosine(0.55) == pytest.approx(0.5)
    assert cosine(1.0) == pytest.approx(0.0)
    assert cosine(0.0, warm_up=0.0) == 1.0
    assert cosine(0.5, warm_up=0.0) == pytest.approx(0.5)


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


def test_crop_flip_shifts_and_mirrors_whole_images():
    size = 6
    image = torch.arange(1.0, 1.0 + 2 * size * size).reshape(2, size, size)
    images = image.expand(400, 2, size, size).contiguous(memory_format=torch.channels_last)
    changed = crop_flip(images, torch.Generator().manual_seed(0), padding=2)
    assert changed.shape == images.shape
    framed = torch.zeros(2, size + 4, size + 4)
    framed[:, 2:-2, 2:-2] = image
    windows = {
        (top, left, mirror): (w.flip(2) if mirror else w)
        for top in range(5)
        for left in range(5)
        for mirror in (False, True)
        for w in [framed[:, top : top + size, left : left + size]]
    }
    found = [[key for key, window in windows.items() if torch.equal(one, window)] for one in changed]
    assert all(len(keys) == 1 for keys in found)
    seen = {keys[0] for keys in found}
    assert len(seen) == len(windows)  # every shift, mirrored and not
    mirrored = sum(keys[0][2] for keys in found)
    assert 160 < mirrored < 240


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

    def watch(module: nn.Module) -> None:
        kinds.update(p.grad.dtype for p in module.parameters())

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    module[0].register_forward_hook(lambda _m, _i, output: computed.add(output.dtype))
    settings = {"epochs": 1, "batch_size": 32, "seed": 0, "optimiser": sgd(0.05), "after_backward": watch}
    fit(module, images, labels, precision="bf16", **settings)
    assert computed == {torch.bfloat16}
    assert kinds == {torch.float32} == {p.dtype for p in module.parameters()}


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
