"""Images for an audit: a folder of pictures or a .npy file, made into what the net takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.record import Record

SUFFIXES = (".png", ".jpg", ".jpeg")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of the training images scaled to 0..1; what most published image nets were trained with (torchvision's recipes)."""


class Preprocessing(Record, frozen=True, kw_only=True):
    """Pixels 0..255 times ``scale``, minus ``mean``, divided by ``std`` (one entry a channel, or one for all)."""

    scale: float = 1 / 255
    mean: tuple[float, ...] | None = None  # None: ImageNet's for three channels, 0 for others
    std: tuple[float, ...] | None = None
    bgr: bool = False

    def numbers(self, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each channel. ``ValueError`` if they do not fit the channels or a deviation is 0."""
        usual = channels == 3
        mean = self.mean if self.mean is not None else IMAGENET_MEAN if usual else (0.0,)
        std = self.std if self.std is not None else IMAGENET_DEVIATION if usual else (1.0,)
        for name, values in (("--mean", mean), ("--std", std)):
            if len(values) not in (1, channels):
                raise ValueError(f"{name} has {len(values)} numbers, the net's input has {channels} channels")
        if min(std) <= 0:
            raise ValueError("--std must be greater than 0")
        return tuple(np.resize(np.asarray(values, np.float32), channels) for values in (mean, std))  # type: ignore[return-value]

    def words(self, shape: Sequence[int]) -> str:
        """What was done to the pixels."""
        mean, std = self.numbers(shape[0])
        listed = [" ".join(f"{value:g}" for value in values) for values in (mean, std)]
        return (
            f"{'BGR' if self.bgr else 'RGB' if shape[0] == 3 else 'grey'}, cut to {shape[1]}x{shape[2]} from the middle"
            f" (shorter side fitted, bilinear), (pixel * {self.scale:.6g} - {listed[0]}) / {listed[1]}"
        )


def read_images(place: Path, shape: Sequence[int], how: Preprocessing, *, most: int) -> NDArray[np.float32]:
    """At most ``most`` inputs, float32 of shape (inputs, *shape), channels first.

    Of a folder, evenly spread over its PNG and JPEG files, folders inside it included; of a ``.npy`` file, its first
    rows as they are. Raises ``ValueError`` naming the file that cannot be used.
    """
    if place.suffix == ".npy":
        return _array(place, tuple(shape), most)
    if not place.is_dir():
        raise ValueError(f"there is no folder of images {place} (nor a .npy file)")
    files = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise ValueError(f"there are no {', '.join(SUFFIXES)} files in {place}")
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"a net of inputs {tuple(shape)} takes no pictures: give its inputs as a .npy file")
    chosen = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int))
    mean, std = how.numbers(shape[0])
    return np.stack([_picture(files[index], shape, how, mean, std) for index in chosen])


def random_images(shape: Sequence[int], count: int) -> NDArray[np.float32]:
    """Normal noise, the same every time: for timing alone."""
    return np.random.default_rng(0).standard_normal((count, *shape), dtype=np.float32)


def _array(place: Path, shape: tuple[int, ...], most: int) -> NDArray[np.float32]:
    try:
        array: NDArray[Any] = np.load(place, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {place}") from error
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{place} is not an array that NumPy can read: {error}") from error
    if array.shape[1:] != shape or not len(array):
        raise ValueError(f"{place} has shape {array.shape}, the net takes (inputs, {', '.join(map(str, shape))})")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{place} holds {array.dtype}, not numbers")
    rows = np.array(array[:most], np.float32)
    if not np.isfinite(rows).all():
        raise ValueError(f"{place} holds numbers that are not finite")
    return rows


def _picture(
    path: Path, shape: Sequence[int], how: Preprocessing, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise ValueError(
            "reading pictures needs Pillow: pip install 'joulemark[audit]', or give a .npy file"
        ) from error
    try:
        with Image.open(path) as image:
            colours = image.convert("RGB" if shape[0] == 3 else "L")
            fitted = ImageOps.fit(colours, (shape[2], shape[1]), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    pixels = np.asarray(fitted, np.float32).reshape(shape[1], shape[2], shape[0]).transpose(2, 0, 1)
    if how.bgr:
        pixels = pixels[::-1]
    return np.ascontiguousarray((pixels * np.float32(how.scale) - mean[:, None, None]) / std[:, None, None])
