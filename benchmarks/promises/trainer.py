"""Trains a model for each spec file whose path it reads, and answers with the seconds; the package is whichever is on its path.

By its public names alone, which other revisions have too.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from modelflow import GenericCNN, ModelFlow, load_dataset, read_spec

torch.set_num_threads(1)  # as a run of a study
epochs, batch = map(int, sys.argv[1:])
data = load_dataset("fashion-mnist")
for line in sys.stdin:
    path = Path(line.strip())
    with tempfile.TemporaryDirectory() as folder:
        model = GenericCNN(read_spec(path), seed=42)
        flow = ModelFlow(model, *data.loaders(batch), path.stem, results_dir=folder, verbose=False)
        begin = time.perf_counter()
        flow.train(epochs)
        print(time.perf_counter() - begin, flush=True)
