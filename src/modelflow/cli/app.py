"""The command line: its commands, errors that become messages and exit codes.

Exit codes: 0, 1 (it failed) or 2 (what was given is wrong: with what, where, expected, and the fix).
"""

import io
import sys

import click

from modelflow.cli import terminal
from modelflow.cli.comparing import compare, leaderboard, report
from modelflow.cli.data import data
from modelflow.cli.demo import demo
from modelflow.cli.merging import merge
from modelflow.cli.networks import diff, models, trace
from modelflow.cli.options import HELP, example
from modelflow.cli.runs import evaluate, inspect, lr_find
from modelflow.cli.taking import export, predict
from modelflow.cli.training import run, train
from modelflow.errors import ModelFlowError, RunError, is_of_memory
from modelflow.io.process import close_output, draw_into_files, keep_caches, leave, open_streams, require_memory
from modelflow.io.signals import install_signal_handlers, raise_if_heard
from modelflow.text import visible


def main() -> None:
    """The entry point of `modelflow`: errors become messages and exit codes."""
    open_streams()
    keep_caches()
    draw_into_files()
    install_signal_handlers()
    code = run_command(sys.argv[1:])
    if (reason := close_output()) and not code:
        terminal.fail(f"the output: {reason}")
        code = 1
    leave(code)


def run_command(arguments: list[str]) -> int:
    """The exit code of `modelflow ARGUMENTS…`."""
    try:
        cli.main(arguments, prog_name="modelflow", standalone_mode=False)
        raise_if_heard()
    except click.ClickException as error:
        error.show(shown := io.StringIO())
        click.echo(visible(shown.getvalue()), err=True, nl=False)
        return error.exit_code
    except ModelFlowError as error:
        terminal.fail(str(error))
        return 1 if isinstance(error, RunError) else 2
    except (KeyboardInterrupt, click.Abort):  # before RuntimeError, of whose kind click's is
        terminal.fail("interrupted")
        return 1
    except (OSError, MemoryError, RuntimeError, ImportError, SystemError) as error:
        return _failed(error)
    return 0


def _failed(error: Exception) -> int:
    """What the system or the memory did not give, in a line. Raises what is a fault of ours."""
    if is_of_memory(error):
        terminal.fail("not enough memory. End other programs, or give a smaller network or batch size, or --jobs 1.")
    elif isinstance(error, OSError):
        terminal.fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    else:
        raise error
    return 1


@click.group(context_settings=HELP, epilog=example("run", "trace generic_2"))
@click.version_option(package_name="modelflow")
def cli() -> None:
    """Which of these small CNNs is really better, and how sure are you? Describe, train, look inside, compare."""
    require_memory()


OF_NETWORKS = (run, train, trace, diff, models, data, lr_find)
OF_RESULTS = (evaluate, inspect, predict, export, leaderboard, report, compare, merge)
for command in (*OF_NETWORKS, *OF_RESULTS, demo):
    cli.add_command(command)
