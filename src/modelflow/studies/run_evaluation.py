"""The evaluation of a run: every file that it leaves, and last its record."""

import time
from collections.abc import Sequence

from modelflow.evaluation.inspection.filters import conv_layers
from modelflow.evaluation.record import Metrics
from modelflow.io.lines import line
from modelflow.results import layout
from modelflow.results.artifacts.artifact import Evaluated
from modelflow.studies.attempts import attempt
from modelflow.studies.insides import write_filters, write_outputs
from modelflow.studies.measured import measured
from modelflow.studies.parts import Parts
from modelflow.studies.run_files import run_record, write_artifacts, write_model


def evaluate(parts: Parts) -> Metrics:
    """Metrics on the test images, or on the validation loader where there are none of their own.

    Writes the weights, their tables and pictures, and last run.json. Raises `UsageError` where nothing can be written.
    """
    parts.folder.check_writable()
    write_model(parts)
    return _evaluated(parts)


def show_and_evaluate(parts: Parts, layers: Sequence[str]) -> Metrics:
    """As `evaluate`, with the filters of every convolutional layer and the outputs of `layers` drawn before.

    What cannot be drawn is noted.
    """
    write_model(parts)
    for name in conv_layers(parts.model):
        with attempt(layout.filters_png(name), parts.arch.note):
            write_filters(parts, [name])
    with attempt(layout.OUTPUTS, parts.arch.note):
        write_outputs(parts, layers)
    return _evaluated(parts)


def _evaluated(parts: Parts) -> Metrics:
    start, history = time.perf_counter(), parts.history
    found = measured(parts)
    parts.folder.begin_evaluation(history.stored is not None)
    write_artifacts(parts, found.evaluated)
    history.seconds["evaluation"] = time.perf_counter() - start
    parts.folder.write_run(run_record(parts, found))
    if parts.verbose:
        _tell(parts, found.evaluated)
    return found.evaluated.metrics


def _tell(parts: Parts, evaluated: Evaluated) -> None:
    metrics = evaluated.metrics
    accuracy = f"accuracy {metrics.accuracy:.2%} (protocol {evaluated.kind})"
    line(f"{parts.model_name}: {accuracy}, macro F1 {metrics.macro_f1:.4f} -> {parts.folder.path}")
    for warning in evaluated.warnings:
        line(f"{parts.model_name}: WARNING: {warning}")
