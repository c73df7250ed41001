"""Writing a net as a file for others to run, from Python: checked on real rows, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from joulemark.backends.backend import Images
from joulemark.backends.exported import KINDS, written
from joulemark.backends.fidelity import ROWS as ROWS
from joulemark.machine.atomic_files import replace_file
from joulemark.nets.net import Net


def write_net(net: Net, path: Path, images: Images) -> Path:
    """Write ``net`` as ``.onnx`` or ``.pt2``, once the file computed the same for ``images``; the whole path.

    Raises ``ValueError`` for another ending, for a net that the format cannot hold and for a file that computes another
    net; ``OSError`` if it cannot be written.
    """
    kind = KINDS.get(path.suffix)
    if kind is None:
        raise ValueError(f"{path} ends in neither .onnx nor .pt2: the ending says which of the two is written")
    data, _ = written(kind, net, images)
    place = path.resolve()
    replace_file(place, data)
    return place
