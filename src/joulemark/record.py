"""The vocabulary of results: what every room writes and reads, with the unit in the name.

Ground floor: imports nothing of ours. Records are frozen msgspec structs; unknown fields are refused, so a record of a
newer schema (or an edited one) is noticed rather than half read. Unknown values are ``None``, never 0.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

import msgspec

SCHEMA = 2
"""Version of every stored record. It goes up when the meaning of a field changes."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all stored records: frozen and strict on decoding. ``frozen`` is said again below for type checkers."""


class Kind(StrEnum):
    """How a number was got. The three are never added to or ranked with each other."""

    MEASURED = "measured"  # read from a hardware counter, a meter or a clock
    MODELLED = "modelled"  # computed from operations and constants
    PROXY = "proxy"  # stands in for energy (parameters, MACs, bytes)


class Quantity(Record, frozen=True, kw_only=True):
    """One number with its unit and its history.

    ``value`` is ``None`` when unknown, and ``reason`` then says why. ``low`` and ``high`` bound a 95 % interval;
    where time was lost, and the value is unknown for it, they are the least and the most that it can have been, and so
    they are with the flag "bounds", where constants of a model are only known to lie between two values.
    ``random`` and ``systematic`` are standard uncertainties in ``unit``.

    >>> Quantity(value=None, unit="J", kind=Kind.MEASURED, method="counter", scope="cpu", source="", reason="no RAPL")
    ... # doctest: +ELLIPSIS
    Quantity(value=None, ...)
    """

    value: float | None
    unit: str  # "J", "s", "J/input", "s/input", "MAC/input", "B"
    kind: Kind
    method: str  # "energy counter", "monotonic clock", "row-stationary model", ...
    scope: str  # what the number covers: "package 0", "this process", "accelerator"
    source: str  # driver, file, paper: where method and constants come from
    low: float | None = None
    high: float | None = None
    random: float | None = None
    systematic: float | None = None
    count: int | None = None  # windows or samples behind the value
    flags: tuple[str, ...] = ()
    reason: str | None = None
    paths: tuple[str, ...] = ()  # scope paths of what it covers ("wall/platform/package-0"); empty: only in words
    gain: str | None = None  # the sensor whose uncertain scale alone makes ``systematic``; None: several, or not known
    lost_seconds: float | None = None  # time in the window whose energy is not in the value
    coverage: float | None = None  # share of the window that was seen, 0 to 1


class Reading(Record, frozen=True, kw_only=True):
    """A raw integer of a hardware counter with the monotonic times just before and just after it was read."""

    before_ns: int
    after_ns: int
    raw: int


class Ratio(Record, frozen=True, kw_only=True):
    """Baseline cost over candidate cost (above 1: the candidate costs less), with its 95 % interval."""

    value: float
    low: float
    high: float
    count: int  # paired blocks behind it


class LayerEnergy(Record, frozen=True, kw_only=True):
    """Modelled joules per input of one operation, by component ("DRAM", "buffer", "MAC", ...).

    ``operands`` splits the components that move data by what is moved: "weights", "inputs" or "outputs" (partial sums
    too) -> component -> joules. Unset where a model does not tell, and in records from before it was thought of.
    """

    layer: str
    operator: str
    joules: dict[str, float]
    macs: float  # per input
    operands: dict[str, dict[str, float]] | msgspec.UnsetType = msgspec.UNSET
    seconds: float | msgspec.UnsetType = msgspec.UNSET  # modelled, per input; unset: the model gives no times


class EnergyReport(Record, frozen=True, kw_only=True):
    """What one energy model says of one workload."""

    model: str
    joules: Quantity  # per input, whole net
    layers: tuple[LayerEnergy, ...]
    coverage: float  # share of executed MACs that the model describes
    assumptions: tuple[str, ...]
    sources: tuple[str, ...]
    seconds: Quantity | None = None  # per input, whole net; None: the model gives no times


class Score(Record, frozen=True, kw_only=True):
    """A metric of one compiled net on one split, with what it was computed from.

    ``predicted`` and ``truth`` are of every record made since the second schema. One of the first schema holds
    ``correct`` instead: whether each row is right, and not which class it was given.
    """

    split: str
    metric: str  # registered name: "accuracy"
    rows: int
    value: float  # 0 to 1
    predicted: str | None  # class of every row, or its k largest ones (joulemark.judging.packed)
    truth: str | None  # key of the Truth it was judged by
    correct: str | None = None  # one bit a row: hex, first row first, padded with 0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` unless there are predictions with their truth, or bits alone."""
        if (self.predicted is None) != (self.truth is None) or (self.predicted is None) == (self.correct is None):
            raise ValueError(
                "a score holds what was predicted and the key of what is true, or else right-or-wrong bits"
            )


class Truth(Record, frozen=True, kw_only=True):
    """What is true of every row of one split, stored once: the labels, or what another net predicts.

    ``labels`` and ``groups`` are packed (:mod:`joulemark.judging.packed`). The key is a content key of all the rest.
    """

    schema: int = SCHEMA
    key: str
    task: str
    task_key: str
    split: str
    rows: int
    classes: int
    labels: str  # class of every row
    groups: str | None  # of every row, as numbers; None: rows do not come in groups
    net: str | None = None  # hash of the net whose predictions these are; None: they are the labels of the data


class Timing(Record, frozen=True, kw_only=True):
    """Paired measurement of one compiled net against the fp32 baseline, same threads and batch.

    ``ratio`` divides by the baseline on the same backend; ``reference_ratio`` is the headline and divides by it on
    ``reference``, the backend that ran the fp32 baseline fastest when all were screened. A block is one row of
    ``blocks``: seconds per input of the baseline's first window, of the candidate (geometric mean of its two windows)
    and of the baseline's second window. The same row of ``reference_blocks`` is the reference's two windows; it is
    empty if the reference is this very backend. Ratios can be recomputed from the blocks.
    """

    backend: str
    batch_size: int
    threads: int
    precision: str
    execution: str  # "real" or "simulated"
    reason: str | None  # why it is simulated
    seconds: Quantity  # per input
    baseline_seconds: Quantity  # per input
    ratio: Ratio | None  # None: too few blocks for an interval
    joules: Quantity  # per input
    joules_ratio: Ratio | None = None
    blocks: tuple[tuple[float, float, float], ...]  # seconds per input: baseline, candidate, baseline; in time order
    order: tuple[str, ...] = ()  # of older records; now in the trial
    joules_blocks: tuple[tuple[float, float, float], ...] = ()  # joules per input; empty without a counter
    turned: tuple[bool, ...] = ()  # blocks that ran inside out: candidate, baseline, baseline, candidate
    screening: dict[str, float] = {}  # seconds per input of the fp32 baseline, backend by backend
    reference: str | None = None  # backend of the headline's denominator; None: not screened
    reference_seconds: Quantity | None = None  # per input
    reference_ratio: Ratio | None = None
    reference_joules_ratio: Ratio | None = None
    reference_blocks: tuple[tuple[float, float], ...] = ()
    reference_joules_blocks: tuple[tuple[float, float], ...] = ()


class Conditions(Record, frozen=True, kw_only=True):
    """What else happened on the machine while windows were measured; None: cannot be seen here."""

    seconds: float  # wall time
    cores: int
    own_cpu_seconds: float  # of this process
    busy_cpu_seconds: float | None  # of all processes in sight, this one included
    stolen_seconds: float | None  # CPU time that the hypervisor gave to others
    throttles: int | None  # times a core was slowed down because of heat


class PacedSide(Record, frozen=True, kw_only=True):
    """What one net did while single inputs came at fixed times, idle included. Hours are the windows scaled up."""

    inputs: int  # over all windows
    latency_seconds: float  # median, from the time the input was due to its answer
    latency_95_seconds: float  # 95th percentile
    missed: int  # answered after the next input was due
    busy_seconds_per_hour: float  # wall time spent running the net
    cpu_seconds_per_hour: float  # CPU time of this process, waiting included
    joules_per_hour: Quantity  # gross: idle included


class Paced(Record, frozen=True, kw_only=True):
    """A net and the fp32 baseline, each on its own backend, answering single inputs at a fixed rate in turn."""

    inputs_per_second: float
    backend: str
    reference: str  # backend of the baseline: the fastest fp32 one at batch 1
    threads: int
    execution: str  # "real" or "simulated"
    reason: str | None
    window_seconds: float  # of one window; a block is baseline, candidate, candidate, baseline, or turned inside out
    candidate: PacedSide
    baseline: PacedSide
    idle_joules_per_hour: Quantity  # nothing running, before and after; gross
    busy_ratio: float  # busy seconds of the baseline over those of the candidate
    blocks: tuple[tuple[float, float, float], ...] = ()  # busy seconds per input: baseline, candidate, baseline
    busy: Ratio | None = None  # the ratio of the blocks; None: too few for an interval
    conditions: Conditions | None = None  # of the machine meanwhile


class Making(Record, frozen=True, kw_only=True):
    """What one attempt cost to make; everything the technique asked of the workbench is booked here."""

    seconds: float
    cpu_seconds: float
    image_passes: int  # an image that went forward and backward once, or forward once
    joules: Quantity


class Machine(Record, frozen=True, kw_only=True):
    """The machine a record was made on."""

    hardware_class: str
    processor: str
    cores: int
    memory_bytes: int | None
    accelerator: str | None
    system: str
    virtual: bool | None
    governor: str | None


class Check(Record, frozen=True):
    """One condition of a quiet machine; ``ok`` is ``None`` if it cannot be seen here."""

    name: str
    ok: bool | None
    detail: str


class Provenance(Record, frozen=True, kw_only=True):
    """How to get the record again."""

    joulemark: str  # version
    commit: str | None
    command: str
    started: str  # ISO 8601, UTC
    machine: Machine
    versions: dict[str, str]  # packages and Python
    load_average: float | None = None
    checks: tuple[Check, ...] = ()  # of a quiet machine, just before a trial's windows
    boot: str | None = None  # names the time since the machine was started; None: cannot be told


class Made(Record, frozen=True, kw_only=True):
    """A net as it was made, before anything judged it: the expensive part of an attempt, kept on its own.

    Whatever changes in how nets are judged, measured or modelled, none is made again.
    """

    schema: int = SCHEMA
    key: str
    task: str
    task_key: str
    technique: str
    knobs: tuple[dict[str, Any], ...]  # one for each link of the chain, in order
    seed: int
    start: str | None  # hash of the trained baseline it was made from; None for a baseline itself
    net: str  # hash of the saved net
    making: Making
    notes: dict[str, Any] = {}
    code: dict[str, str] = {}  # the trace of its making: unit of code -> digest; empty: not known
    provenance: Provenance


class Attempt(Record, frozen=True, kw_only=True):
    """One technique with one setting of its knobs and one seed, judged on validation images only."""

    schema: int = SCHEMA
    key: str
    task: str
    task_key: str
    technique: str  # names joined by "+" when techniques are composed
    knobs: tuple[dict[str, Any], ...]  # one for each link of the chain, in order
    seed: int
    made: str  # key of the record of its making
    net: str | None  # hash of the saved net
    score: Score | None
    backend: str | None = None  # the suite's first with real kernels for the net, or else its first
    execution: str  # on that backend: "real" or "simulated"
    reason: str | None
    seconds: Quantity  # per input, screening on that backend
    joules: Quantity  # per input, measured while screening
    models: dict[str, Quantity]  # energy model -> modelled joules per input
    proxies: dict[str, float]
    making: Making
    notes: dict[str, Any] = {}
    code: dict[str, str] = {}  # the trace of its judgement
    provenance: Provenance


class Trial(Record, frozen=True, kw_only=True):
    """One chosen attempt, measured by the full protocol and tested once."""

    schema: int = SCHEMA
    key: str
    attempt: str  # key
    task: str
    task_key: str
    hardware_class: str
    technique: str
    knobs: tuple[dict[str, Any], ...]  # one for each link of the chain, in order
    seed: int
    net: str
    scores: dict[str, Score]  # backend -> test score of the compiled object that is timed
    timings: tuple[Timing, ...]
    models: tuple[EnergyReport, ...]
    proxies: dict[str, float]
    notes: dict[str, Any] = {}
    code: dict[str, str] = {}  # the trace of its measurement
    provenance: Provenance
    paced: tuple[Paced, ...] = ()
    order: tuple[str, ...] = ()  # "backend batch size" of every block, in time order
    order_seed: int | None = None  # shuffles the order and tosses the coin of each block
    conditions: Conditions | None = None
    warnings: tuple[str, ...] = ()  # names of joulemark.judging.stability's warnings


class Agreement(Record, frozen=True, kw_only=True):
    """How near the outputs of one way to run a net are to those of another, on the same images."""

    images: int
    same_class: float | None  # share of images whose largest output is the same one; None: outputs are no class scores
    low: float | None  # 95 % interval of that share
    high: float | None
    largest_difference: float  # between two outputs, in the outputs' own unit
    mean_relative: float  # mean difference over the root mean square of the reference's outputs
    largest_relative: float  # largest difference over the same


class FreeTrial(Record, frozen=True, kw_only=True):
    """One way to run the unchanged fp32 baseline: runtime, threads, batch, layout, compilation or precision.

    Measured in blocks against the same net on the suite's first backend at batch 1 on the suite's threads. What cannot
    run here has a ``reason`` and nothing measured.
    """

    schema: int = SCHEMA
    key: str
    task: str
    task_key: str
    hardware_class: str
    seed: int
    net: str  # hash of the baseline's net
    backend: str  # "eager"
    options: tuple[str, ...]  # of that backend: ("bf16", "channels_last")
    threads: int
    batch_size: int
    precision: str  # "fp32" or "bf16"
    control: bool  # the baseline's own setting against itself: A/A
    reason: str | None = None  # why it could not run
    ratio: Ratio | None = None  # baseline seconds / its seconds, per input
    control_ratio: Ratio | None = None  # the baseline against itself in the same blocks: A/A
    seconds: Quantity  # per input
    cpu_ratio: Ratio | None = None  # the same of CPU-seconds: threads may buy seconds with them
    cpu_seconds: Quantity  # per input, all threads of this process
    joules_ratio: Ratio | None = None
    joules: Quantity  # per input
    blocks: tuple[tuple[float, float, float], ...] = ()  # seconds per input: baseline, setting, baseline
    cpu_blocks: tuple[tuple[float, float, float], ...] = ()  # CPU-seconds per input
    joules_blocks: tuple[tuple[float, float, float], ...] = ()  # joules per input; empty without a counter
    turned: tuple[bool, ...] = ()  # blocks that ran inside out
    order: tuple[str, ...] = ()  # what ran in each block of its group, as shuffled
    order_seed: int | None = None
    conditions: Conditions | None = None  # while its group was measured
    flags: tuple[str, ...] = ()  # warnings about the machine
    ready_seconds: float | None = None  # to compile or export it, once
    agreement: Agreement | None = None  # with the baseline's outputs, on the validation images
    score: Score | None = None  # on the validation images
    baseline_score: Score | None = None
    loss_points: float | None = None
    loss_bound: float | None = None  # one-sided 95 % upper bound, points
    code: dict[str, str] = {}  # the trace of its measurement
    provenance: Provenance


class Failure(Record, frozen=True, kw_only=True):
    """A step that did not finish, kept for the board; the next run tries it again."""

    schema: int = SCHEMA
    key: str
    task: str
    task_key: str
    technique: str
    knobs: tuple[dict[str, Any], ...]  # one for each link of the chain, in order
    seed: int
    reason: str  # one sentence
    started: str
    declined: bool = False  # it did not fail: the task does not allow it, and says why


class Study(Record, frozen=True, kw_only=True):
    """Which records of the store belong together: those of the last run of a suite, kept up while it runs.

    Boards are drawn from these alone, so that other settings of the same suite never mix with them. ``settings`` hashes
    all that must be equal for rows to stand on one board, but for code: that each record keeps for itself.
    """

    schema: int = SCHEMA
    key: str  # the suite's name
    settings: str
    limits_points: tuple[float, ...] = ()  # with the models (one board each), all that the choice on validation needs
    models: tuple[str, ...] = ()
    baselines: tuple[str, ...]  # attempt keys
    screening: dict[str, dict[str, float]] = {}  # batch size -> fp32 backend -> seconds per input of the baseline
    attempts: dict[str, tuple[str, ...]] = {}  # technique -> attempt keys
    trials: tuple[str, ...] = ()
    free: tuple[str, ...] = ()  # keys of what costs nothing


def content_key(*parts: Any) -> str:
    """Key of anything JSON can hold: the first 16 hex digits of the SHA-256 of its canonical JSON.

    >>> content_key("a", {"y": 1, "x": 2}) == content_key("a", {"x": 2, "y": 1})
    True
    """
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]
