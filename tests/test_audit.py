"""The audit tells holes, nothing found, and nothing asked apart."""

import runpy
from pathlib import Path

REPORTED = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "audit.py"))["reported"]


def test_holes_are_named_with_the_version_that_mends_them():
    hole = {"id": "CVE-2026-24747", "fix_versions": ["2.10.0"]}
    report = {
        "dependencies": [
            {"name": "torch", "version": "2.9.1", "vulns": [hole]},
            {"name": "numpy", "version": "2.4.6", "vulns": []},
            {"name": "rich", "skip_reason": "Dependency not found"},
        ]
    }
    assert REPORTED(report) == (2, ["torch 2.9.1: CVE-2026-24747, fixed in 2.10.0"])


def test_what_was_not_looked_up_does_not_count_as_audited():
    assert REPORTED({"dependencies": [{"name": "rich", "skip_reason": "Dependency not found"}]}) == (0, [])
