"""Where the files of a data set are: in the folder JOULEMARK_DATA, else in the cache, which downloads fill."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from joulemark.data.download import Remote, fetch, show


def obtain(
    data: str, folders: Sequence[str], layouts: Sequence[Sequence[str]], remotes: Sequence[Remote]
) -> list[Path]:
    """Files of data set ``data``: one of ``layouts`` (the names that belong together), found or else downloaded.

    ``remotes`` are downloaded to the cache, in the sub-folder ``data``, and are one of the layouts. Raises
    ``FileNotFoundError`` if the files are neither here nor to be had, ``ValueError`` if a download is not what was
    published.
    """
    given = os.environ.get("JOULEMARK_DATA")
    if given and not Path(given).is_dir():
        raise FileNotFoundError(f"JOULEMARK_DATA is {given}, and there is no such folder")
    own = cache_folder() / data
    places = [(Path(given), folders)] if given else []
    roots = (*places, (own, ["."]))
    for root, below in roots:
        if found := find(root, below, layouts):
            return found
    lacking = [sentence for root, below in roots for sentence in incomplete(root, below, layouts)]
    try:
        for remote in (one for one in remotes if not (own / one.name).is_file()):
            sys.stderr.write(f"downloading {remote.address} to {own}\n")
            fetch(remote, own, progress=show if sys.stderr.isatty() else None)
    except OSError as error:
        wanted = ", ".join(one.name for one in remotes)
        where = f"neither in {Path(given) / folders[0]} (below JOULEMARK_DATA) nor" if given else "not"
        lack = f"; {'; '.join(lacking)}" if lacking else ""
        raise FileNotFoundError(
            f"no {data} data: {wanted} (or what is in them) are {where} in {own}, and {remote.address} cannot be "
            f"fetched ({error}){lack}: get them there, and set JOULEMARK_DATA to the folder that holds {folders[0]}"
        ) from error
    return [own / remote.name for remote in remotes]


def find(root: Path, folders: Sequence[str], layouts: Sequence[Sequence[str]]) -> list[Path] | None:
    """The files of the first layout that one of the ``folders`` below ``root`` holds in full.

    ``root`` may be such a folder itself, by its name. Each file may be there as named or compressed, with ".gz" added.
    """
    for folder in _places(root, folders):
        for names in layouts:
            found = _present(folder, names)
            if len(found) == len(names):
                return list(found.values())
    return None


def incomplete(root: Path, folders: Sequence[str], layouts: Sequence[Sequence[str]]) -> list[str]:
    """What is missing from each folder that holds some, but not all, files of a layout: one sentence each."""
    present = [(folder, names, _present(folder, names)) for folder in _places(root, folders) for names in layouts]
    return [
        f"{folder} lacks {', '.join(name for name in names if name not in found)}"
        for folder, names, found in present
        if 0 < len(found) < len(names)
    ]


def _places(root: Path, folders: Sequence[str]) -> list[Path]:
    """The ``folders`` below ``root``, and ``root`` itself if it is named like one of them."""
    named = [
        root
        for folder in folders
        if Path(folder).parts and root.parts[-len(Path(folder).parts) :] == Path(folder).parts
    ]
    return list(dict.fromkeys([*(root / folder for folder in folders), *named]))


def _present(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Those of ``names`` that are there, and where."""
    found = {name: next(filter(Path.is_file, _spellings(folder / name)), None) for name in names}
    return {name: path for name, path in found.items() if path is not None}


def contents(path: Path) -> bytes:
    """Bytes of a file, decompressed if its name ends in ".gz". ``ValueError`` if it is damaged."""
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def cache_folder() -> Path:
    """The user's cache for downloads.

    XDG_CACHE_HOME/joulemark, or ~/.cache/joulemark: the XDG base directory specification, which has relative paths
    ignored.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "joulemark"


def _spellings(path: Path) -> list[Path]:
    """A file as it is named, with a dot before the kind of an IDX file as some sites have it, and compressed."""
    names = dict.fromkeys((path.name, path.name.replace("-idx", ".idx")))
    return [path.with_name(f"{name}{end}") for name in names for end in ("", ".gz")]
