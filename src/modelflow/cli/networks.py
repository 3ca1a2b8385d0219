"""Commands of networks: `trace` one, `diff` two, list the `models`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelflow.cli import terminal
from modelflow.cli.options import FORM, HELP, JSON, MAX_PARAMETERS, example, form_of, options
from modelflow.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from modelflow.networks.description import Description
    from modelflow.networks.trace import Trace


FOR_DATASET = options(
    click.option(
        "--dataset",
        help="Data set that says what MODEL leaves out. Presets are fitted to it (default: images of 1x28x28, 10 "
        "classes).",
    ),
    FORM,
)


@click.command(
    context_settings=HELP,
    epilog=example("trace generic_2", "trace my_net.json --json", "trace 'c16 s24/2 s24r gap fc' --dataset digits"),
)
@click.argument("model")
@FOR_DATASET
@MAX_PARAMETERS
@click.option("--svg", "svg_path", type=click.Path(path_type=Path, dir_okay=False), help="Also draw it as this file.")
@JSON
def trace(
    model: str, dataset: str | None, max_parameters: int | None, svg_path: Path | None, as_json: bool, **form: object
) -> None:
    """Show the layers of MODEL and their costs.

    For each layer: output shape, parameters, multiply-accumulates (MACs) and bytes of activations. Nothing is built.
    If a layer does not fit, you see the layers before it and the reason.

    MODEL is a preset's name, a JSON or YAML file, or a network in the short form.
    """
    from modelflow.networks import trace as tracing

    name, spec = _described(model, dataset, form)
    limit = tracing.MAX_PARAMETERS if max_parameters is None else max_parameters
    try:
        traced = tracing.trace(spec, limit)
    except ShapeError:
        if not as_json:
            terminal.layers_table(spec.input_shape, tracing.rows_that_fit(spec))
        raise
    if svg_path:
        from modelflow.io.files import write_atomic
        from modelflow.networks.diagram import svg

        write_atomic(svg_path, svg(traced, name))
    if as_json:
        terminal.say_json({"model": name, "short_form": spec.short_form, **tracing.as_data(traced)})
        return
    from modelflow.networks.diagram import text

    terminal.draw(f"{_titled(name, spec)}\n{text(traced)}")
    terminal.trace_table(traced)


@click.command(context_settings=HELP, epilog=example("diff generic_0 generic_2", "diff 'c16 m2 gap fc' 'c16/2 gap fc'"))
@click.argument("a")
@click.argument("b")
@FOR_DATASET
@JSON
def diff(a: str, b: str, dataset: str | None, as_json: bool, **form: object) -> None:
    """Compare the networks A and B.

    You see the differences layer by layer, in costs and in words. Each network is a preset's name, a JSON or YAML file,
    or in the short form.
    """
    from modelflow.networks.difference import as_data, difference

    described = [_described(model, dataset, form) for model in (a, b)]
    found = difference(*(_traced(side, spec) for side, (_, spec) in zip("AB", described, strict=True)))
    if as_json:
        data = as_data(found)
        for side, (name, spec) in zip("ab", described, strict=True):
            data[side] |= {"model": name, "short_form": spec.short_form}
        terminal.say_json(data)
        return
    for side, (name, spec) in zip("AB", described, strict=True):
        terminal.say(f"{side}: {_titled(name, spec)}")
    terminal.difference_table(found)
    terminal.say(f"\n{found.words}")


def _traced(side: str, spec: "Description") -> "Trace":
    from modelflow.networks.trace import trace as trace_of

    try:
        return trace_of(spec)
    except ShapeError as error:
        raise ShapeError(f"{side}: {error}") from None


def _titled(name: str, spec: "Description") -> str:
    return f"{name}: {spec.short_form}" if spec.short_form else name


def _described(model: str, dataset: str | None, form: dict[str, object]) -> "tuple[str, Description]":
    """Name and spec of MODEL for a data set. Without one, it is said what was assumed in place of what is left out."""
    from modelflow.networks.data_shape import DataShape, usual
    from modelflow.networks.resolve import CARD, resolve
    from modelflow.networks.trace import shape_text

    if dataset is not None:
        from modelflow.data.sources import shape_of
        from modelflow.studies.run import check_data_fit

        shape = shape_of(dataset, form_of(form))
        name, spec = resolve(model, data=lambda: shape)
        check_data_fit(name, spec, shape)
        return name, spec

    if given := [name for name, value in form.items() if value is not None]:
        raise UsageError(f"{given[0]}: says how a data set is read. Give --dataset too, or remove it.")

    def assumed() -> DataShape:
        if model not in CARD:
            assumed = f"images of {shape_text(usual().input_shape)} and {usual().num_classes} classes"
            terminal.log(
                f"note: {assumed} are assumed where {model} says neither. --dataset takes those of a data set."
            )
        return usual()

    return resolve(model, data=assumed)


@click.command(
    context_settings=HELP,
    epilog=example("models", "models --json", 'models --device "256KB flash, 64KB ram"'),
)
@click.option("--device", help='List those that fit a microcontroller as C, such as "256KB flash, 64KB ram".')
@JSON
def models(device: str | None, as_json: bool) -> None:
    """List the presets: short form, parameters, MACs.

    With --device, list the flash and RAM of the presets that fit as C code, in float and in int8.
    """
    if device is None:
        _list_presets(as_json)
    else:
        _list_fitting(device, as_json)


def _list_fitting(device: str, as_json: bool) -> None:
    """The presets that a device has flash and RAM for."""
    from modelflow.export.c.device import CODE_BYTES, STACK_BYTES, needed, read_device
    from modelflow.networks.resolve import CARD, preset

    has = read_device(device)
    rows = [(name, form, needed(preset(name), form == "int8")) for name in CARD for form in ("float", "int8")]
    fitting = [(name, form, memories) for name, form, memories in rows if memories.fits(has)]
    if as_json:
        keys = ("model", "numbers", "flash_bytes", "ram_bytes")
        terminal.say_json([dict(zip(keys, (name, form, m.flash, m.ram), strict=True)) for name, form, m in fitting])
        return
    if not fitting:
        terminal.say("No preset fits. Smallest in int8:")
        fitting = [min((row for row in rows if row[1] == "int8"), key=lambda row: row[2].flash + row[2].ram)]
    lines = [(name, form, f"{m.flash:,}", f"{m.ram:,}") for name, form, m in fitting]
    terminal.table(("model", "numbers", "flash (bytes)", "RAM (bytes)"), lines, left=2)
    terminal.say(f"Included: {CODE_BYTES:,} bytes for code, {STACK_BYTES:,} for the stack, one image.")
    terminal.say("Your own program comes on top.")


def _list_presets(as_json: bool) -> None:
    from modelflow.networks.resolve import CARD, preset
    from modelflow.networks.trace import trace as trace_of

    rows: list[dict[str, Any]] = []
    for name, card in CARD.items():
        spec = preset(name)
        traced = trace_of(spec)
        blocks = zip(spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes, strict=True)
        rows.append(
            {
                "model": name,
                "short_form": spec.short_form,
                "group": card.group,
                "blocks": [{"kernel_size": k, "channels": c, "pool_size": p} for k, c, p in blocks],
                "hidden_sizes": list(spec.fc_sizes),
                "parameters": traced.parameters,
                "macs": traced.macs,
            }
        )
    if as_json:
        terminal.say_json(rows)
        return
    terminal.table(
        ("model", "short form", "group", "parameters", "MACs"),
        [
            (
                row["model"],
                row["short_form"],
                row["group"],
                f"{row['parameters']:,}",
                f"{row['macs']:,}",
            )
            for row in rows
        ],
        left=3,
    )
    terminal.say("c4k5: convolution to 4 maps, kernel 5. m2: max-pool. fc20: linear.")
    terminal.say("See also: modelflow trace MODEL")
