"""Files of a run: its weights and drawing, the artifacts of an evaluation, and what run.json says."""

from contextlib import nullcontext

import torch

from modelflow.networks.build import GenericCNN
from modelflow.networks.diagram import svg
from modelflow.results import layout, provenance
from modelflow.results.artifacts.artifact import Evaluated
from modelflow.results.contents import artifacts, is_picture
from modelflow.results.protocol import protocol_with
from modelflow.results.records import Run
from modelflow.studies.attempts import attempt
from modelflow.studies.measured import Measured, bytes_on_device, latencies
from modelflow.studies.parts import Parts
from modelflow.studies.record import evaluated_again
from modelflow.studies.traced import recorded, trace_of
from modelflow.training.checkpoint import weights_bytes


def write_model(parts: Parts) -> None:
    """The weights, and the network drawn; where a spec describes it, the spec too."""
    parts.folder.write(layout.WEIGHTS, weights_bytes(parts.model))
    if isinstance(parts.model, GenericCNN):
        parts.folder.write(layout.SPEC, parts.model.spec.to_json())
    if (traced := trace_of(parts)) is not None:
        parts.folder.write(layout.ARCHITECTURE, svg(traced, parts.model_name))


def write_artifacts(parts: Parts, evaluated: Evaluated) -> None:
    """Each table and picture of an evaluation; a picture that cannot be made is noted."""
    for artifact in artifacts():
        with attempt(artifact.name, parts.arch.note) if is_picture(artifact) else nullcontext():
            content = artifact.make(evaluated)
            if content is not None:
                parts.folder.write(artifact.name, content)


def run_record(parts: Parts, measured: Measured) -> Run:
    """The record; of a stored run that is evaluated again with what was stored of its training."""
    arch, history, settings = parts.arch, parts.history, parts.recorded_settings
    found = measured.evaluated
    traced = trace_of(parts)
    run = Run(
        model_name=parts.model_name,
        model_class=type(parts.model).__name__,
        spec=parts.spec,
        settings=settings,
        protocol=str(protocol_with(parts.split_kind, settings, parts.data, arch.total_epochs)),
        seed=parts.seed,
        epochs=arch.total_epochs,
        lr=parts.lr,
        parameters=arch.count_parameters(),
        macs=None if traced is None else traced.known_macs,
        data=parts.data,
        versions=provenance.versions(),
        processor=provenance.processor(),
        device=str(parts.device),
        engine=arch.engine,
        threads=torch.get_num_threads(),
        git_revision=provenance.git_revision(),
        started=history.started.isoformat(timespec="seconds"),
        seconds={name: round(value, 3) for name, value in history.seconds.items()},
        metrics=found.metrics,
        validation=measured.validation,
        test_reads=None if parts.test_loader is None else history.test_reads,
        latency_ms=latencies(parts),
        bytes_on_device=bytes_on_device(parts),
        bytes_on_disk=(parts.folder.path / layout.WEIGHTS).stat().st_size,
        dead_units=measured.dead,
        warnings=tuple(found.warnings),
        notes=tuple(parts.notes),
        files=layout.checksums(parts.folder.path),
        module_sha256=parts.module_sha256,
        code=parts.code,
        traced=recorded(traced),
    )
    return run if history.stored is None else evaluated_again(run, history.stored)
