"""The compiled training step in place of autograd, wherever it covers model, loss, optimizer and loader.

The parameters and the optimizer's averages become views of flat vectors that the compiled step changes in place, so
that `state_dict`, hooks, pictures and checkpoints see the same modules, and autograd can go on at any step.
"""

import math
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.data.batches import Batches
from modelflow.networks.build import GenericCNN, is_as_described
from modelflow.training.cross_entropy import cross_entropy
from modelflow.training.loop import START, EpochProgress, OnSteps, check_finite
from modelflow.training.loss import Loss, is_plain_cross_entropy

if TYPE_CHECKING:
    from modelflow.kernels.network import Network, State
    from modelflow.kernels.rules.rule import Rule

Array = np.ndarray[Any, Any]

MACS_A_CALL = 12e9  # of the forward pass, in one call: about a second, or the epoch
TRIED_ON = ("x86_64", "amd64", "AMD64", "aarch64", "arm64")  # in the system's words; ARM64 is Windows's
OWN_METHODS = ("forward", "featurizer", "classifier")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def unsupported_reason(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: torch.optim.Optimizer,
    loader: object,
    averages: bool = False,
    augments: bool = False,
) -> str:
    """Why the compiled step cannot train these, in words; empty when it can.

    `averages`: whether weights are to be averaged, `augments`: whether images are to be changed at each step.
    """
    about_both = _about_machine() or _about_model(model)
    reason = about_both or _about_loss(loss_fn) or _about_optimizer(optimizer, model) or _about_loader(loader, model)
    if reason or not (averages or augments):
        return reason
    return "the compiled step does not augment images" if augments else "the compiled step does not average weights"


def unsupported_inference_reason(model: nn.Module, loader: Any) -> str:
    """Why the compiled functions cannot evaluate the model on the loader, in words; empty when they can."""
    return _about_machine() or _about_model(model) or _about_loader(loader, model) or _about_part(loader)


def compiled_logits(
    model: GenericCNN,
    loader: Batches,
    optimizer: torch.optim.Optimizer,
    say: Callable[[str], None] | None = None,
    threads: int = 1,
) -> Array:
    """Logits N x K of the loader's images, as they lie there, without dropout; by code that trains too where it can."""
    from modelflow.kernels.network import compiled

    params = torch.cat([p.detach().ravel() for p in model.parameters()]).numpy()
    rule = None if _about_options(optimizer) else _rule_of(optimizer)
    images = loader.dataset.tensors[0].contiguous().numpy()
    return compiled(model.trace, rule, say).logits(images, params, threads, running_statistics(model))


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms, in the order of their statistics."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def running_statistics(model: nn.Module) -> Array:
    """The running mean, then the running variance of each batch norm, in one vector."""
    parts = [kept.numpy() for norm in norms(model) for kept in _statistics(norm)]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _statistics(norm: nn.BatchNorm2d) -> list[Tensor]:
    return [kept for kept in (norm.running_mean, norm.running_var) if kept is not None]


def _about_machine() -> str:
    return "" if platform.machine() in TRIED_ON else f"the compiled step was not tried on {platform.machine()}"


def _about_model(model: nn.Module) -> str:
    kind = type(model)
    if not isinstance(model, GenericCNN) or any(
        getattr(kind, method) is not getattr(GenericCNN, method) or method in vars(model) for method in OWN_METHODS
    ):
        return f"the model is a {kind.__name__}, not built from a spec"
    if uncovered := _uncovered(model):
        return f"{uncovered} is not compiled"
    if not is_as_described(model):
        return "the model's layers are not those of its spec any more"
    if any(p.dtype != torch.float32 or p.device.type != "cpu" or not p.requires_grad for p in model.parameters()):
        return "not all parameters are trainable float32 on the CPU"
    if _share_memory(list(model.parameters())):
        return "some parameters share their memory"
    if any(b.dtype not in (torch.float32, torch.int64) or b.device.type != "cpu" for b in model.buffers()):
        return "not all running statistics of batch norm are float32 on the CPU"
    owners = ((model.modules(), HOOKS), (model.parameters(), PARAMETER_HOOKS))
    if any(getattr(owner, hooks, None) for owned, kinds in owners for owner in owned for hooks in kinds):
        return "hooks are attached"
    return ""


def _uncovered(model: GenericCNN) -> str:
    """The first layer that no kernel knows, in words; empty where all are known."""
    from modelflow.kernels.graph import uncovered

    return uncovered(model.trace) if model.outside_family else ""


def _share_memory(parameters: list[nn.Parameter]) -> bool:
    """Whether the stretches of memory that they lie in overlap, as of a view of another one."""
    stretches = sorted((p.data_ptr(), p.data_ptr() + _bytes_from_first_to_last(p)) for p in parameters if p.numel())
    return any(begin < end for (_, end), (begin, _) in pairwise(stretches))


def _bytes_from_first_to_last(p: Tensor) -> int:
    steps = sum((size - 1) * stride for size, stride in zip(p.shape, p.stride(), strict=True))
    return (steps + 1) * p.element_size()


def _about_loss(loss_fn: Loss) -> str:
    if type(loss_fn) is not nn.CrossEntropyLoss:
        return "the loss is not cross-entropy"
    plain = is_plain_cross_entropy(loss_fn) and loss_fn.reduction == "mean"
    own = loss_fn.ignore_index >= 0 or "forward" in vars(loss_fn) or any(getattr(loss_fn, hooks) for hooks in HOOKS)
    return "" if plain and not own else "the loss is not the plain mean cross-entropy"


def _about_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> str:
    if reason := _about_options(optimizer):
        return reason
    (group,) = optimizer.param_groups
    if [id(p) for p in group["params"]] != [id(p) for p in model.parameters()]:
        return "the optimizer's parameters are not the model's"
    if any(getattr(optimizer, hooks) for hooks in OPTIMIZER_HOOKS):
        return "hooks are attached to the optimizer"
    if len(_steps_made(optimizer)) > 1:
        return "the optimizer has updated some parameters more often than others"
    return ""


def _about_options(optimizer: torch.optim.Optimizer) -> str:
    from modelflow.kernels.rules.registry import rules

    kind = type(optimizer)
    if getattr(torch.optim, kind.__name__, None) is not kind or kind.__name__ not in rules():
        return f"the optimizer is {kind.__name__}"
    if len(optimizer.param_groups) > 1:
        return "the optimizer has several parameter groups"
    (group,) = optimizer.param_groups
    if any(isinstance(value, Tensor) for value in _options(group)):
        return "options of the optimizer are tensors"
    uncovered = "maximize" if group.get("maximize") else rules()[kind.__name__].unsupported_reason(group)
    return f"the compiled step does not cover {kind.__name__} with {uncovered}" if uncovered else ""


def _options(group: dict[str, object]) -> Iterator[Any]:
    """The values of a parameter group's options, those of tuples one by one."""
    for name, value in group.items():
        yield from () if name == "params" else value if isinstance(value, tuple) else (value,)


def _rule_of(optimizer: torch.optim.Optimizer) -> "Rule":
    """The update rule of an optimizer whose options are covered."""
    from modelflow.kernels.rules.registry import rules

    return rules()[type(optimizer).__name__].of(optimizer.param_groups[0])


def _steps_made(optimizer: torch.optim.Optimizer) -> set[float]:
    """The steps that torch has counted of each parameter; one number where it has updated all as often."""
    (group,) = optimizer.param_groups
    return {float(optimizer.state.get(p, {}).get("step", 0)) for p in group["params"]}


def _about_loader(loader: object, model: nn.Module) -> str:
    if type(loader) is not Batches:
        return f"the loader is a {type(loader).__name__}, not batches of a data set in memory"
    if loader.joins_a_last_one and loader.leaves_one:
        return "the last batch of one image is joined to the one before"
    if (loader.batch_size == 1 or loader.leaves_one or loader.images == 1) and norms(model):
        return "batch norm sees a batch of one image"
    kinds = [(tensor.dtype, tensor.device.type) for tensor in loader.dataset.tensors]
    covered = kinds == [(torch.float32, "cpu"), (torch.int64, "cpu")]
    if not covered or loader.dataset.tensors[0].requires_grad:
        return "the data are not float32 images and int64 labels on the CPU"
    assert isinstance(model, GenericCNN)
    if tuple(loader.dataset.tensors[0].shape[1:]) != model.trace.input_shape:
        return "the images have another shape than the model takes"
    if loader.classes is None or loader.classes.start < 0 or loader.classes.stop > model.spec.logits:
        return "the labels are not one of the model's classes an image"
    return "" if loader.finite else "the images hold values that are not finite numbers"


def _about_part(loader: Batches) -> str:
    return "" if loader.index_N is None else "the loader is of a part of its images"


class CompiledStep:
    """The compiled step of one model and optimizer, with the flat vectors that their tensors are views of.

    `threads` says, asked anew about every second, how many may share in evaluation and in layers that are large enough.
    """

    def __init__(
        self,
        model: GenericCNN,
        optimizer: torch.optim.Optimizer,
        say: Callable[[str], None] | None,
        threads: Callable[[], int] = lambda: 1,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self._say = say
        self._threads = threads
        self._compile(_rule_of(optimizer))

    def _compile(self, rule: "Rule") -> None:
        from modelflow.kernels.network import aligned, compiled

        self._rule = rule
        self._network = compiled(self.model.trace, rule, self._say)
        flats = 1 + len(rule.averages)
        self._flats = [torch.from_numpy(aligned(self.model.trace.parameters)) for _ in range(flats)]
        self._views = list(_views(self._flats, self.model))

    def train_epoch(
        self,
        loader: Batches,
        dropout_seed: int,
        on_steps: OnSteps,
        epoch: int,
        factors_S: Array | None = None,
        begun: EpochProgress = START,
    ) -> float:
        """The mean loss over the images of one epoch; as `loop.train_epoch`, but for the source of dropout.

        `on_steps` is told of many steps at once, about every second, when they have been made.
        Raises `RunError` when the loss is no longer finite; the update that such a loss would make is not made.
        """
        order_N, size = loader.order().numpy(), loader.batch_size
        images, labels = (tensor.contiguous().numpy() for tensor in loader.dataset.tensors)
        factors_S = np.ones(len(loader)) if factors_S is None else factors_S
        total, steps = begun.total, max(1, round(MACS_A_CALL / (self.model.trace.macs * size)))
        for start in range(begun.steps, len(loader), steps):
            part, state = order_N[start * size : (start + steps) * size], self._bound()
            (group,) = self.optimizer.param_groups
            options = group | {"lr": group["lr"] * factors_S[start : start + steps]}
            seed, threads = dropout_seed, self._threads()
            done = self._network.train(images, labels, part, size, state, options, seed, start, threads)
            self._count(state.step)
            self._keep(state.running, len(done.losses))
            if done.failed is not None:
                check_finite(
                    float(done.losses[done.failed]), f"epoch {epoch}, step {start + done.failed + 1}: the loss"
                )
            sizes = np.full(len(done.losses), size)
            sizes[-1] = len(part) - size * (len(done.losses) - 1)
            total += float(done.losses @ sizes)
            made = start + len(done.losses)
            on_steps(done.losses.tolist(), EpochProgress(made, total, min(made * size, len(order_N))))
        return total / len(order_N)

    def mean_loss(self, loader: Batches) -> float:
        """The mean cross-entropy over the images, without dropout."""
        state = self._bound()  # which may compile the network anew
        return _mean_loss(self._network, loader, state, self._threads())

    def later_mean_loss(self, loader: Batches) -> Future[float] | None:
        """`mean_loss` with the parameters as they are now, by a second thread while training goes on.

        None where training takes both threads, or none is free.
        """
        from modelflow.kernels.network import Network, State

        network = self._network
        if network.layout.has_large or self._threads() < 2:
            return None
        its_own = Network(network.layout, network.library, None)  # the last evaluation may still be under way
        team = ThreadPoolExecutor(1)
        state = self._bound()
        now = State(state.params.copy(), running=state.running)
        evaluation = team.submit(_mean_loss, its_own, loader, now, 1)
        team.shutdown(wait=False)  # a thread that is kept would be missing in a forked process
        return evaluation

    def _bound(self) -> "State":
        """The flat vectors, after every tensor that is not yet a view of them has been made one."""
        from modelflow.kernels.network import State

        if (rule := _rule_of(self.optimizer)) != self._rule:
            self._compile(rule)
        (step,), parameters = _steps_made(self.optimizer), list(self.model.parameters())
        states = [self.optimizer.state.get(p, {}) for p in parameters]
        kept = [[p.data, *map(state.get, rule.averages)] for p, state in zip(parameters, states, strict=True)]
        _move(chain.from_iterable(self._views), chain.from_iterable(kept))
        for p, (values, *averages) in zip(parameters, self._views, strict=True):
            p.data = values
            if rule.counts_steps:
                self.optimizer.state[p].setdefault("step", torch.tensor(0.0, device="cpu"))
            if averages:
                self.optimizer.state[p].update(zip(rule.averages, averages, strict=True))
        params, *flats = (flat.numpy() for flat in self._flats)
        return State(params, flats, int(step), running_statistics(self.model))

    def _count(self, step: int) -> None:
        for p in self.model.parameters() if self._rule.counts_steps else ():
            self.optimizer.state[p]["step"].fill_(float(step))

    def _keep(self, running: Array, batches: int) -> None:
        """The running statistics after so many batches, as batch norms keep them."""
        begin = 0
        for norm in norms(self.model):
            for kept in _statistics(norm):
                kept.copy_(torch.from_numpy(running[begin : begin + norm.num_features]))
                begin += norm.num_features
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += batches


def _mean_loss(network: "Network", loader: Batches, state: "State", threads: int) -> float:
    images, labels = (tensor.contiguous().numpy() for tensor in loader.dataset.tensors)
    logits_NK = network.logits(images, state.params, threads, state.running)
    return cross_entropy(logits_NK, labels) if np.isfinite(logits_NK).all() else math.nan


def _views(flats: list[Tensor], model: nn.Module) -> Iterator[list[Tensor]]:
    """Of each flat vector the part that is one parameter's, in its shape."""
    begin = 0
    for p in model.parameters():
        yield [flat[begin : begin + p.numel()].view(p.shape) for flat in flats]
        begin += p.numel()


def _move(views: Iterable[Tensor], kept: Iterable[Tensor | None]) -> None:
    """Puts what is kept into its views, zeros for nothing; what lies in another view, or turned, is read first."""
    astray = [(view, values) for view, values in zip(views, kept, strict=True) if not _is_same(view, values)]
    copies = [torch.zeros_like(view) if values is None else values.clone() for view, values in astray]
    for (view, _), values in zip(astray, copies, strict=True):
        view.copy_(values)


def _is_same(view: Tensor, values: Tensor | None) -> bool:
    return values is not None and values.data_ptr() == view.data_ptr() and values.stride() == view.stride()
