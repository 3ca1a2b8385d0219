"""Torch modules that the layers need and torch does not have."""

from torch import Tensor, nn


class Sum(nn.Module):
    """What `body` and `shortcut` make of one input, added; then `activation`."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.activation = nn.Identity() if activation is None else activation

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The sum, of the shape that both give."""
        summed: Tensor = self.activation(self.body(x_NCHW) + self.shortcut(x_NCHW))
        return summed
