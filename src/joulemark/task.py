"""What is asked: data and how it is split, the metric, the baseline's recipe, the accuracy that may be lost.

A task is frozen and hashed. Anything that would change a result changes the key, and results of other keys are never
compared with it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace as changed

from joulemark.record import Record, content_key

BASELINE = "baseline"
"""What the trained net that techniques start from is called, where techniques are."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
"""Bounds are there to refuse infinity and slips of the pen, which would be found out only after hours."""


def refuse_name(what: str, name: str) -> None:
    """Raise ``ValueError`` for a name that cannot be that of a folder or file on every system."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(
            f"{what} {name[:80]!r} must be 1 to 64 letters (a to z), digits, '.', '_' or '-', and not begin with '.'"
        )


class Splits(Record, frozen=True, kw_only=True):
    """Rows in each split, or groups where a task splits by group.

    Train fits weights; policy trains what decides (exits, gates); validation chooses; test is looked at once, for what
    was chosen.
    """

    train: Positive
    policy: Positive
    validation: Positive
    test: Positive


class Recipe(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How the baseline is trained from scratch: SGD with Nesterov momentum, linear warm-up, cosine decay to zero.

    ``augment`` and ``precision`` hold for every later fit on the task too, that of a technique included. "crop-flip" is
    a random crop of the image padded by four pixels and a random mirror (He et al., CVPR 2016, section 4.2), in
    "crop2-flip" padded by two. "bf16" multiplies in bfloat16 and keeps weights, gradients and optimiser in float32.
    """

    builder: str
    options: dict[str, Any] = {}
    epochs: Positive
    batch_size: Positive
    learning_rate: Rate
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    augment: Literal["none", "crop-flip", "crop2-flip"] = "none"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for options that no builder could be given."""
        for name, value in self.options.items():
            if name in {"builder", "input_shape", "seed"}:
                raise ValueError(f"options: {name!r} is no option of a builder, but said elsewhere")
            if isinstance(value, float) and not -1e9 < value < 1e9:
                raise ValueError(f"options: {name} = {value:g} must be a number from -1e9 to 1e9")


class Own(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What a task of a user's own is beside its data: the net he gives is the baseline, and is not trained again.

    ``net`` is the digest of its weights. Without ``trains`` there are no rows to train on, without ``labelled`` the
    classes of the original net stand in for labels, and without ``scratch`` nobody said how such a net is trained from
    scratch. ``functions`` are the digests of the user's code that changes inputs or losses. ``warnings`` stand on every
    board. What is not ``isolated`` is made of live objects: its results are never used again by another process.
    """

    net: str
    trains: bool = True
    labelled: bool = True
    scratch: bool = True
    functions: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    isolated: bool = True


class Task(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One question: this data, this split, this metric, this baseline.

    ``data_sha256`` is the digest of all inputs and labels in canonical order (see ``joulemark.data.digests``), checked
    when they are read; "unknown" leaves the check to the reader. ``split_by`` "class" keeps the classes' proportions,
    "group" keeps groups such as subjects whole and counts ``splits`` in them, "given" takes the source's own splits.
    ``mean`` and ``deviation`` scale inputs, one entry for each along their first axis: (x - mean) / deviation, with
    pixel / 255 for x where inputs are bytes. Without them nothing else is done to an input. ``metric`` is the name of a
    registered one.
    """

    name: str
    title: str
    data: str
    data_sha256: str
    splits: Splits
    split_seed: int = 0
    split_by: Literal["class", "group", "given"] = "class"
    input_shape: tuple[int, ...]
    classes: Annotated[int, msgspec.Meta(ge=1, le=10**6)]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    metric: Annotated[str, msgspec.Meta(min_length=1)] = "accuracy"
    recipe: Recipe
    limit_images: Positive | None = None  # at most so many of each split: for smoke runs, never for results
    own: Own | None = None  # of a user's own task

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a name that makes no folder, or if shape and scaling do not fit together."""
        refuse_name("name", self.name)
        if not self.input_shape or min(self.input_shape) < 1:
            raise ValueError(f"input_shape {list(self.input_shape)} must be whole numbers of at least 1")
        if self.recipe.augment != "none" and len(self.input_shape) != 3:
            raise ValueError(f"augment {self.recipe.augment!r} is of images, and inputs are {list(self.input_shape)}")
        if (self.mean or self.deviation) and not len(self.mean) == len(self.deviation) == self.input_shape[0]:
            raise ValueError(f"mean and deviation need one entry for each of the {self.input_shape[0]} channels")
        if not all(0 < one <= 1e6 for one in self.deviation):
            raise ValueError("deviation must be greater than 0 and at most 1e6")
        if not all(abs(one) <= 1e6 for one in self.mean):
            raise ValueError("mean must be from -1e6 to 1e6")

    @property
    def key(self) -> str:
        """Hash of everything above but ``own.warnings``; results carry it.

        Fields at their defaults are left out, so that a later version with more of them keeps the keys of old tasks.
        Warnings follow from the data, whose digest is in the key: how they are worded makes no other task.
        """
        keyed = self if self.own is None else changed(self, own=changed(self.own, warnings=()))
        plain = msgspec.to_builtins(keyed)
        return content_key("task", {**plain, "splits": _plain(self.splits), "recipe": _plain(self.recipe)})


FIRST_FIELDS = frozenset(
    """train policy validation test builder options epochs batch_size learning_rate momentum weight_decay augment
    precision""".split()  # noqa: SIM905
)
"""Fields of splits and recipe that were there from the first: keys hold them at their defaults, too."""


def _plain(record: Record) -> dict[str, Any]:
    """The values of a record that a key is the digest of."""
    added = [field for field in msgspec.structs.fields(record) if field.name not in FIRST_FIELDS]
    usual = {field.name for field in added if getattr(record, field.name) == field.default}
    return {name: value for name, value in msgspec.to_builtins(record).items() if name not in usual}
