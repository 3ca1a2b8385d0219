"""One contender as a process: `python -m peers.worker NAME FOLDER`, a JSON object a line in and out.

{"ask": "prepare", "model": "generic_2", "batch": 16, "seed": 42}  ->  {"answer": {…}} or {"error": "…"}
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from peers.contender import Contender


def answer(contender: Contender, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": getattr(contender, request.pop("ask"))(**request)}
    except Exception:
        return {"error": traceback.format_exc()}


def serve(name: str, folder: Path) -> None:
    """Answers until the input ends. What libraries print goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = importlib.import_module(f"peers.{name}").Contestant(folder)
    for line in sys.stdin:
        print(json.dumps(answer(contender, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
