"""What lies in a results folder, and how it is read back."""

from modelflow.results.layout import read_run as read_run
