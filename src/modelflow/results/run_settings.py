"""The settings that make a run another one: as it was asked for, and as its record has them. No torch."""

from typing import Any

from modelflow.data.source import Form
from modelflow.results.records import Run
from modelflow.results.settings import RunSettings

CHECKSUMS = "checksums"  # of the data, in plan.json
OPTIONAL_SETTINGS = (
    *("momentum", "nesterov", "weight_decay", "label_smoothing", "class_weights", "ema"),
    *("shift", "flip", "cutout"),
    *Form._fields,
)
LATER_SETTINGS = {  # which older records do not name, with what they mean by that
    name: RunSettings.model_fields[name].default for name in ("schedule", "validation_images", *OPTIONAL_SETTINGS)
}


def settings_asked(settings: RunSettings) -> dict[str, Any]:
    """Those that make a run another one."""
    return settings.model_dump(exclude={"max_parameters", "recipe"})


def settings_of(run: Run) -> dict[str, Any]:
    """Those of a finished run, as `settings_asked` has them."""
    return {**LATER_SETTINGS, **run.settings, "epochs": run.epochs}


def knows_data(stored: dict[str, object]) -> bool:
    """Whether what a run was asked for, as it is stored, says of which data; that of older versions does not."""
    return bool(stored.get(CHECKSUMS))
