"""Energy-aware pruning: cut where the modelled energy goes, and rebuild each layer's outputs with what is left.

Idea:
    An energy model, not the number of weights, says which layers are pruned first, while the net still has slack. Each
    layer is pruned by magnitude too far, gets back the weights that its outputs miss most, and is refitted by least
    squares, so that training has little left to repair.

Equations:
    layers in order of modelled joules, most first; in layer i with inputs X of the net as pruned so far and the outputs
    Y that the layer had before:
    minimise over A:  ‖Y − X A‖²   with  ‖A‖₀ ≤ q,  filter by filter
    magnitude:  keep the largest |w|, fewer than q
    restore:    give back, q in all, the w_j that reduce ‖Y − X A‖² most, one after the other
    refit:      A_S = argmin ‖Y − X_S A_S‖² = (X_Sᵀ X_S)⁻¹ X_Sᵀ Y   on what was kept, S
    then train all layers with the zeros frozen, and repeat
    q of all layers (ours):  minimise Σ noise_i(q_i) + λ Σ joules_i(q_i),   λ such that Σ joules meets the target

Claims:
    - 3.7x less energy; AlexNet on ImageNet, modelled accelerator energy; the dense net; under 1 % of top-5 accuracy
      [seen: abstract]
    - 1.6x less energy; GoogLeNet on ImageNet, modelled accelerator energy; the dense net; under 1 % of top-5 accuracy
      [seen: abstract]
    - 1.7x less energy (1.85 to 1.06); AlexNet on ImageNet, modelled accelerator energy; pruned by magnitude (Han et
      al.); 0.81 points of top-5 accuracy [recalled]

Reference:
    T.-J. Yang, Y.-H. Chen, V. Sze, "Designing energy-efficient convolutional neural networks using energy-aware
    pruning", CVPR 2017 (arXiv 1611.05128).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Literal

from torch import Tensor, nn

from joulemark.nets.dependencies import channel_groups
from joulemark.nets.net import Net
from joulemark.record import EnergyReport
from joulemark.techniques.pruning.channelwise import (
    all_readers_in,
    chosen,
    input_channels,
    magnitudes,
    readers,
    taken_out,
    without,
)
from joulemark.techniques.pruning.guide import by_layer, cost, knows_joules
from joulemark.techniques.pruning.layerwise import Layer, prunable, watch
from joulemark.techniques.pruning.magnitude import retrain
from joulemark.techniques.pruning.reconstruction import Sums, largest
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique

BISECTIONS = 9
"""Of the price of energy, over a factor of 10^6."""


@technique("energy-aware-pruning", paper="Yang, Chen, Sze 2017", family="pruning", knob="energy_share")
def energy_aware_pruning(
    net: Net,
    bench: Workbench,
    *,
    energy_share: Annotated[float, Range(0.1, 0.95, log=True, gentle="high")] = 0.4,
    structure: Literal["weights", "channels"] = "weights",
    round_to: Annotated[int, Range(1, 64)] = 8,
    rounds: Annotated[int, Range(1, 50)] = 2,
    images: Annotated[int, Range(16, 10_000_000)] = 1000,
    retraining: Literal["fine-tune", "rewind"] = "fine-tune",
    rewind: Annotated[float, Range(0.01, 1.0)] = 0.9,
) -> Net:
    """Prune until the share ``energy_share`` of the modelled energy is left, in ``rounds``, retraining after each.

    The model is the suite's first. One that knows seconds and no joules guides by its seconds, which are the joules if
    watts are constant: ``energy_share`` is then the share of the modelled seconds, and the notes say so. The share
    falls geometrically over the rounds; every round asks the model anew, for the target and for the order of the
    layers. Where the model sees less gain in zeros than is asked for, a layer is cut no further than its outputs can
    bear. The share is met nearly, since the cut is priced without refitting, and before retraining: that changes how
    many activations are zero, and so the energy a little. All rounds but the last train one epoch, the last takes what
    is left of the budget; where there are more rounds than epochs the first rounds train none. ``images`` training
    images are looked at for each layer of a round, at a few places each. ``retraining`` and ``rewind`` are those of
    ``magnitude``.

    How much the paper takes from each layer in an iteration is not known here (recalled, with little certainty: as much
    as a tolerated loss of accuracy allows). Here one price of energy rules all layers: a layer is cut until the next
    weights would take away fewer modelled joules for the noise of its outputs (:func:`noise`) than those of any other.
    Measured here, AlexNet on CIFAR-10, one round to 0.327 of the energy, 4,000 validation images, one seed: 83.8 %, and
    82.5 % if relative errors are added up instead; the dense net 88.3 %. After two epochs more 86.0 % (at 0.330), and
    85.3 % for magnitude pruning (at 0.329).

    ``structure`` "channels" (ours) does the same with whole channels, cut for real by their groups
    (:mod:`joulemark.nets.dependencies`): their magnitude is that of all weights that make or read them, the outputs are
    those of the layers that read them, and a group keeps a multiple of ``round_to`` of them, or all. Zeros in weights
    do not take away what activations cost; a chain of the two does: ``energy-aware-pruning:structure=channels`` then
    ``energy-aware-pruning``.

    Batch norm is not folded: it is wanted in training. Errors are measured and weights are ranked as if it were, behind
    its scale; its mean (or else the bias of the layer) is set so that the mean of the outputs stays. Filters in front
    of one keep their length (:meth:`joulemark.techniques.pruning.layerwise.Layer.put`): refitted ones are longer, and
    would learn more slowly (85.8 % instead of 86.0 %). The variance is left to the training. Raises
    :class:`TechniqueError` if the model sees no gain in zeros.
    """
    dense = bench.energy(net)
    first, report = cost(dense), []
    if not knows_joules(dense):
        bench.note("guide", f"modelled seconds of {dense.model}, which knows no joules; watts are taken as constant")
    for done, epochs in enumerate(_epochs(bench.epochs, rounds)):
        target = first * energy_share ** ((done + 1) / rounds)
        one_round = partial(prune, net, bench, target, images)
        if structure == "channels":
            one_round = partial(prune_channels, net, bench, target, images, round_to)
        pruned = bench.remember(f"pruned in round {done}", one_round)
        kept = {path: int((layer.layer.weight != 0).sum()) for path, layer in prunable(pruned.module(), pruned).items()}
        report.append({"energy_share": cost(bench.energy(pruned)) / first, "weights_kept_by_layer": kept})
        net = retrain(pruned, bench, epochs, retraining=retraining, rewind=rewind) if epochs else pruned
    bench.note("rounds", report)
    return net


def prune(net: Net, bench: Workbench, target: float, images: int) -> Net:
    """``net`` pruned to ``target`` modelled joules per input, each layer rebuilt, most joules first; not retrained.

    Joules are seconds throughout where the model knows no joules (:mod:`joulemark.techniques.pruning.guide`).
    """
    module = net.module(formats=False)
    layers = prunable(module, net)
    sums, wanted = observed(module, layers, bench, images)
    report = bench.energy(net)
    counts = plan(net, bench, module, layers, sums, report, target)
    masks = dict(net.masks)
    for path in ordered(report, layers):
        if counts[path] < int(layers[path].alive.sum()):
            now = seen_now(module, {path: layers[path]}, wanted, bench, images)
            masks[f"{path}.weight"] = layers[path].rebuild(now[path], counts[path])
    return net.replace(masks=masks).with_state(module)


def prune_channels(net: Net, bench: Workbench, target: float, images: int, round_to: int) -> Net:
    """``net`` cut to ``target`` modelled joules per input, whole channels at a time; not retrained.

    The order is that of the joules of all layers that make or read the channels of a group, most first; the layers that
    read them are rebuilt. Raises :class:`TechniqueError` if the net has no channels that can be cut.
    """
    module = net.module(formats=False)
    layers = prunable(module, net)
    groups = [group for group in channel_groups(net) if all_readers_in(group, layers)]
    if not groups:
        raise TechniqueError("energy-aware-pruning: structure=channels, and no channels of this net can be cut")
    sums, wanted = observed(module, layers, bench, images)
    joules = by_layer(bench.energy(net))
    worth = {group.name: sum(joules.get(path, 0.0) for path in {m.layer for m in group.members}) for group in groups}
    sizes = {group.name: magnitudes(group, layers) for group in groups}
    curves = {}
    for group in groups:
        found = readers(group, layers, sums)
        curves[group.name] = [
            (count, sum(noise(one.lost(largest(sizes[group.name], count))) for one in found))
            for count in (group.channels, *range((group.channels - 1) // round_to * round_to, 0, -round_to))
        ]

    def cost_of(counts: Mapping[str, int]) -> float:
        kept = {name: largest(sizes[name], count) for name, count in counts.items()}
        return cost(bench.energy(without(net, module, layers, sums, groups, kept)))

    prices = {group.name: worth[group.name] / group.channels / sum(joules.values()) for group in groups}
    counts = at_one_price(curves, prices, cost_of, target)
    kept = {}
    for group in sorted(groups, key=lambda group: -worth[group.name]):
        if counts[group.name] < group.channels:
            reading = {path: layers[path] for path in input_channels(group, layers)}
            now = seen_now(module, reading, wanted, bench, images)
            found = readers(group, layers, now)
            kept[group.name] = chosen(sizes[group.name], found, counts[group.name])
            for one, (path, layer) in zip(found, reading.items(), strict=True):
                layer.refit(now[path], one.columns(kept[group.name]))
    return taken_out(net.with_state(module), groups, kept)


def observed(
    module: nn.Module, layers: Mapping[str, Layer], bench: Workbench, images: int
) -> tuple[dict[str, Sums], dict[str, list[Tensor]]]:
    """Moments of all ``layers`` as they are, and their outputs, batch by batch, which pruning shall preserve."""
    sums: dict[str, Sums] = defaultdict(Sums)
    wanted: dict[str, list[Tensor]] = defaultdict(list)

    def see(path: str, _: int, x: Tensor, y: Tensor) -> None:
        sums[path].add(x, y)
        wanted[path].append(y)

    watch(module, layers, _first(bench, images), bench.seed, see)
    return sums, wanted


def seen_now(
    module: nn.Module, layers: Mapping[str, Layer], wanted: Mapping[str, list[Tensor]], bench: Workbench, images: int
) -> dict[str, Sums]:
    """Moments of the inputs that ``layers`` get by now, with the outputs that are wanted of them."""
    sums: dict[str, Sums] = defaultdict(Sums)

    def see(path: str, batch: int, x: Tensor, _: Tensor) -> None:
        sums[path].add(x, wanted[path][batch])

    watch(module, layers, _first(bench, images), bench.seed, see)
    return sums


def ordered(report: EnergyReport, layers: Mapping[str, Layer]) -> list[str]:
    """Paths of ``layers``, most modelled joules first; those that the model does not describe come last."""
    joules = by_layer(report)
    return sorted(layers, key=lambda path: -joules.get(path, 0.0))


def plan(
    net: Net,
    bench: Workbench,
    module: nn.Module,
    layers: Mapping[str, Layer],
    sums: Mapping[str, Sums],
    report: EnergyReport,
    target: float,
) -> dict[str, int]:
    """How many weights each layer keeps so that the net costs ``target`` joules, at one price of energy for all.

    A layer's error is the noise that pruning by magnitude makes, without refitting; the joules of a weight
    are what the layer costs less, by the model, when the smaller half of its weights is zero, spread over that half.
    """
    curves = {
        path: [(count, noise(error)) for count, error in layer.curve(sums[path])]
        for path, layer in layers.items()
        if path in sums
    }
    halves = {path: (int(layers[path].alive.sum()) + 1) // 2 for path in curves}
    before, after = by_layer(report), by_layer(bench.energy(_cut(net, module, layers, sums, halves)))
    worth = {
        path: max(0.0, before.get(path, 0.0) - after.get(path, 0.0)) / max(1, curve[0][0] - halves[path])
        for path, curve in curves.items()
    }
    if not any(worth.values()):
        raise TechniqueError(
            f"energy-aware-pruning: the model {report.model} sees no gain in weights that are zero; "
            "structure=channels takes weights away for real"
        )
    prices = {path: one / cost(report) for path, one in worth.items()}
    counts = at_one_price(
        curves, prices, lambda counts: cost(bench.energy(_cut(net, module, layers, sums, counts))), target
    )
    return {path: int(layer.alive.sum()) for path, layer in layers.items()} | counts


def noise(error: float) -> float:
    """Noise over signal of a layer's outputs, of their relative error: what is lost over what is left. Ours.

    Small errors stay what they are; one that leaves nothing of the outputs is not worth any gain.

    >>> noise(0.0), noise(0.5), noise(0.9) > 8.9
    (0.0, 1.0, True)
    """
    return error / max(1e-9, 1.0 - error)


def at_one_price(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    worth: Mapping[str, float],
    cost: Callable[[Mapping[str, int]], float],
    target: float,
) -> dict[str, int]:
    """The counts that minimise error + price x worth x count in each of ``curves``; at that price they cost ``target``.

    A curve holds (count, error); ``worth`` is what one of a count costs. Where even the highest price costs more than
    ``target``, that one's counts are returned.

    >>> curves = {"a": [(2, 0.0), (1, 0.1)], "b": [(2, 0.0), (1, 0.5)]}
    >>> at_one_price(curves, {"a": 0.25, "b": 0.25}, lambda counts: sum(counts.values()) / 4, 0.8)
    {'a': 1, 'b': 2}
    """

    def at(price: float) -> dict[str, int]:
        return {
            name: min(curve, key=lambda point: point[1] + price * worth[name] * point[0])[0]
            for name, curve in curves.items()
        }

    low, high = -3.0, 3.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if cost(at(10**middle)) > target:
            low = middle
        else:
            high = middle
    return at(10**high)


def _cut(
    net: Net, module: nn.Module, layers: Mapping[str, Layer], sums: Mapping[str, Sums], counts: Mapping[str, int]
) -> Net:
    """``net`` with only the largest weights of each layer, as many as ``counts`` says; ``module`` stays as it is.

    The means of all outputs stay, too: without that, activations die or wake up, and the model counts those.
    """
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    masks = {f"{path}.weight": layers[path].cut(sums[path], count) for path, count in counts.items()}
    made = net.replace(masks={**net.masks, **masks}).with_state(module)
    module.load_state_dict(before)
    return made


def _epochs(budget: int, rounds: int) -> list[int]:
    """Epochs of each round: one each, and what is left in the last; the first have none if there are too few.

    >>> _epochs(5, 3), _epochs(2, 3)
    ([1, 1, 3], [0, 1, 1])
    """
    found = [int(done >= rounds - budget) for done in range(rounds)]
    found[-1] += max(0, budget - rounds)
    return found


def _first(bench: Workbench, images: int) -> Iterator[Tensor]:
    """Batches of the first training images; drawn anew for each use, so that every pass is booked."""
    for batch, _ in bench.batches("train", batch_size=250):
        yield batch[:images]
        images -= len(batch)
        if images <= 0:
            return
