"""The order of blocks again, from the seed in a record: nobody picks which blocks count, or which were turned.

What :func:`joulemark.benchmarking.measuring.measure_pairs` does with its seed is done here anew, without nets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from joulemark.record import FreeTrial, Trial


def replayed(names: Sequence[str], blocks: int, order_seed: int) -> tuple[list[str], dict[str, list[bool]]]:
    """The order in which so many blocks of each named pair come, and of each pair which blocks run inside out.

    >>> order, turned = replayed(["a", "b"], 2, 7)
    >>> sorted(order), len(turned["a"])
    (['a', 'a', 'b', 'b'], 2)
    """
    rng = np.random.default_rng(order_seed)
    order = [*names] * blocks
    rng.shuffle(order)
    turned: dict[str, list[bool]] = {name: [] for name in names}
    for name in order:
        turned[name].append(bool(rng.integers(2)))
    return order, turned


def names_before(order: Sequence[str], order_seed: int) -> list[str]:
    """The pairs of a group in the order they were given, from what the seed made of them.

    >>> names_before(replayed(["b", "c", "a"], 4, 7)[0], 7)
    ['b', 'c', 'a']
    """
    places = list(range(len(order)))
    np.random.default_rng(order_seed).shuffle(places)
    given = [name for _, name in sorted(zip(places, order, strict=True))]
    return given[: len(set(order))]


def disordered_trial(trial: Trial) -> Iterator[str]:
    """What the seed of a trial does not give; of records older than ``order_seed`` nothing can be said."""
    if trial.order_seed is None:
        if trial.order or any(timing.turned for timing in trial.timings):
            yield "has an order of blocks and no seed of it"
        return
    names = [f"{timing.backend} batch {timing.batch_size}" for timing in trial.timings]
    counts = {len(timing.blocks) for timing in trial.timings}
    if len(counts) > 1 or len(set(names)) < len(names):
        yield "its timings are not each of another setting with as many blocks"
        return
    order, turned = replayed(names, max(counts, default=0), trial.order_seed)
    if list(trial.order) != order:
        yield f"order: is not what seed {trial.order_seed} makes of its timings"
    for name, timing in zip(names, trial.timings, strict=True):
        if list(timing.turned) != turned[name]:
            yield f"turned: the blocks of {name} that ran inside out are not those of seed {trial.order_seed}"


def disordered_free(free: FreeTrial) -> Iterator[str]:
    """The same of a free setting, whose record holds the order of its whole group."""
    if free.order_seed is None or not free.order:
        if free.order or free.blocks or free.turned:
            yield "has blocks without the order and seed of its group"
        return
    names = names_before(free.order, free.order_seed)
    order, turned = replayed(names, len(free.order) // len(names), free.order_seed)
    if list(free.order) != order:
        yield f"order: is not what seed {free.order_seed} makes of any group"
        return
    name = free_name(free)
    if free.blocks and (name not in turned or len(free.blocks) != len(turned[name])):
        yield f"order: {name} has {len(free.blocks)} blocks, its group ran {len(turned.get(name, ()))} of it"
    elif list(free.turned) != (turned[name] if free.blocks else []):
        yield f"turned: the blocks that ran inside out are not those of seed {free.order_seed}"


def free_name(free: FreeTrial) -> str:
    """What a free setting is called in the order of its group."""
    variant = ":".join([free.backend, *([",".join(sorted(free.options))] if free.options else [])])
    return f"{variant}, {free.threads} {'thread' if free.threads == 1 else 'threads'}, batch {free.batch_size}"
