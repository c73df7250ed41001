"""Numbers that stand in for energy, each with its unit. None of them is energy, and none becomes it by a factor.

Desislavov et al. (2023) and Yang et al. (2017) both show why: nets of equal MACs or equal weights differ several times
in joules, because most of the energy moves data and some data moves far. They are kept beside measured and modelled
joules so that a reader can see where they mislead.
"""

from __future__ import annotations

from math import prod

from joulemark.workloads.workload import Operation, Workload


def proxies(workload: Workload, *, parameters: int, nonzeros: int) -> dict[str, float | None]:
    """Proxies of a net's energy from what it executed; ``parameters`` and ``nonzeros`` count the net's own.

    ================================ ===============================================================================
    ``parameters``                   size of the net; stands in for storage and download
    ``nonzero_parameters``           size after pruning, if zeros were free; stands in for compressed storage
    ``macs_per_input``               multiply-accumulates executed; stands in for arithmetic
    ``weight_bytes``                 dense weights of the layers that ran, at their bits; stands in for memory footprint
    ``bytes_moved_per_input``        inputs and outputs of every operator, and weights once a call (so shared by the
                                     batch); stands in for memory traffic, as if nothing stayed in a cache
    ``peak_memory_bytes``            all weights, and the activations of a batch that are alive at once at most (if that
                                     was not recorded: the largest input and output of one operator); stands in for
                                     the memory that must be powered
    ================================ ===============================================================================

    Outputs are counted at the bits of the inputs, biases not at all. All but the first two are ``None`` if the workload
    has operators that no rule describes. ``ValueError`` for a workload without inputs.

    >>> layer = Operation(layer="fc", operator="linear", input_shape=(4,), output_shape=(2,), weight_shape=(2, 4),
    ...                   rows=8, calls=2, macs=64)
    >>> found = proxies(Workload(inputs=8, batch_size=4, operations=(layer,)), parameters=10, nonzeros=9)
    >>> found["macs_per_input"], found["bytes_moved_per_input"]  # 4 * (4 + 2) bytes, and 32 bytes of weights / 4
    (8.0, 32.0)
    """
    if workload.inputs < 1:
        raise ValueError("a workload without inputs has no proxies per input")
    weights: dict[tuple[str, str | None], float] = {}
    for operation in workload.operations:  # weights that run in several shapes, or in several layers, are there once
        key = ("", operation.weight) if operation.weight else (operation.layer, None)
        weights[key] = max(weights.get(key, 0.0), _weight_bytes(operation))
    alive = workload.peak_activation_bytes
    if alive is None:
        alive = workload.batch_size * max(map(_activation_bytes, workload.operations), default=0.0)
    executed: dict[str, float] = {
        "macs_per_input": float(workload.known_macs_per_input),
        "weight_bytes": sum(weights.values()),
        "bytes_moved_per_input": sum(map(moved_bytes, workload.operations)) / workload.inputs,
        "peak_memory_bytes": sum(weights.values()) + alive,
    }
    return {
        "parameters": float(parameters),
        "nonzero_parameters": float(nonzeros),
        **(dict.fromkeys(executed) if workload.unknown else executed),
    }


def moved_bytes(operation: Operation) -> float:
    """Bytes an operation moved over the whole run: its rows' inputs and outputs, and its weights once a call."""
    return operation.rows * _activation_bytes(operation) + operation.calls * _weight_bytes(operation)


def _weight_bytes(operation: Operation) -> float:
    """Bytes of an operator's dense weights; 0 if it has none."""
    return 0.0 if operation.weight_shape is None else prod(operation.weight_shape) * operation.weight_bits / 8


def _activation_bytes(operation: Operation) -> float:
    """Bytes of one row's input and output."""
    return (prod(operation.input_shape) + prod(operation.output_shape)) * operation.activation_bits / 8
