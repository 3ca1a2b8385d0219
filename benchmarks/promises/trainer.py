"""Trains a model for each name that it reads, and answers with the seconds; the package is whichever is on its path.

By its public names alone, which other revisions have too.
"""

import sys
import tempfile
import time

import torch

from modelflow import GenericCNN, ModelFlow, load_dataset

torch.set_num_threads(1)  # as a run of a study
epochs, batch = map(int, sys.argv[1:])
data = load_dataset("fashion-mnist")
for line in sys.stdin:
    name = line.strip()
    with tempfile.TemporaryDirectory() as folder:
        flow = ModelFlow(GenericCNN(name, seed=42), *data.loaders(batch), name, results_dir=folder, verbose=False)
        begin = time.perf_counter()
        flow.train(epochs)
        print(time.perf_counter() - begin, flush=True)
