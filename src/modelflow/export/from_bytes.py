"""A network with its normalisation inside: bytes in, probabilities and logits out."""

import torch
from torch import Tensor, nn

from modelflow.export.loaded_run import LoadedRun

EXAMPLES = 2  # images that a network is traced with: torch takes one for a fixed size


class FromBytes(nn.Module):
    """The network of a run, in eval mode, as a module of images in bytes."""

    dark: Tensor
    scale: Tensor

    def __init__(self, run: LoadedRun) -> None:
        super().__init__()
        normalisation = run.normalisation
        mean_C11, std_C11 = (
            torch.tensor(values, dtype=torch.float64)[:, None, None]
            for values in (normalisation.mean, normalisation.std)
        )
        self.network = run.model
        self.register_buffer("dark", (mean_C11 * normalisation.white).float())
        self.register_buffer("scale", (1 / (std_C11 * normalisation.white)).float())
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and logits, N x K each, of bytes N x C x H x W."""
        logits = self.network((images.float() - self.dark) * self.scale)
        return torch.softmax(logits, 1), logits


def example(run: LoadedRun) -> Tensor:
    """Images to trace it with."""
    return torch.zeros((EXAMPLES, *run.input_shape), dtype=torch.uint8)
