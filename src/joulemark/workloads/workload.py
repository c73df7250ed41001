"""What a net really executes: operations of layers, with shapes, bits and zeros, and how often each ran.

It is computed and never stored, so it stands with what computes it and not with the records.
"""

from __future__ import annotations

from joulemark.record import Record


class Operation(Record, frozen=True, kw_only=True):
    """One operator of one layer, summed over every time it ran while ``Workload.inputs`` inputs went through.

    An operator that ran with other weights or in other shapes is another operation of the same layer. Shapes are of
    one row (no batch axis). ``macs`` are multiply-accumulates actually executed by the dense kernel, padding included,
    as ``torch.utils.flop_counter`` counts them (its FLOPs are two per MAC).
    """

    layer: str  # module path, "conv1"
    operator: str  # "conv", "linear", "max_pool", "relu", ...
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_shape: tuple[int, ...] | None = None  # (M, C / groups, R, S) or (out, in)
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    kernel: tuple[int, ...] = ()  # window of a pooling; that of a convolution is in its weight's shape
    rows: int  # rows executed, over all calls
    calls: int
    macs: int  # executed MACs, over all rows
    weight_bits: int = 32
    activation_bits: int = 32
    weight_density: float = 1.0  # non-zero share of the weights
    activation_density: float = 1.0  # non-zero share of the input activations seen
    joint_density: float = 1.0  # share of non-padding MACs with both operands non-zero
    weight: str | None = None  # name of the parameter; None: computed while the net runs, or not known


class Workload(Record, frozen=True, kw_only=True):
    """What a net really executed for ``inputs`` real inputs, sent in batches of ``batch_size``.

    ``unknown`` maps operators that no rule describes to their share of all output elements: whatever they multiply is
    in no operation. ``peak_activation_bytes`` is the most that activations took at once while one batch went through;
    None: not recorded.
    """

    inputs: int
    batch_size: int
    operations: tuple[Operation, ...]
    unknown: dict[str, float] = {}
    peak_activation_bytes: float | None = None

    @property
    def macs_per_input(self) -> float | None:
        """Executed MACs per input, averaged over the inputs; ``None`` if an operator is unknown, which may multiply."""
        return None if self.unknown else self.known_macs_per_input

    @property
    def known_macs_per_input(self) -> float:
        """MACs per input of the operators that rules describe: the net executes at least so many."""
        return sum(operation.macs for operation in self.operations) / self.inputs

    @property
    def known_share(self) -> float:
        """Share of all output elements whose operators rules describe."""
        return max(1.0 - sum(self.unknown.values()), 0.0)
