"""Training and validation loss over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from modelflow.figures.style import BLUE, VERMILLION, label, number, one_axes, styled

WIDE_RANGE = 30


@dataclass(frozen=True)
class LossCurves:
    """What the plot shows; epochs count from 1, losses that are missing or not finite are NaN."""

    training: np.ndarray
    validation: np.ndarray
    best_epoch: int | None
    log_scale: bool


def loss_curves(losses: Sequence[float], val_losses: Sequence[float | None]) -> LossCurves:
    """The curves, the epoch with the lowest validation loss, and whether their range asks for a logarithmic axis."""
    training, validation = _finite(losses), _finite(val_losses)
    shown = np.concatenate([training, validation])
    shown = shown[np.isfinite(shown)]
    best = int(np.nanargmin(validation)) + 1 if np.isfinite(validation).any() else None
    wide = bool(len(shown)) and bool(shown.min() > 0) and bool(shown.max() > WIDE_RANGE * shown.min())
    return LossCurves(training, validation, best, wide)


def _finite(losses: Sequence[float | None]) -> np.ndarray:
    values = np.array([np.nan if loss is None else float(loss) for loss in losses], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


@styled
def plot_losses(
    losses: Sequence[float],
    val_losses: Sequence[float | None],
    title: str,
    loss_name: str = "cross-entropy (nats)",
) -> Figure:
    """Both losses over the epochs, the epoch with the best validation loss marked."""
    curves = loss_curves(losses, val_losses)
    figure, axes = one_axes(title, 4.0)
    _draw(axes, curves.training, BLUE, "o", "training")
    _draw(axes, curves.validation, VERMILLION, "s", "validation")
    _mark_best(axes, curves)
    if curves.log_scale:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    n_epochs = max(len(curves.training), len(curves.validation), 1)
    axes.set_xlim(max(0.5, 1 - 0.03 * n_epochs), n_epochs + 0.03 * n_epochs)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label(loss_name, 60))
    axes.grid(axis="y")
    _legend(axes)
    return figure


def _draw(axes: Axes, values: np.ndarray, colour: str, marker: str, name: str) -> None:
    if np.isfinite(values).any():
        size = 5.0 if len(values) <= 40 else 2.5
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, marker=marker, markersize=size, label=name)


def _mark_best(axes: Axes, curves: LossCurves) -> None:
    if curves.best_epoch is None:
        return
    best = curves.validation[curves.best_epoch - 1]
    words = f"best validation: {number(best)} in epoch {curves.best_epoch}"
    ring = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 1.6}
    axes.plot([curves.best_epoch], [best], "o", color=VERMILLION, label=words, **ring)  # type: ignore[arg-type]


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no losses recorded", transform=axes.transAxes, ha="center", va="center")
