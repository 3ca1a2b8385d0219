"""The network of a run with its layers and costs, whether a spec describes it or not."""

from modelflow.evaluation.inspection.leaves import module_trace
from modelflow.networks.build import GenericCNN
from modelflow.networks.module_trace import ModuleTrace
from modelflow.networks.trace import Trace
from modelflow.results.records import MAX_TRACED, RecordedLayer, TraceRecord
from modelflow.studies.attempts import attempt
from modelflow.studies.parts import Parts
from modelflow.studies.preview import first_images
from modelflow.text import one_line

MAX_NAME = 200  # characters


def trace_of(parts: Parts) -> Trace | None:
    """That of its spec, or of a forward pass of one image.

    None, and noted, where that fails; None where hooks are attached, which would take note of the pass.
    """
    if isinstance(parts.model, GenericCNN):
        return parts.model.trace
    if any(module._forward_hooks or module._forward_pre_hooks for module in parts.model.modules()):
        return None
    with attempt("trace of the layers", parts.arch.note):
        return module_trace(parts.model, first_images(parts, 1)[0].to(parts.arch.device), parts.model_name)
    return None


def recorded(traced: Trace | None) -> TraceRecord | None:
    """What run.json says of the layers of a module; nothing where a spec says them, or where they are too many."""
    if not isinstance(traced, ModuleTrace) or len(traced.layers) > MAX_TRACED:
        return None
    layers = tuple(
        RecordedLayer(
            name=one_line(layer.name)[:MAX_NAME],
            what=one_line(layer.what)[:MAX_NAME],
            output_shape=layer.output_shape,
            parameters=layer.parameters,
            macs=layer.macs,
        )
        for layer in traced.layers
    )
    shapes = {"input_shape": traced.input_shape, "output_shape": traced.gives}
    return TraceRecord(**shapes, layers=layers, notes=tuple(traced._notes()))
