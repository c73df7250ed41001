"""The control that every clever technique must beat: the same family of net, narrower, trained alike.

Idea:
    Whoever wants a cheaper net can build a smaller one. A net of the baseline's family with fewer channels, trained
    from scratch by the baseline's own recipe, says what a technique adds to that.

Equations:
    channels of each hidden layer = width × channels of the baseline, rounded as the builder does

Claims:
    - training the pruned shape from scratch is enough; several nets, accuracy; the pruned and fine-tuned net; equal or
      better where the shape was given in advance [recalled]

Reference:
    control, after Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell, "Rethinking the value of network pruning", ICLR 2019
    (arXiv 1810.05270).
"""

from __future__ import annotations

from typing import Annotated

from joulemark.nets.net import Net
from joulemark.techniques.compact.drawn_anew import narrow_anew
from joulemark.techniques.technique import Range, TechniqueError, Workbench, technique
from joulemark.training import cosine, sgd


@technique(
    "small-dense",
    paper="control, after Z. Liu et al., Rethinking the value of network pruning, ICLR 2019",
    family="control",
    knob="width",
    start="scratch",
)
def small_dense(net: Net, bench: Workbench, *, width: Annotated[float, Range(0.1, 0.9, gentle="high")] = 0.5) -> Net:
    """Train a narrower net of the baseline's family from scratch by the baseline's own recipe.

    Every hidden layer has ``width`` times the channels of the baseline. A user's own net has no such option: every
    group of its channels keeps that share, and all weights are drawn anew
    (:func:`joulemark.techniques.compact.drawn_anew.narrow_anew`). Raises :class:`TechniqueError` for a net that has no
    width to shrink.
    """
    recipe = bench.task.recipe
    optimiser = sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    narrow = narrow_anew(net, width, bench.seed) if net.source is not None else _narrow(net, width, bench.seed)
    return bench.fit(narrow, epochs=bench.epochs, optimiser=optimiser, schedule=cosine)


def _narrow(net: Net, width: float, seed: int) -> Net:
    """The builder's net of that share of the channels that ``net`` has."""
    options = {**net.options, "width": width * float(net.options.get("width", 1.0))}
    try:
        return Net.new(net.builder, net.input_shape, seed=seed, **options)
    except ValueError as error:
        raise TechniqueError(f"small-dense needs a builder with an option `width`: {error}") from error
