"""Training: one loop for all, what a recipe is made of, and the checkpoints that a killed fit goes on from."""

from joulemark.training.checkpoint import Checkpoint, stateful, states_from_bytes, states_to_bytes
from joulemark.training.loop import PRECISIONS, Callback, Fitted, Step, fit, image_passes
from joulemark.training.recipe import (
    AUGMENTS,
    Augment,
    Loss,
    MakeOptimiser,
    Schedule,
    cosine,
    crop_flip,
    cross_entropy,
    sgd,
)

__all__ = [
    "AUGMENTS",
    "PRECISIONS",
    "Augment",
    "Callback",
    "Checkpoint",
    "Fitted",
    "Loss",
    "MakeOptimiser",
    "Schedule",
    "Step",
    "cosine",
    "crop_flip",
    "cross_entropy",
    "fit",
    "image_passes",
    "sgd",
    "stateful",
    "states_from_bytes",
    "states_to_bytes",
]
