"""The same nets on the same array, by Joulemark's row-stationary search and by ZigZag: CPU-seconds and energy.

Development only. ZigZag goes into an environment of its own:

    python3 -m venv /tmp/zigzag
    /tmp/zigzag/bin/pip install zigzag-dse six msgspec
    PYTHONPATH=src:tests/energy /tmp/zigzag/bin/python benchmarks/zigzag/compare.py alexnet

Writes results.json (every layer, versions) and results.md (the table) beside itself, after every layer. ZigZag takes
minutes a net. Costs are CPU-seconds, since the machine may be busy with other work meanwhile.

Both are told 12 x 14 elements, 256 words of registers each, 55,296 words of buffer that weights pass by, 16-bit words,
and the costs of Eyeriss: MAC 1, register 1, buffer 6, DRAM 200. ZigZag has no cost of a hop between elements (2 here,
shown on its own) and searches other mappings: any order of the loops, with output channels and input channels spread
over the array as its default mapping says; and it counts no access where a register would give the same word again. A
group of a grouped convolution is a layer of its own, times the groups. ZigZag runs equal layers once, and its seconds
are told for each of them, as ours are, whose search starts anew for every layer.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import operations
import yaml
from zigzag.api import get_hardware_performance_zigzag

from joulemark.energy.accelerator import Accelerator
from joulemark.energy.row_stationary import search
from joulemark.energy.shapes import Shape, layer_shape
from joulemark.workloads.workload import Operation, Workload

HERE = Path(__file__).parent
NETS = {
    "alexnet": operations.alexnet,
    "squeezenet": operations.squeezenet,
    "vgg16": operations.vgg16_convolutions,
    "resnet50": operations.resnet50,
}
CHIP = Accelerator().description


def memory(words: int, cost: float, operands: list[str], *, shared: bool) -> dict[str, Any]:
    """A memory that moves one word of 16 bits an access, through one port for all ways."""
    ways = [
        f"{operand}, {way}"
        for operand in operands
        for way in (("fh", "tl", "fl", "th") if operand == "O" else ("fh", "tl"))
    ]
    port = {"name": "rw_port_1", "type": "read_write", "bandwidth_min": CHIP.word_bits, "bandwidth_max": CHIP.word_bits}
    return {
        "size": words * CHIP.word_bits, "r_cost": cost, "w_cost": cost, "area": 0.0, "latency": 1, "operands": operands,
        "ports": [{**port, "allocation": ways}], "served_dimensions": ["D1", "D2"] if shared else [],
    }  # fmt: skip


def hardware() -> dict[str, Any]:
    """Our description of Eyeriss in ZigZag's words."""
    return {
        "name": "eyeriss",
        "memories": {
            "registers": memory(CHIP.register_words, CHIP.register, ["I1", "I2", "O"], shared=False),
            "buffer": memory(CHIP.buffer_words, CHIP.buffer, ["I1", "O"], shared=True),
            "dram": memory(10**9, CHIP.dram, ["I1", "I2", "O"], shared=True),
        },
        "operational_array": {
            "unit_energy": CHIP.mac, "unit_area": 0.0, "dimensions": ["D1", "D2"], "sizes": [CHIP.columns, CHIP.rows],
        },
    }  # fmt: skip


MAPPING = [
    {
        "name": "default",
        "spatial_mapping": {"D1": [f"K, {CHIP.columns}"], "D2": [f"C, {CHIP.rows}"]},
        "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
    }
]


def layer(shape: Shape, rows: int) -> list[dict[str, Any]]:
    """One group of a convolution of ``rows`` images in ZigZag's words; padding is part of the input, as here."""
    return [
        {
            "id": 0, "operator_type": "Conv", "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
            "dimension_relations": [f"ix={shape.stride_width}*ox+1*fx", f"iy={shape.stride_height}*oy+1*fy"],
            "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
            "loop_sizes": [rows, shape.filters, shape.channels, shape.out_height, shape.out_width,
                           shape.kernel_height, shape.kernel_width],
            "operand_precision": dict.fromkeys(("W", "I", "O", "O_final"), CHIP.word_bits),
            "operand_source": {"I": 0, "W": 0},
        }
    ]  # fmt: skip


def by_zigzag(shape: Shape, rows: int, folder: Path) -> dict[str, float]:
    """Energy of one image in MACs, and CPU-seconds."""
    files = {name: folder / f"{name}.yaml" for name in ("workload", "hardware", "mapping")}
    for name, content in {"workload": layer(shape, rows), "hardware": hardware(), "mapping": MAPPING}.items():
        files[name].write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    started = time.process_time()
    energy, _, _ = get_hardware_performance_zigzag(
        str(files["workload"]), str(files["hardware"]), str(files["mapping"]), opt="energy",
        dump_folder=str(folder / "out"), pickle_filename=str(folder / "out.pickle"),
    )  # fmt: skip
    return {"units": float(energy) * shape.groups / rows, "cpu_seconds": time.process_time() - started}


def by_us(operation: Operation, rows: int) -> dict[str, float]:
    """Energy of one image in MACs, that of hops between elements too, and CPU-seconds without a cached mapping."""
    search.cache_clear()
    started = time.process_time()
    (found,) = Accelerator().estimate(Workload(inputs=1, batch_size=rows, operations=(operation,))).layers
    seconds = time.process_time() - started
    hops = found.joules["array"] / CHIP.unit_joules
    return {"units": sum(found.joules.values()) / CHIP.unit_joules, "hops": hops, "cpu_seconds": seconds}


def table(results: dict[str, Any]) -> str:
    """The table, one row a layer and one a net."""
    lines = [
        "# Row-stationary search beside ZigZag",
        "",
        f"{results['date']}: zigzag-dse {results['versions']['zigzag-dse']}, Python {results['versions']['python']}, "
        f"batch {results['batch_size']}. Made by `compare.py`, which says how.",
        "",
        "Energy per image in millions of MACs; ZigZag has no cost for `hops`. Seconds are of CPU.",
        "",
        "| layer | ours | of which hops | ZigZag | ours without hops / ZigZag | ours, s | ZigZag, s | ZigZag / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for net, rows in results["nets"].items():
        total = {who: {key: sum(row[who][key] for row in rows) for key in rows[0][who]} for who in ("ours", "zigzag")}
        for name, row in [*((row["layer"], row) for row in rows), (f"**{net}**", total)]:
            ours, theirs = row["ours"], row["zigzag"]
            lines.append(
                f"| {name} | {ours['units'] / 1e6:,.0f} | {ours['hops'] / 1e6:,.0f} | {theirs['units'] / 1e6:,.0f} "
                f"| {(ours['units'] - ours['hops']) / theirs['units']:.2f} | {ours['cpu_seconds']:.3f} "
                f"| {theirs['cpu_seconds']:.1f} | {theirs['cpu_seconds'] / ours['cpu_seconds']:,.0f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the nets named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="+", choices=sorted(NETS))
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    versions = {name: version(name) for name in ("zigzag-dse", "numpy", "msgspec")}
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {**versions, "python": platform.python_version()},
        "batch_size": arguments.batch,
        "nets": {},
    }
    with tempfile.TemporaryDirectory() as name:
        known: dict[Shape, dict[str, float]] = {}
        for net in arguments.nets:
            rows = results["nets"][net] = []
            for operation in NETS[net]():
                shape = layer_shape(operation)
                if shape is None:
                    raise SystemExit(f"{operation.layer} is no layer that both describe")
                ours = by_us(operation, arguments.batch)
                known[shape] = known.get(shape) or by_zigzag(shape, arguments.batch, Path(name))
                rows.append({"layer": operation.layer, "ours": ours, "zigzag": known[shape]})
                print(net, rows[-1], flush=True)
                (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                (HERE / "results.md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
