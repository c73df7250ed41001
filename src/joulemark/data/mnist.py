"""MNIST: 60,000 training and 10,000 test images of digits, 1 x 28 x 28; classes of about, not exactly, equal size.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits, 1998. The official site serves
the files no more; the address is the mirror that PyTorch keeps, the MD5s are the official ones. No two of the 70,000
images are equal.
"""

from __future__ import annotations

from joulemark.data import idx
from joulemark.data.download import Remote
from joulemark.data.files import obtain
from joulemark.data.source import Source

# Not the given folder itself: the files of MNIST and Fashion-MNIST have the same names.
FOLDERS = ("mnist", "mnist/raw", "MNIST", "MNIST/raw")
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MD5S = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
REMOTES = tuple(Remote(f"{name}.gz", f"{MIRROR}{name}.gz", md5) for name, md5 in zip(idx.NAMES, MD5S, strict=True))


def read() -> Source:
    """Training and test images. ``FileNotFoundError`` if they are nowhere, ``ValueError`` if a file is damaged."""
    return idx.source(obtain("mnist", FOLDERS, (idx.NAMES,), REMOTES))
