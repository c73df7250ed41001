"""The command: verbs only. Each one parses, calls and prints; the work is done in the rooms below.

Imports that are slow stand inside the verbs, so that ``joulemark --help`` answers at once.
"""

from joulemark.cli import starting, running, exporting, reading, looking, profiling, calibrating, replaying, selftesting  # noqa: I001  (the order in which --help shows the verbs)
from joulemark.cli.main import main

__all__ = [
    "calibrating",
    "exporting",
    "looking",
    "main",
    "profiling",
    "reading",
    "replaying",
    "running",
    "selftesting",
    "starting",
]
