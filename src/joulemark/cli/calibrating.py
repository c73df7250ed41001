"""The verb that fits the learned energy model to this machine: calibrate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from joulemark.cli.app import Json, Refused, app, print_lines, print_table

if TYPE_CHECKING:
    from joulemark.calibrate.timing import Device
    from joulemark.energy.device import DeviceProfile


@app.command()
def calibrate(
    backend: Annotated[str, typer.Option(help="eager, onnxruntime, or cuda (eager PyTorch on the GPU).")] = "eager",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of the processor.")] = 1,
    rows: Annotated[int, typer.Option(min=300, max=20_000, help="Random layers to measure.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the layers and folds.")] = 0,
    minutes: Annotated[float, typer.Option(min=1.0, max=600, help="Stop after so long; call again to go on.")] = 8.0,
    judge: Annotated[bool, typer.Option(help="Judge the fits on whole nets that they have not seen.")] = True,
    refit: Annotated[
        bool, typer.Option("--refit", help="Measure nothing: fit again what the finished profile holds.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The profile; calibration/<hardware class>-<backend>.json.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit the learned energy model to this machine: measure random layers, then judge the fits on whole nets.

    Five minutes, and three to four for the judgement; it wants a quiet machine (`joulemark doctor`). Stopped at any
    moment, even by kill -9, the same command goes on where it was. `joulemark profile NET --device PROFILE` uses it,
    and so does a suite or command that names the energy model learned:BACKEND, or the path of the profile.
    """
    from joulemark.energy.device import BACKENDS, usual_path

    if backend not in BACKENDS:
        from joulemark.vocabulary import unknown_name_message

        raise Refused(unknown_name_message("backend", backend, BACKENDS))
    from joulemark.calibrate.calibrate import calibrate as calibrated
    from joulemark.calibrate.calibrate import refit as fitted_again
    from joulemark.calibrate.held_out import NETS, net_workload
    from joulemark.calibrate.sampling import CONTROL
    from joulemark.calibrate.timing import MachineBench
    from joulemark.meters.meters import open_meters
    from joulemark.notebook.progress import listening

    device = _device(backend, threads)
    nets = NETS if judge else ()
    fresh = _fresh(device, threads=threads, seed=seed, planned=rows)
    path = output or usual_path(device.name, fresh.machine.hardware_class)
    try:
        if refit:
            profile = fitted_again(path, net_workload)
        else:
            with open_meters() as meters, listening(json=json) as listen:
                bench = MachineBench(device, CONTROL, meters)
                profile = calibrated(
                    path, bench, fresh, minutes=minutes, nets=nets, listen=listen, workload_of=net_workload
                )
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped. What was measured is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from stop
    _tell(profile, nets, str(path), json=json)


def _tell(profile: DeviceProfile, nets: Sequence[str], path: str, *, json: bool) -> None:
    """Print what was found, or what is left to do."""
    from joulemark.calibrate.held_out import net_workload
    from joulemark.calibrate.telling import additivity, as_dict, fit_rows, net_rows, sentences

    sums = additivity(profile, {net: net_workload(net) for net in nets} if profile.fits else {})
    if json:
        typer.echo(msgspec.json.encode(as_dict(profile, sums, path)).decode())  # the last of the lines
        return
    if profile.fits:
        print_table(fit_rows(profile))
    if profile.nets and profile.fits:
        print_table(net_rows(profile))
    print_lines(sentences(profile, sums, path))


def _device(backend: str, threads: int) -> Device:
    if backend == "onnxruntime":
        from joulemark.calibrate.onnx_device import OnnxDevice

        return OnnxDevice(threads)
    from joulemark.calibrate.torch_device import TorchDevice

    return TorchDevice(threads, "cuda" if backend == "cuda" else "cpu")


def _fresh(device: Device, *, threads: int, seed: int, planned: int) -> DeviceProfile:
    """A profile in which nothing is measured yet."""
    from joulemark.calibrate.sampling import CONTROL
    from joulemark.energy.device import DeviceProfile
    from joulemark.machine.machine import this_machine, versions

    return DeviceProfile(
        machine=this_machine(), backend=device.name, precision=device.precision, threads=threads, versions=versions(),
        seed=seed, planned=planned, control=CONTROL, call_seconds=0.0, free=device.free,
    )  # fmt: skip
