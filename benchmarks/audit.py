"""Asks for known holes in the pinned packages (constraints.txt), where a network allows.

make audit

Exit code 1 when a package has one. Without a way to the advisories it says so, and that nothing was audited.
"""

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
SECONDS = 300


def main() -> int:
    """Exit code 1 when a package has a known hole."""
    audited, holes = reported(_report())
    for hole in holes:
        print(hole)
    if not audited:
        print("make audit: the advisories cannot be reached from here; nothing was audited", file=sys.stderr)
    else:
        print(f"{audited} packages audited, {len(holes)} known holes")
    return int(bool(holes))


def _report() -> dict:
    command = [sys.executable, "-m", "pip_audit", "-r", str(CONSTRAINTS), "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return {"dependencies": []}


def reported(report: dict) -> tuple[int, list[str]]:
    """How many packages were looked up, and a line for each hole that is known of them."""
    found = [package for package in report["dependencies"] if "vulns" in package]
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'none yet'}"
        for package in found
        for hole in package["vulns"]
    ]
    return len(found), holes


if __name__ == "__main__":
    sys.exit(main())
