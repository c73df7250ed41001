"""Verbs that model nets: profile and agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from joulemark.cli.app import (
    Json,
    Refused,
    TaskFiles,
    app,
    console,
    import_tasks,
    parse_shape,
    print_json,
    print_lines,
    write_output,
)

Batch = Annotated[int | None, typer.Option(min=1, max=4096, help="Inputs in one batch; 1 if not given.")]
Shape = Annotated[
    str | None, typer.Option(help="Shape of one input, channels first: 3,224,224. Where the net leaves it open.")
]
MOST_BITS = 32


@app.command()
def profile(
    net: Annotated[
        str,
        typer.Argument(
            help="A net's name (`joulemark list nets`; torchvision's and timm's, where installed), model.onnx, a saved "
            ".safetensors net, your task file mine.py, or package.module:function that returns a torch module. The "
            "last two import and run that code, with all it may do: name only code that you trust."
        ),
    ],
    model: Annotated[
        str, typer.Option("-m", "--model", help="Energy models, separated by commas (`joulemark list models`), or all.")
    ] = "row-stationary",
    batch: Batch = None,
    inputs: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Random inputs to run: 1, or 64 of a net that is dynamic.")
    ] = None,
    bits: Annotated[str | None, typer.Option(help="Assume these bits of weights and activations: 8,8.")] = None,
    shape: Shape = None,
    device: Annotated[
        Path | None, typer.Option(help="Device profile of this machine (`joulemark calibrate`), instead of --model.")
    ] = None,
    compare: Annotated[str | None, typer.Option(help="Another net, to put beside the first.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the profile as a page, too.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="List operators without MACs one by one.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a net of which anything is left out.")] = False,
    task: TaskFiles = None,
    json: Json = False,
) -> None:
    """Show a net layer by layer: shapes, MACs, bytes and the joules that models give it, with a stacked bar."""
    import_tasks(task)
    from joulemark.profiling.opening import open_net
    from joulemark.profiling.profile import profile_net
    from joulemark.profiling.profile_text import as_renderables
    from joulemark.profiling.side_by_side import as_renderables as comparison_renderables
    from joulemark.profiling.side_by_side import compare as compared

    row, widths = parse_shape(shape), _bits(bits)
    if device is None:
        models = named_models(model)
    else:
        from joulemark.energy.learned import device_model

        models = [device_model(device)]
    profiles = tuple(
        profile_net(open_net(name, row), models, batch_size=batch, inputs=inputs, bits=widths)
        for name in (net, compare)
        if name is not None
    )
    _warn([f"{one.net}: {warning}" for one in profiles for warning in one.warnings], strict=strict)
    comparison = compared(*profiles) if compare is not None else None
    if html is not None:
        from joulemark.profiling.profile_page import render_profile

        write_output(html, render_profile(profiles, comparison))
    if json:
        print_json(profiles[0] if comparison is None else comparison)
        return
    screen = console()
    for one in profiles:
        for part in as_renderables(one, everything=all_):
            screen.print(part)
    if comparison is not None:
        for part in comparison_renderables(comparison):
            screen.print(part)
    if device is not None:
        print_lines([_predicted(one.net, one.models[0]) for one in profiles])
    if html is not None:
        print_lines([f"Wrote {html}."])


@app.command()
def agree(
    nets: Annotated[
        list[str] | None, typer.Argument(help="Nets, as `profile` takes them; a set of ours if none is named.")
    ] = None,
    model: Annotated[str, typer.Option("-m", "--model", help="Energy models, separated by commas, or all.")] = "all",
    batch: Batch = None,
    shape: Shape = None,
    json: Json = False,
) -> None:
    """Say how far energy models and proxies put nets in the same order (Kendall's tau), and which nets they reverse."""
    from joulemark.profiling.rank_agreement import NETS, as_renderables
    from joulemark.profiling.rank_agreement import agree as agreed

    found = agreed(
        nets or NETS, named_models(model), batch_size=batch or 1, shape=parse_shape(shape),
        tell=lambda line: typer.echo(f"  {line}", err=True),
    )  # fmt: skip
    if json:
        print_json(found)
        return
    screen = console()
    for part in as_renderables(found):
        screen.print(part)


def named_models(text: str) -> list[Any]:
    """Energy models by their names, separated by commas; of "all", those that can be made, with a word on the others.

    Raises ``ValueError`` for a name that no model has or that comes twice.
    """
    from joulemark.energy.model import energy_model, energy_model_names

    made = []
    if text == "all":
        for name in energy_model_names():
            try:
                made.append(energy_model(name))
            except (ValueError, TypeError, ImportError) as error:
                typer.echo(f"joulemark: {name} is left out: {error}", err=True)
        return made
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) < len(names):
        raise Refused(f"--model {text}: name each model once")
    for name in names:
        try:
            made.append(energy_model(name))
        except (TypeError, ImportError) as error:
            raise Refused(f"--model {name} cannot be used: {error}") from error
    return made


def _predicted(net: str, model: Any) -> str:
    """The predicted time of one net in a sentence, with how far such predictions were off."""
    seconds = model.seconds.value
    return f"{net}: {'unknown' if seconds is None else f'{seconds:.4g}'} s per input; {model.assumptions[0]}."


def _bits(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        weights, activations = (int(part) for part in text.split(","))
    except ValueError:
        weights = activations = 0
    if not (1 <= weights <= MOST_BITS and 1 <= activations <= MOST_BITS):
        raise Refused(f"--bits {text}: give the bits of weights and of activations, 1 to {MOST_BITS}, as 8,8")
    return weights, activations


def _warn(warnings: list[str], *, strict: bool) -> None:
    """Say on standard error what is left out, or refuse for it."""
    if warnings and strict:
        raise Refused("; ".join(warnings))
    for warning in warnings:
        typer.echo(f"joulemark: warning: {warning}", err=True)
