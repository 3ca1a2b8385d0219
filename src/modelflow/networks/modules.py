"""Torch modules that the layers need and torch does not have."""

import torch
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


class Scale(nn.Module):
    """Each channel times the sigmoid of `expand` of ReLU of `reduce` of the channels' means."""

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce = reduce
        self.expand = expand

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Maps of the shape of `x_NCHW`."""
        means_NC11 = x_NCHW.mean((2, 3), keepdim=True)
        return x_NCHW * torch.sigmoid(self.expand(torch.relu(self.reduce(means_NC11))))
