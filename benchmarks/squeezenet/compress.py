"""The published Deep-Compressed SqueezeNet in real files: bytes, and accuracy of what is read back from each.

The authors' weights (pruned, 8 bits, decoded to float32) are written as float32 (safetensors), with the codebooks they
have, and with codebooks of 6 bits found by k-means without retraining. Every file is read back, and the net read back
is scored on 500 validation images of ImageNet (ten classes of fifty, scored among all thousand), prepared as in Caffe:
blue first, less the mean 104, 117, 123, 227 x 227.

    JOULEMARK_DATA=DIR python benchmarks/squeezenet/compress.py

DIR holds ``weights/squeezenet_v1.0_deepcompressed_decoded_f32.npz`` (S. Han's, BSD) and ``imagenet-val500/<wnid>/``.
Writes results.json and results.md beside itself. About three minutes on one core.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from joulemark.machine.machine import this_machine, versions
from joulemark.nets.compressed import compress, decompress
from joulemark.nets.net import Net
from joulemark.techniques.pruning.deep_compression import share

HERE = Path(__file__).parent
WEIGHTS = "weights/squeezenet_v1.0_deepcompressed_decoded_f32.npz"
NAMES = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1x1", "conv3x3_2": "expand3x3", "conv_final": "conv10"}
CLASSES = {"n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497, "n03394916": 566,
           "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701}  # fmt: skip
ALEXNET_MEGABYTES = 240
"""What the paper compares with: float32, 60,965,224 parameters (table 2, recalled)."""
ALEXNET_PARAMETERS = 60_965_224
CLAIMS = {"float32": "50x, 4.8 MB", "8 bits": "363x, 0.66 MB, 57.5 / 80.3 %", "6 bits": "510x, 0.47 MB, 57.5 / 80.3 %"}
MEAN = np.array([104.0, 117.0, 123.0], np.float32)[:, None, None]
BATCH = 50


def published(folder: Path) -> Net:
    """The authors' weights as a net."""
    state = {}
    with np.load(folder / WEIGHTS) as arrays:
        for name in arrays.files:
            path = ".".join(NAMES.get(part, part) for part in name.split("."))
            state[path] = torch.from_numpy(arrays[name])
    return Net(builder="squeezenet", input_shape=(3, 227, 227), state=state)


def pictures(folder: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of prepared images and their classes."""
    rows, labels = [], []
    for path in sorted((folder / "imagenet-val500").glob("*/*")):
        with Image.open(path) as opened:
            picture = opened.convert("RGB").resize((227, 227), Image.Resampling.BILINEAR)
        rows.append(np.asarray(picture, np.float32).transpose(2, 0, 1)[::-1] - MEAN)
        labels.append(CLASSES[path.parent.name])
        if len(rows) == BATCH:
            yield torch.from_numpy(np.stack(rows)), torch.tensor(labels)
            rows, labels = [], []
    if rows:
        yield torch.from_numpy(np.stack(rows)), torch.tensor(labels)


def score(net: Net, folder: Path) -> dict[str, float | int]:
    """Top-1 and top-5 among a thousand classes, in percent."""
    module, seen, first, five = net.module(), 0, 0, 0
    with torch.inference_mode():
        for images, labels in pictures(folder):
            top = module(images).topk(5).indices
            seen += len(labels)
            first += int((top[:, 0] == labels).sum())
            five += int((top == labels[:, None]).sum())
    return {"images": seen, "top1_percent": 100 * first / seen, "top5_percent": 100 * five / seen}


def main() -> None:
    """Write, read back, score, and tell."""
    folder = Path(os.environ["JOULEMARK_DATA"])
    net = published(folder)
    ways: dict[str, tuple[bytes, Callable[[bytes], Net]]] = {
        "float32": (net.to_bytes(), Net.from_bytes),
        "8 bits": (compress(net), decompress),
        "6 bits": (compress(share(net, 6)), decompress),
    }
    rows = []
    for name, (data, read) in ways.items():
        file = HERE / f"squeezenet-{name.replace(' ', '-')}.tmp"
        file.write_bytes(data)
        size = file.stat().st_size
        again = read(file.read_bytes())
        file.unlink()
        rows.append({"stored as": name, "bytes": size, "times": ALEXNET_MEGABYTES * 1e6 / size, **score(again, folder),
                     "claim": CLAIMS[name]})  # fmt: skip
        print(rows[-1], flush=True)
    weights = [t for t in net.state.values() if t.dim() > 1]
    nonzero = sum(int(t.count_nonzero()) for t in weights) / sum(t.numel() for t in weights)
    facts = {
        "parameters": net.parameters(), "parameters_times": ALEXNET_PARAMETERS / net.parameters(),
        "nonzero_weights_percent": 100 * nonzero,
        "machine": this_machine().hardware_class, "versions": versions(),
    }  # fmt: skip
    (HERE / "results.json").write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n", encoding="utf-8")
    (HERE / "results.md").write_text(table(rows, facts), encoding="utf-8")


def table(rows: list[dict], facts: dict) -> str:
    """The results as Markdown."""
    lines = [
        "# The Deep-Compressed SqueezeNet v1.0 in real files", "",
        f"{facts['parameters']:,} parameters, {facts['parameters_times']:.1f} times fewer than AlexNet's "
        f"{ALEXNET_PARAMETERS:,}; {facts['nonzero_weights_percent']:.1f} % of the weights are not zero. Made by "
        "`compress.py`, which says how; every file was read back before it was scored.", "",
        "| stored as | bytes | AlexNet's 240 MB over that | top-1 / top-5, 500 images | the paper's claim |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {row['stored as']} | {row['bytes']:,} | {row['times']:.0f} | {row['top1_percent']:.1f} / "
        f"{row['top5_percent']:.1f} % | {row['claim']} |"
        for row in rows
    ]
    lines += [
        "", "Claims are times smaller than AlexNet, size, and accuracy on all 50,000 validation images (recalled; 363x",
        "and 510x seen in the README of the authors' SqueezeNet_compressed). Here it is 500 images of ten classes,",
        "among all thousand. The 8 bits are the authors' own codebooks; the 6 bits are found by k-means on their 8-bit",
        "weights, without the retraining of the paper.", "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
