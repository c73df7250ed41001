"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 1 x 28 x 28, ten classes of equal size.

Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017. The address is the authors' repository
(the one in their paper has no https), the MD5s are those of its README. No two of the 70,000 images are equal.
"""

from __future__ import annotations

from joulemark.data import idx
from joulemark.data.download import Remote
from joulemark.data.files import obtain
from joulemark.data.source import Source

# Not the given folder itself: the files of MNIST and Fashion-MNIST have the same names.
FOLDERS = ("fashion", "fashion-mnist", "fashion-mnist/data/fashion", "FashionMNIST", "FashionMNIST/raw")
REPOSITORY = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
MD5S = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
REMOTES = tuple(Remote(f"{name}.gz", f"{REPOSITORY}{name}.gz", md5) for name, md5 in zip(idx.NAMES, MD5S, strict=True))


def read() -> Source:
    """Training and test images. ``FileNotFoundError`` if they are nowhere, ``ValueError`` if a file is damaged."""
    return idx.source(obtain("fashion", FOLDERS, (idx.NAMES,), REMOTES))
