"""The command line."""

from modelflow.cli.app import cli as cli
from modelflow.cli.app import main as main
from modelflow.cli.app import run_command as run_command
