"""Modelled joules on a microcontroller without vector units: cycles times joules a cycle, and whether the net fits.

The board is that of Rashid, Demirel and Al Faruque, "AHAR", IEEE IoT-J 9(15), 2022; the arithmetic of a layer is ours,
since the paper's was not seen. A run current i in A/Hz at a supply of U volts makes a cycle cost i U
joules, whatever the core does. Eight-bit integers are multiplied one after the other, weights read from flash:

    multiply-accumulate   load a weight (+ flash waits), load an input, MLA, (count + branch) / unrolled
    output of a product   SMULL, round, saturate, store
    any other operator    load and one instruction an input element, store an output element, the loop

Cycle counts are those of a core without wait states (Cortex-M3 Technical Reference Manual, table 3-1). The joules carry
the least and the most that the cycle counts allow. Constants stand in ``efm32gg.toml`` with their sources.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.resources import files
from math import prod
from typing import Literal

import msgspec

from joulemark.energy.proxies import proxies
from joulemark.energy.sourced import Constant, told
from joulemark.energy.summing import check_inputs, unknown_flags, unknown_notes
from joulemark.record import EnergyReport, Kind, LayerEnergy, Quantity, Record
from joulemark.workloads.workload import Operation, Workload

BYTE, WIDE, FLOAT = 8, 16, 32
FOLDED = "batch_norm"

ASSUMPTIONS = (
    "weights lie in flash, inputs in RAM; each is loaded once a multiply-accumulate, nothing stays in registers",
    "zeros are multiplied like any number, padding too",
    "batch norm is folded into its convolution; the second input of an addition and biases cost nothing",
    "a pooling reads each input once, where windows overlap it reads more; exponentials are a look-up",
    "one input at a time: nothing is shared by a batch; the core sleeps without current when it is done",
    "the core draws its run current whatever it does",
)

Cycles = Callable[[Constant], float]
"""Which of a constant's values is meant: its best, its least or its most."""


class Constants(Record, frozen=True, kw_only=True):
    """The constants of a board, by name."""

    run_current: Constant
    supply: Constant
    clock: Constant
    flash: Constant
    ram: Constant
    flash_wait: Constant
    multiply_accumulate: Constant
    load: Constant
    store: Constant
    simple: Constant
    long_multiply: Constant
    taken_branch: Constant
    unrolled: Constant


class Description(Record, frozen=True, kw_only=True):
    """A board, as ``efm32gg.toml`` describes it."""

    name: str
    title: str
    constants: Constants

    @classmethod
    def read(cls, text: str) -> Description:
        """Read a board from TOML; ``msgspec.ValidationError`` if anything is missing, unknown or out of range."""
        return msgspec.convert(tomllib.loads(text), cls)

    @classmethod
    def giant_gecko(cls) -> Description:
        """Read the one that comes with Joulemark."""
        return cls.read((files("joulemark.energy") / "efm32gg.toml").read_text(encoding="utf-8"))


class Demand(Record, frozen=True, kw_only=True):
    """What a net asks of the board, per input."""

    cycles: float
    seconds: float
    flash_reads: float
    ram_reads: float
    ram_writes: float
    flash_bytes: float  # weights; code and biases come on top
    ram_bytes: float  # activations alive at once; stack and buffers come on top
    misfit: str | None  # why the net does not fit; None: it does


class Microcontroller:
    """Energy model of one board.

    >>> from joulemark.workloads.workload import Operation, Workload
    >>> layer = Operation(layer="fc", operator="linear", input_shape=(1000,), output_shape=(10,),
    ...                   weight_shape=(10, 1000), rows=1, calls=1, macs=10_000)
    >>> model = Microcontroller()
    >>> demand = model.demand(Workload(inputs=1, batch_size=1, operations=(layer,)))
    >>> demand.cycles, demand.flash_bytes  # 10,000 x (4 + 2 + 2 + 4 / 4) and 10 x (4 + 2 + 2)
    (90080.0, 10000.0)
    """

    def __init__(self, description: Description | None = None) -> None:
        """Take a board; without one, ``Description.giant_gecko()``."""
        self.description = description or Description.giant_gecko()

    @property
    def name(self) -> str:
        """Name of the model, "microcontroller" unless the description says otherwise."""
        return self.description.name

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of the constants, and what is ours."""
        known = {name: getattr(self.description.constants, name) for name in Constants.__struct_fields__}
        return (
            "Board: Rashid, Demirel, Al Faruque, AHAR (IEEE IoT-J 2022); the cycles of a layer are ours",
            *told(known),
        )

    @property
    def joules_per_cycle(self) -> float:
        """Run current times supply.

        >>> f"{Microcontroller().joules_per_cycle:.3g} J"
        '6.57e-10 J'
        """
        return self.description.constants.run_current.value * self.description.constants.supply.value

    def demand(self, workload: Workload) -> Demand:
        """Cycles, accesses and memory per input. ``ValueError`` for a workload without inputs."""
        check_inputs(workload)
        cycles = sum(sum(self._cycles(one, workload, _best).values()) for one in workload.operations)
        narrow = msgspec.structs.replace(_narrowed(workload), unknown={})  # what is known is costed, and flagged
        sizes = proxies(narrow, parameters=0, nonzeros=0)
        flash = sizes["weight_bytes"] or 0.0
        ram = ((sizes["peak_memory_bytes"] or 0.0) - flash) / workload.batch_size
        macs = workload.known_macs_per_input
        others = [one for one in workload.operations if not one.macs and one.operator != FOLDED]
        board = self.description.constants
        return Demand(
            cycles=cycles,
            seconds=cycles / board.clock.value,
            flash_reads=macs,
            ram_reads=macs + sum(prod(one.input_shape) * one.rows for one in others) / workload.inputs,
            ram_writes=sum(prod(one.output_shape) * one.rows for one in workload.operations if one.operator != FOLDED)
            / workload.inputs,
            flash_bytes=flash,
            ram_bytes=ram,
            misfit=_misfit(("flash", flash, board.flash.value), ("RAM", ram, board.ram.value)),
        )

    def estimate(self, workload: Workload) -> EnergyReport:
        """Joules per input of every recorded operator, with their least and most.

        A net that does not fit is costed as if it did, flagged "does not fit". ``ValueError`` for a workload without
        inputs.
        """
        need = self.demand(workload)
        joules = self.joules_per_cycle
        layers = tuple(
            LayerEnergy(
                layer=one.layer,
                operator=one.operator,
                joules={part: joules * count for part, count in cycles.items()},
                macs=one.macs / workload.inputs,
            )
            for one in workload.operations
            if (cycles := self._cycles(one, workload, _best))
        )
        least, most = (
            joules * sum(sum(self._cycles(one, workload, pick).values()) for one in workload.operations)
            for pick in (_least, _most)
        )
        total = Quantity(
            value=joules * need.cycles if layers else None,
            unit="J/input",
            kind=Kind.MODELLED,
            method=f"{self.name} model: cycles times joules a cycle",
            scope=f"{self.description.title}: core and memories, while it computes",
            source="; ".join(self.sources),
            low=least if layers else None,
            high=most if layers else None,
            flags=(
                *(("bounds",) if layers else ()),
                *(("does not fit",) if need.misfit else ()),
                *unknown_flags(workload),
            ),
            reason=None if layers else "the workload has no operators",
        )
        return EnergyReport(
            model=self.name,
            joules=total,
            layers=layers,
            coverage=1.0 if layers else 0.0,
            assumptions=(*ASSUMPTIONS, *_notes(workload, need, self.description)),
            sources=self.sources,
        )

    def _cycles(self, operation: Operation, workload: Workload, pick: Cycles) -> dict[str, float]:
        """Cycles per input of one operator, by what they are spent on."""
        if operation.operator == FOLDED:
            return {}
        board, rows = self.description.constants, operation.rows / workload.inputs
        turn = (pick(board.simple) + pick(board.taken_branch)) / board.unrolled.value
        load, store, simple = pick(board.load), pick(board.store), pick(board.simple)
        outputs = prod(operation.output_shape) * rows
        if not operation.macs:
            inputs = prod(operation.input_shape) * rows
            return {
                "weight loads": 0.0,  # so that parts come in one order
                "input loads": inputs * load,
                "arithmetic": inputs * simple,
                "outputs": outputs * store,
                "loop": max(inputs, outputs) * turn,
            }
        macs = operation.macs / workload.inputs
        return {
            "weight loads": macs * (load + pick(board.flash_wait)),
            "input loads": macs * load,
            "arithmetic": macs * pick(board.multiply_accumulate),
            "outputs": outputs * (pick(board.long_multiply) + 2 * simple + store),
            "loop": macs * turn,
        }


def stored_bits(bits: int) -> Literal[8, 16]:
    """Bits that a number takes here: a byte, or two for 9 to 16 bits; floating point is quantised to a byte.

    >>> stored_bits(4), stored_bits(16), stored_bits(32)
    (8, 16, 8)
    """
    return 16 if BYTE < bits <= WIDE else 8


def _best(constant: Constant) -> float:
    return constant.value


def _least(constant: Constant) -> float:
    return constant.least


def _most(constant: Constant) -> float:
    return constant.most


def _narrowed(workload: Workload) -> Workload:
    """The workload in the numbers that the board stores."""
    operations = tuple(
        msgspec.structs.replace(
            one, weight_bits=stored_bits(one.weight_bits), activation_bits=stored_bits(one.activation_bits)
        )
        for one in workload.operations
    )
    peak = workload.peak_activation_bytes
    if peak is not None and all(one.activation_bits == FLOAT for one in workload.operations):
        peak *= BYTE / FLOAT
    return msgspec.structs.replace(workload, operations=operations, peak_activation_bytes=peak)


def _misfit(*memories: tuple[str, float, float]) -> str | None:
    over = [
        f"{name} holds {size / 1024:,.0f} KiB, the net needs {needed / 1024:,.0f} KiB"
        for name, needed, size in memories
        if needed > size
    ]
    return " and ".join(over) or None


def _notes(workload: Workload, need: Demand, board: Description) -> list[str]:
    """What is special about this workload."""
    sizes = f"{need.flash_bytes / 1024:,.1f} KiB of weights, {need.ram_bytes / 1024:,.1f} KiB of activations"
    notes = [
        f"does not fit: {need.misfit}; costed as if it did" if need.misfit else f"fits: {sizes}",
        f"{need.cycles:,.0f} cycles, {need.seconds:.3g} s at {board.constants.clock.value / 1e6:g} MHz;"
        f" {need.flash_reads:,.0f} flash reads, {need.ram_reads:,.0f} RAM reads, {need.ram_writes:,.0f} RAM writes",
    ]
    if any(max(one.weight_bits, one.activation_bits) > WIDE for one in workload.operations):
        notes.append("floating point is run as 8-bit integers: the core has no floating-point unit")
    if workload.peak_activation_bytes is None:
        notes.append(
            "activations alive at once were not recorded: the largest input and output of one operator stand in"
        )
    return notes + unknown_notes(workload)
