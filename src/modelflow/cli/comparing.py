"""Commands of finished runs: `leaderboard`, `report`, `compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelflow.cli import terminal
from modelflow.cli.options import DATA_DIR, FOLDER, HELP, JSON, MARGIN, METRIC, TEXT, example

if TYPE_CHECKING:
    from modelflow.report.comparison import ShownComparison


@click.command(
    context_settings=HELP,
    epilog=example("leaderboard results", "leaderboard results --sort parameters --where 'accuracy > 0.85' --csv"),
)
@click.argument("results", type=FOLDER)
@METRIC
@click.option("--sort", help="Column of leaderboard.csv to sort by, best first (default: the metric).")
@click.option("--only", default="*", help="Only models whose name matches a pattern, such as 'cnn2_*'.")
@click.option("--where", multiple=True, help="Only models with, for example, 'parameters < 10000'. May be repeated.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV with every column instead of a table.")
@TEXT
@JSON
def leaderboard(
    results: Path,
    metric: str | None,
    sort: str | None,
    only: str,
    where: tuple[str, ...],
    form: str | None,
    as_json: bool,
) -> None:
    """List the models of RESULTS, best first.

    RESULTS is a folder that `modelflow run` or `modelflow train` wrote. The seeds of a model are averaged.
    """
    from modelflow.analysis.leaderboard import as_csv, as_data
    from modelflow.report.leaderboard import leaderboard_of

    rows = leaderboard_of(results, sort, only, where, metric)
    if rows.missing:
        terminal.log(rows.missing)
    if rows.caution:
        terminal.log(rows.caution)
    if as_json:
        terminal.say_json([as_data(row) for row in rows])
    elif form == "csv":
        terminal.say_csv(as_csv(rows))
    elif rows and form:
        terminal.say_text(rows, form)
    elif rows:
        terminal.leaderboard_table(rows, sort)
    else:
        terminal.say(f"{results}: no model matches --only and --where. Write accuracies as in --csv: 0.85 for 85 %.")


@click.command(context_settings=HELP, epilog=example("report results"))
@click.argument("results", type=FOLDER)
@METRIC
@DATA_DIR
def report(results: Path, metric: str | None, data_dir: Path | None) -> None:
    """Write the report of RESULTS again.

    report.html says which model is best and how sure that is. It shows costs, learning curves, mistakes and settings.
    It is one file and needs no network.

    Also writes leaderboard.csv, leaderboard.md, pareto.png and MODEL_CARD.md of the study and its runs.
    """
    from modelflow.studies.pages import write_pages

    terminal.log("writing the report …")
    content = write_pages(results, data_dir, metric)
    terminal.answer(content)
    if content.other_metric:
        terminal.log(content.other_metric)


@click.command(
    context_settings=HELP,
    epilog=example("compare results/generic_1 results/generic_2", "compare results", "compare mine.npz theirs.npz"),
)
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@METRIC
@MARGIN
@TEXT
@JSON
def compare(runs: tuple[Path, ...], metric: str | None, margin: float | None, form: str | None, as_json: bool) -> None:
    """Say which of RUNS are really better, and by how much.

    RUNS are folders of models, with all their seeds, or of single runs, such as results/generic_2/seeds/43. Or give
    one folder of a study: its metric and its margin count unless you give others. The best pair comes first. The
    method: docs/statistics.md.

    Or give .npz files of predictions made elsewhere. Each has the arrays labels and logits (seeds x images x classes),
    or labels and predictions (seeds x images).
    """
    from modelflow.analysis.comparison import as_data

    comparison = _comparison(runs, margin, metric)
    for said in filter(None, (comparison.caution, comparison.beside)):
        terminal.log(said)
    if as_json:
        terminal.say_json(as_data(comparison))
    elif form:
        terminal.say_text(comparison, form)
    else:
        terminal.comparison_tables(comparison)


def _comparison(runs: tuple[Path, ...], margin: float | None, metric: str | None) -> "ShownComparison":
    """Of folders, or of files of predictions."""
    from modelflow.analysis.predictions import compare_files
    from modelflow.report.comparison import compare as compare_runs
    from modelflow.report.comparison import showing

    if any(run.suffix.lower() == ".npz" for run in runs):
        return showing(compare_files(runs, margin, metric))
    return compare_runs(runs, margin, metric)
