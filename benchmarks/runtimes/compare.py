"""Four nets in two runtimes, precision by precision: seconds, accuracy, and what OpenVINO's layers really ran in.

Beside our int8 graph stand those of the two runtimes' own quantisers: ONNX Runtime's ``quantize_static`` and NNCF. NNCF
is for this comparison only, so it goes into an environment of its own:

    python3 -m venv /tmp/runtimes
    /tmp/runtimes/bin/pip install -c constraints.txt -e '.[quick]' nncf
    JOULEMARK_DATA=... /tmp/runtimes/bin/python benchmarks/runtimes/compare.py

Writes results.json and results.md beside itself, after every net; a net that is there is not measured again (delete
results.json to begin anew). All quantisers see the same 256 calibration images. One thread. Each net is measured
against ONNX Runtime's fp32 at the same batch size, all ways of one net and batch size in shuffled blocks; accuracy is
on all test images, by the compiled net that is timed, at batch 100.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import torch

from joulemark.auditing.integers import quantised
from joulemark.backends.backend import Compiled
from joulemark.backends.onnx import OnnxRuntime
from joulemark.backends.onnx_exporter import export
from joulemark.backends.openvino import OpenVino, OpenVinoNet, runtime
from joulemark.backends.predicting import predict
from joulemark.benchmarking.measuring import Pair, measure_pairs
from joulemark.benchmarking.own_task import open_task
from joulemark.benchmarking.suite import Measuring
from joulemark.benchmarking.suite_files import load_suite
from joulemark.data.own.own_data import own_splits
from joulemark.data.splits import split
from joulemark.judging.statistics import paired_ratio
from joulemark.machine.machine import this_machine
from joulemark.meters.meters import Meters
from joulemark.nets.folding import fold
from joulemark.nets.net import Net
from joulemark.techniques.precision.int8 import int8
from joulemark.vocabulary import look_up

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NETS = {
    "ResNet-20, CIFAR-10": "cifar10",
    "VGG, CIFAR-10": "cifar10-vgg",
    "inception, CIFAR-10": "cifar10-inception",
    "MobileNetV2-like, Fashion-MNIST": "examples/own_nets/mobile.py",
    "LeNet-5, MNIST": "mnist",
}
CALIBRATION = 256
BATCH_SIZES = (1, 64)
MEASURING = Measuring(window_seconds=0.05, blocks=9, images=256)
PACKAGES = ("torch", "onnxruntime", "openvino", "nncf")


class Calibration:
    """The part of a workbench that int8 asks for."""

    def __init__(self, images: np.ndarray[Any, Any]) -> None:
        self.images = torch.from_numpy(images)

    def batches(self, name: str, *, batch_size: int = 64) -> Iterator[tuple[torch.Tensor, None]]:
        """Calibration images, without labels."""
        yield from ((batch, None) for batch in self.images.split(batch_size))


def opened(where: str) -> tuple[Net, dict[str, Any]]:
    """A trained net and the splits of its task."""
    if where.endswith(".py"):
        own = open_task(ROOT / where)
        return own.net, own_splits(own.task)
    task = load_suite(where).task
    folder = next((ROOT / "src/joulemark/baselines").glob(f"{where}-????????"))
    weights = min(folder.glob("*.safetensors"))
    return Net.from_bytes(weights.read_bytes()), split(task, look_up("data set", task.data).read())


def ways(net: Net, images: np.ndarray[Any, Any]) -> dict[tuple[str, str, str], Compiled | dict[int, Compiled]]:
    """(runtime, precision, shapes) -> the net ready to run, of ONNX Runtime's static graphs one for each batch size."""
    plain, ours = fold(net).module(), int8(net, Calibration(images)).module()  # type: ignore[arg-type]
    graphs = {"fp32": exported(plain, net), "int8": exported(ours, net)}
    graphs["int8 by quantize_static"] = quantised(graphs["fp32"], images)
    by_nncf = nncf.quantize(
        runtime().Core().read_model(graphs["fp32"]),
        nncf.Dataset([one[None] for one in images]),
        subset_size=len(images),
    )
    found: dict[tuple[str, str, str], Any] = {}
    for precision, graph in graphs.items():
        found["ONNX Runtime", precision, "dynamic"] = OnnxRuntime().ready(graph, threads=1)
    for precision, module in (("fp32", plain), ("int8", ours)):
        found["ONNX Runtime", precision, "static"] = {
            rows: OnnxRuntime().ready(exported(module, net, rows), threads=1) for rows in BATCH_SIZES
        }
    for shapes in ("dynamic", "static"):
        options = [shapes] if shapes == "static" else []
        found["OpenVINO", "fp32", shapes] = OpenVino(options).ready(graphs["fp32"], threads=1)
        found["OpenVINO", "bf16", shapes] = OpenVino([*options, "bf16"]).ready(graphs["fp32"], threads=1)
        found["OpenVINO", "int8", shapes] = OpenVino(options).ready(graphs["int8"], threads=1)
        found["OpenVINO", "int8 by NNCF", shapes] = OpenVinoNet(
            by_nncf, [0], 1, precision="fp32", static=shapes == "static"
        )
    return found


def exported(module: torch.nn.Module, net: Net, rows: int | None = None) -> bytes:
    """The module as a graph for any batch, or for one of ``rows``."""
    return export(module, (torch.zeros(rows or 2, *net.input_shape),), free_rows=rows is None)


def measured(net: Net, splits: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each way to run the net."""
    images = np.asarray(splits["train"].images[:CALIBRATION], np.float32)
    test, labels = np.asarray(splits["test"].images[:], np.float32), splits["test"].labels
    every = ways(net, images)
    rows = []
    for key, ready in every.items():
        row: dict[str, Any] = dict(zip(("runtime", "precision", "shapes"), key, strict=True))
        if not isinstance(ready, dict):  # a static graph computes what the dynamic one does
            row["accuracy"] = float((predict(ready, test).argmax(1) == labels).mean())
        if isinstance(ready, OpenVinoNet):
            row["ran"] = collections.Counter(
                f"{one.kind} {one.precision}" for one in ready.executed() if one.kind not in ("Reorder", "Reshape")
            )
        rows.append(row)
    for size in BATCH_SIZES:
        pairs = []
        for key, ready in every.items():
            baseline = every["ONNX Runtime", "fp32", "dynamic"]
            candidate = ready[size] if isinstance(ready, dict) else ready
            pairs.append(Pair(", ".join(key), baseline, candidate, size))  # type: ignore[arg-type]
        for _ in measure_pairs(pairs, test[: MEASURING.images], MEASURING, Meters([]), order_seed=size):
            pass
        for row, pair in zip(rows, pairs, strict=True):
            ratio = paired_ratio(pair.seconds)
            seconds = pair.candidate_seconds.value
            row[f"batch {size}"] = {
                "seconds": seconds, "ratio": ratio and [ratio.value, ratio.low, ratio.high],
                "blocks": [list(block) for block in pair.seconds],
            }  # fmt: skip
    return rows


def table(results: dict[str, Any]) -> str:
    """The tables, one for each net."""
    packages = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        "# Runtimes side by side", "",
        f"{results['date']}, class `{results['hardware_class']}`, one thread: {packages}. Made by `compare.py`,"
        " which says how. Times faster than ONNX Runtime's fp32 with free shapes at the same batch size, with 95 %"
        " intervals; the first row is that net against itself. ONNX Runtime has no bf16 on processors.",
    ]  # fmt: skip
    if not results["bf16"]:
        lines.append(
            "This processor has no bf16 instructions: OpenVINO emulates them, so that bf16 is slower than fp32."
        )
    for name, rows in results["nets"].items():
        lines += ["", f"## {name}", "",
                  "| runtime | precision | shapes | accuracy | batch 1 | µs | batch 64 | µs an input |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for row in rows:
            cells = [row["runtime"], row["precision"], row["shapes"]]
            cells.append(f"{100 * row['accuracy']:.2f} %" if "accuracy" in row else "as dynamic")
            for size in BATCH_SIZES:
                ratio, seconds = row[f"batch {size}"]["ratio"], row[f"batch {size}"]["seconds"]
                cells += ["{:.2f} ({:.2f} to {:.2f})".format(*ratio) if ratio else "", f"{1e6 * seconds:.0f}"]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        for row in rows:
            if "ran" in row and row["shapes"] == "dynamic":
                ran = ", ".join(f"{count} {what}" for what, count in sorted(row["ran"].items()))
                lines.append(f"- {row['precision']} ran as: {ran}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the nets that are not in results.json yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), help="some of: " + "; ".join(NETS))
    chosen = parser.parse_args().nets
    torch.set_num_threads(1)
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"nets": {}}
    results |= {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "hardware_class": this_machine().hardware_class,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "bf16": "BF16" in runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    }
    for name in chosen:
        if name not in results["nets"]:
            results["nets"][name] = measured(*opened(NETS[name]))
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (HERE / "results.md").write_text(table(results), encoding="utf-8")
            print(name, "is done")


if __name__ == "__main__":
    main()
