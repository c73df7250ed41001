"""A folder of pictures, one folder a class: ``cats/1.png``, ``cats/2.jpg``, ``dogs/1.png``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class PictureFolder:
    """The pictures of a folder as a data set: (bytes of shape (channels, height, width), number of the class).

    Classes are numbered in the order of their folders' names. Pictures are grey if the first one is, and in three
    colours otherwise. Raises ``ValueError`` for a folder without such pictures.
    """

    def __init__(self, name: str, place: Path) -> None:
        if not place.is_dir():
            raise ValueError(f"{name} gave {str(place)!r}, and there is no such folder")
        self.classes = sorted(one.name for one in place.iterdir() if one.is_dir() and not one.name.startswith("."))
        self.files = [
            (path, label)
            for label, one in enumerate(self.classes)
            for path in sorted((place / one).rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
        if not self.files:
            raise ValueError(
                f"{name} gave the folder {place}, which holds no pictures in folders by class: put them into "
                f"{place.name}/CLASS/NAME{SUFFIXES[0]}"
            )
        self.colours: str | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[NDArray[Any], int]:
        path, label = self.files[row]
        return self._pixels(path), label

    def _pixels(self, path: Path) -> NDArray[np.uint8]:
        try:
            from PIL import Image, UnidentifiedImageError
        except ImportError as error:
            raise ValueError("reading pictures needs Pillow: pip install 'joulemark[audit]'") from error
        try:
            with Image.open(path) as image:
                if self.colours is None:
                    self.colours = "L" if image.mode in ("1", "L", "I;16", "I") else "RGB"
                pixels = np.asarray(image.convert(self.colours), np.uint8)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is no picture that can be read: {error}") from error
        return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
