"""A trace that shows itself: the network drawn, and its layers as a table. No torch.

trace("c16 s24/2 gap fc")
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelflow.io.arguments import whole
from modelflow.io.faces import html
from modelflow.io.faces.face import Face
from modelflow.io.faces.html import Markup
from modelflow.io.faces.table import Table
from modelflow.networks.diagram import WIDTH, svg
from modelflow.networks.resolve import resolve, spec_of
from modelflow.networks.trace import MAX_PARAMETERS, Trace, shape_text
from modelflow.networks.trace import trace as traced

ONE_IMAGE = "MACs are multiply-accumulates for one image, biases left out. Activations are in float32."


@dataclass(frozen=True, repr=False)
class ShownTrace(Face, Trace):
    """A `Trace` that shows itself; `name` is what the network is called."""

    name: str = field(default="", compare=False)

    __repr__ = Trace.__str__

    def _headline(self) -> str:
        return f"{self.name}: {self.parameters:,} parameters, {self.macs_text} multiply-accumulates per image"

    def _tables(self) -> Sequence[Table]:
        header = ("Layer", "What it does", "Output", "Parameters", "MACs", "Activation bytes")
        lines = [
            (
                *(layer.name, layer.what, shape_text(layer.output_shape)),
                *(_count(layer.own_parameters), _count(layer.own_macs), _count(layer.own_activation_bytes)),
            )
            for _, layer in self.rows()
        ]
        total = ("total", "", "", f"{self.parameters:,}", self.macs_text, f"{self.activation_bytes:,}")
        return [Table(header, [("input", "", shape_text(self.input_shape), "", "", ""), *lines, total], 3)]

    def _paper_tables(self) -> Sequence[Table]:
        (shown,) = self._tables()
        return [
            Table(
                shown.header, shown.lines, shown.left, f"Layers of {self.name}", " ".join([ONE_IMAGE, *self._notes()])
            )
        ]

    def _notes(self) -> Sequence[str]:
        most, layer = self.peak
        return [f"Peak activation memory: {most:,} bytes per image, while {layer.name} runs."]

    def _body(self) -> Sequence[Markup]:
        drawn = html.picture(svg(self, self.name).encode(), "image/svg+xml", f"The layers of {self.name}", WIDTH)
        return [drawn, *super()._body()]

    def _rows(self) -> Sequence[dict[str, Any]]:
        return [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "what": layer.what,
                "input_shape": layer.input_shape,
                "output_shape": layer.output_shape,
                "parameters": layer.own_parameters,
                "macs": layer.own_macs,
                "activation_bytes": layer.own_activation_bytes,
            }
            for _, layer in self.rows()
        ]


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def trace(model: object, max_parameters: int = MAX_PARAMETERS) -> ShownTrace:
    """The layers of a network, with their shapes and costs; nothing is built.

    `model` is a preset's name, a short form, a spec, its fields, the path of a spec file, or a model built from a spec.
    Raises `ShapeError` where a layer cannot take its input, or for more than `max_parameters` parameters; `UsageError`
    or `SpecError` for what says no network.
    """
    spec = spec_of(model, "trace")
    found = traced(spec, whole("max_parameters", max_parameters, 1))
    name = resolve(os.fspath(model))[0] if isinstance(model, str | os.PathLike) else spec.short_form
    return ShownTrace(found.input_shape, found.layers, name or "network")
