"""What a module did in a forward pass, as layers that are drawn and counted like those of a spec. No torch.

ModuleTrace((1, 28, 28), (ModuleLayer("conv", …, output_shape=(8, 26, 26), did=("conv 3x3",), weights=80, …), …))
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelflow.networks.drawn import ShownTrace
from modelflow.networks.layers.kind import LayerKind, Role, Shape
from modelflow.networks.trace import Layer
from modelflow.text import one_line

EMPTY = LayerKind()  # in place of a layer that is written


@dataclass(frozen=True)
class ModuleLayer(Layer):
    """One call of a module that holds no others; `called` is its class, `did` what it does, in order.

    `weights` are its parameters, but for those that a call before had; `work` are the multiply-accumulates that were
    counted.
    """

    written: LayerKind = EMPTY
    input_shape: Shape = ()
    output_shape: Shape = ()
    called: str = ""
    did: tuple[str, ...] = ()
    drawn_as: Role = "flatten"
    weights: int = 0
    work: int = 0

    @property
    def kind(self) -> str:
        return self.called

    @property
    def role(self) -> Role:
        return self.drawn_as

    @property
    def operations(self) -> tuple[str, ...]:
        return self.did

    @property
    def parameters(self) -> int:
        return self.weights

    @property
    def macs(self) -> int:
        return self.work


@dataclass(frozen=True, repr=False)
class ModuleTrace(ShownTrace):
    """The layers of a module in the order of their calls. What functions between them do is in no row of a layer.

    `gives` is the shape of its output. `uncounted` are operations of torch whose multiply-accumulates nobody knows,
    `idle` layers that did not run.
    """

    gives: Shape = ()
    uncounted: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    @property
    def known_macs(self) -> int | None:
        return None if self.uncounted else self.macs

    @property
    def macs_text(self) -> str:
        return f"at least {self.macs:,}" if self.uncounted else f"{self.macs:,}"

    def _notes(self) -> Sequence[str]:
        notes = ["Traced in a forward pass of one image. Functions between layers, such as additions, are not drawn."]
        if self.uncounted:
            notes.append(f"MACs not counted: those of {', '.join(self.uncounted)}.")
        if self.idle:
            notes.append(f"Did not run: {', '.join(map(one_line, self.idle))}.")
        return notes
