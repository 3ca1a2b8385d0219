"""The compiled training step in place of autograd, wherever it covers model, loss, optimizer and loader.

The parameters and the optimizer's averages become views of flat vectors that the compiled step changes in place, so
that `state_dict`, hooks, pictures and checkpoints see the same modules, and autograd can go on at any step.
"""

import math
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.data.batches import Batches
from modelflow.io.array import Array
from modelflow.networks.build import GenericCNN, is_as_described
from modelflow.networks.seeds import stream
from modelflow.training.augmentation import AS_THEY_ARE, Augmentation, Draws
from modelflow.training.averaging import Averaging
from modelflow.training.cross_entropy import cross_entropy
from modelflow.training.loop import START, EpochProgress, OnSteps, check_finite
from modelflow.training.loss import Loss, is_plain_cross_entropy
from modelflow.training.predict import predict

if TYPE_CHECKING:
    from modelflow.kernels.extras import Extras, Targets
    from modelflow.kernels.network import Network, State, Trained
    from modelflow.kernels.rules.rule import Rule


MACS_A_CALL = 12e9  # of the forward pass, in one call: about a second, or the epoch
COMPARED = 64  # images whose logits are compared with PyTorch's
TOLERATED = 0.01  # of the largest logit, or of 1 if that is less
TRIED_ON = ("x86_64", "amd64", "AMD64", "aarch64", "arm64")  # in the system's words; ARM64 is Windows's
OWN_METHODS = ("forward", "featurizer", "classifier")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def unsupported_reason(model: nn.Module, loss_fn: Loss, optimizer: torch.optim.Optimizer, loader: object) -> str:
    """Why the compiled step cannot train these, in words; empty when it can."""
    if reason := _about_machine() or _about_model(model) or _about_loss(loss_fn, model):
        return reason
    return _about_optimizer(optimizer, model) or _about_loader(loader, model)


def unsupported_inference_reason(model: nn.Module, loader: Any) -> str:
    """Why the compiled functions cannot evaluate the model on the loader, in words; empty when they can."""
    return _about_machine() or _about_model(model) or _about_loader(loader, model) or _about_part(loader)


def compiled_logits(
    model: GenericCNN,
    loader: Batches,
    optimizer: torch.optim.Optimizer,
    say: Callable[[str], None] | None = None,
    threads: int = 1,
    extras: "Extras | None" = None,
) -> Array:
    """Logits N x K of the loader's images, as they lie there, without dropout; by code that trains too where it can.

    `extras` are those of the training. Outside the card's family every step evaluates by the same code.
    """
    from modelflow.kernels.extras import PLAIN
    from modelflow.kernels.network import compiled

    params = torch.cat([p.detach().ravel() for p in model.parameters()]).numpy()
    rule = None if _about_options(optimizer) else _rule_of(optimizer)
    own = extras if extras is not None and rule is not None and model.outside_family else PLAIN
    images = loader.dataset.tensors[0].contiguous().numpy()
    return compiled(model.trace, rule, say, extras=own).logits(images, params, threads, running_statistics(model))


def extras_of(loss_fn: Loss, averaging: Averaging, augmentation: Augmentation) -> "Extras":
    """What a step of a training does beside a plain one."""
    from modelflow.kernels.extras import Extras

    return Extras(
        weighted=not is_plain_cross_entropy(loss_fn),
        averaged=averaging.decay is not None,
        augmented=bool(augmentation),
    )


def is_as_torch(model: GenericCNN, loader: Batches, logits_NK: Array) -> bool:
    """Whether logits are PyTorch's on the first images, so that no fault of a kernel passes for a model's accuracy.

    Raises as `predict` does.
    """
    images, labels = (tensor[:COMPARED] for tensor in loader.dataset.tensors)
    expected, _ = predict(model, Batches(images, labels, COMPARED), "cpu")
    difference = np.abs(logits_NK[: len(expected)] - expected).max(initial=0)
    return bool(difference <= TOLERATED * max(1, np.abs(expected).max(initial=0)))


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
    if layer := _unsupported_layer(model):
        return f"{layer} is not compiled"
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


def _unsupported_layer(model: GenericCNN) -> str:
    """The first layer that no kernel knows, in words; empty where all are known."""
    from modelflow.kernels.graph import unsupported_layer

    return unsupported_layer(model.trace) if model.outside_family else ""


def _share_memory(parameters: list[nn.Parameter]) -> bool:
    """Whether the stretches of memory that they lie in overlap, as of a view of another one."""
    stretches = sorted((p.data_ptr(), p.data_ptr() + _bytes_from_first_to_last(p)) for p in parameters if p.numel())
    return any(begin < end for (_, end), (begin, _) in pairwise(stretches))


def _bytes_from_first_to_last(p: Tensor) -> int:
    steps = sum((size - 1) * stride for size, stride in zip(p.shape, p.stride(), strict=True))
    return (steps + 1) * p.element_size()


def _about_loss(loss_fn: Loss, model: nn.Module) -> str:
    if type(loss_fn) is not nn.CrossEntropyLoss:
        return "the loss is not cross-entropy"
    own = loss_fn.ignore_index >= 0 or "forward" in vars(loss_fn) or any(getattr(loss_fn, hooks) for hooks in HOOKS)
    if own or loss_fn.reduction != "mean":
        return "the loss is not the mean cross-entropy"
    assert isinstance(model, GenericCNN)
    weight_K: Tensor | None = loss_fn.weight
    found = None if weight_K is None else (weight_K.shape, weight_K.dtype, weight_K.device.type)
    if found not in (None, ((model.spec.logits,), torch.float32, "cpu")):
        return "the weights of the loss are not one float32 number a class on the CPU"
    return ""


def _targets_of(loss_fn: Loss, classes: int) -> "Targets | None":
    """What the loss is weighted and smoothed with; None where it is plain."""
    from modelflow.kernels.extras import Targets

    if is_plain_cross_entropy(loss_fn):
        return None
    assert isinstance(loss_fn, nn.CrossEntropyLoss)
    weight_K: Tensor | None = loss_fn.weight
    weights_K = np.ones(classes) if weight_K is None else weight_K.detach().double().numpy()
    return Targets(weights_K, loss_fn.label_smoothing)


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
    option = "maximize" if group.get("maximize") else rules()[kind.__name__].unsupported_reason(group)
    return f"the compiled step does not cover {kind.__name__} with {option}" if option else ""


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
    leaves_one = loader.leaves_one and not loader.joins_a_last_one
    if (loader.batch_size == 1 or leaves_one or loader.images == 1) and norms(model):
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
    """The compiled step of one model, loss and optimizer, with the flat vectors that their tensors are views of.

    `averaging` is that of the training, which may also set another `loss_fn` or `augmentation`. `threads` says, asked
    anew about every second, how many may share in evaluation and in layers that are large enough.
    """

    def __init__(
        self,
        model: GenericCNN,
        loss_fn: Loss,
        optimizer: torch.optim.Optimizer,
        say: Callable[[str], None] | None,
        threads: Callable[[], int] = lambda: 1,
        averaging: Averaging | None = None,
        augmentation: Augmentation = AS_THEY_ARE,
    ) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.optimizer = optimizer
        self.averaging = averaging if averaging is not None else Averaging()
        self.augmentation = augmentation
        self._say = say
        self._threads = threads
        self._compile(*self._wanted())

    def _wanted(self) -> "tuple[Rule, Extras]":
        return _rule_of(self.optimizer), extras_of(self.loss_fn, self.averaging, self.augmentation)

    def _compile(self, rule: "Rule", extras: "Extras") -> None:
        from modelflow.kernels.network import aligned, compiled

        self._made_for = rule, extras
        self._network = compiled(self.model.trace, rule, self._say, extras=extras)
        flats = 1 + len(rule.averages)
        self._flats = [torch.from_numpy(aligned(self.model.trace.parameters)) for _ in range(flats)]
        self._views = list(_views(self._flats, self.model))

    def train_epoch(
        self,
        loader: Batches,
        seed: int,
        on_steps: OnSteps,
        epoch: int,
        factors_S: Array | None = None,
        begun: EpochProgress = START,
    ) -> float:
        """The mean loss over the images of one epoch; as `loop.train_epoch`, but for the source of dropout.

        `on_steps` is told of many steps at once, about every second, when they have been made.
        Raises `RunError` when the loss is no longer finite; the update that such a loss would make is not made.
        """
        order_N, factors_S = loader.order().numpy(), np.ones(len(loader)) if factors_S is None else factors_S
        images, labels = (tensor.contiguous().numpy() for tensor in loader.dataset.tensors)
        total, at_once = begun.total, max(1, round(MACS_A_CALL / (self.model.trace.macs * loader.batch_size)))
        for part in _parts(loader, begun.steps, at_once):
            state = self._bound()
            (group,) = self.optimizer.param_groups
            options = group | {"lr": group["lr"] * factors_S[part.steps]}
            done = self._network.train(
                *(images, labels, order_N[part.images], part.batch, state, options, stream(seed, "dropout", epoch)),
                start=part.steps.start,
                threads=self._threads(),
                targets=_targets_of(self.loss_fn, self._network.layout.classes),
                shares_S=self.averaging.shares(len(part.sizes)),
                changes=self._changes(part, seed, epoch),
            )
            self._keep(state, done)
            if done.failed is not None:
                step = part.steps.start + done.failed + 1
                check_finite(float(done.losses[done.failed]), f"epoch {epoch}, step {step}: the loss")
            total += float(done.losses @ part.sizes)
            on_steps(done.losses.tolist(), EpochProgress(part.steps.stop, total, part.images.stop))
        return total / len(order_N)

    def _changes(self, part: "_Part", seed: int, epoch: int) -> Array | None:
        """How the images of the part are augmented; None where they are not."""
        if not self.augmentation:
            return None
        _, height, width = self.model.trace.input_shape
        seeds = [stream(seed, "augmentation", epoch, step + 1) for step in range(part.steps.start, part.steps.stop)]
        drawn = [
            self.augmentation.draws(int(size), height, width, own) for size, own in zip(part.sizes, seeds, strict=True)
        ]
        return self.augmentation.table(Draws(*map(torch.cat, zip(*drawn, strict=True))), height, width).numpy()

    def mean_loss(self, loader: Batches) -> float:
        """The mean loss over the images, without dropout."""
        state = self._bound()  # which may compile the network anew
        return _mean_loss(self._network, self.loss_fn, loader, state, self._threads())

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
        evaluation = team.submit(_mean_loss, its_own, self.loss_fn, loader, now, 1)
        team.shutdown(wait=False)  # a thread that is kept would be missing in a forked process
        return evaluation

    def _bound(self) -> "State":
        """The flat vectors, after every tensor that is not yet a view of them has been made one."""
        from modelflow.kernels.network import State

        if (wanted := self._wanted()) != self._made_for:
            self._compile(*wanted)
        rule, _ = wanted
        (step,), parameters = _steps_made(self.optimizer), list(self.model.parameters())
        states = [self.optimizer.state.get(p, {}) for p in parameters]
        kept = [[p.data, *map(state.get, rule.averages)] for p, state in zip(parameters, states, strict=True)]
        _move(chain.from_iterable(self._views), chain.from_iterable(kept))
        for p, (values, *averages) in zip(parameters, self._views, strict=True):
            p.data = values
            if rule.counts_steps and "step" not in self.optimizer.state[p]:
                self.optimizer.state[p]["step"] = torch.tensor(0.0, device="cpu")
            if averages:
                self.optimizer.state[p].update(zip(rule.averages, averages, strict=True))
        params, *flats = (flat.numpy() for flat in self._flats)
        return State(params, flats, int(step), running_statistics(self.model), self.averaging.flat())

    def _keep(self, state: "State", done: "Trained") -> None:
        """What the flat vectors do not show: counts, running statistics, and the average."""
        rule, _ = self._made_for
        for p in self.model.parameters() if rule.counts_steps else ():
            self.optimizer.state[p]["step"].fill_(float(state.step))
        begin = 0
        for norm in norms(self.model):
            for kept in _statistics(norm):
                kept.copy_(torch.from_numpy(state.running[begin : begin + norm.num_features]))
                begin += norm.num_features
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += len(done.losses)
        self.averaging.take(state.average, len(done.losses) - (done.failed is not None))


class _Part(NamedTuple):
    """Steps of an epoch that are made in one call: which they are, their images in the epoch's order, a batch's."""

    steps: slice
    images: slice
    batch: int

    @property
    def sizes(self) -> Array:
        """The images of each step."""
        images = self.images.stop - self.images.start
        sizes = np.full(math.ceil(images / self.batch), self.batch)
        sizes[-1:] = images - self.batch * (len(sizes) - 1)
        return sizes


def _parts(loader: Batches, begin: int, at_once: int) -> Iterator[_Part]:
    """The parts of an epoch from a step on; a last batch that a single image was joined to is one of its own."""
    size, steps, images = loader.batch_size, len(loader), loader.images
    alike = steps - 1 if steps * size < images else steps
    for start in range(begin, alike, at_once):
        stop = min(start + at_once, alike)
        yield _Part(slice(start, stop), slice(start * size, min(stop * size, images)), size)
    if max(begin, alike) < steps:
        yield _Part(slice(alike, steps), slice(alike * size, images), size + 1)


def _mean_loss(network: "Network", loss_fn: Loss, loader: Batches, state: "State", threads: int) -> float:
    images, labels = (tensor.contiguous().numpy() for tensor in loader.dataset.tensors)
    logits_NK = network.logits(images, state.params, threads, state.running)
    if not np.isfinite(logits_NK).all():
        return math.nan
    if is_plain_cross_entropy(loss_fn):
        return cross_entropy(logits_NK, labels)
    return _by_batches(loss_fn, torch.from_numpy(logits_NK), loader)


@torch.no_grad()
def _by_batches(loss_fn: Loss, logits_NK: Tensor, loader: Batches) -> float:
    """The mean over the images, each batch's loss counted once an image, as autograd's validation has it."""
    _, y_N = loader.dataset.tensors
    batches = [slice(start, start + loader.batch_size) for start in range(0, len(y_N), loader.batch_size)]
    return sum(float(loss_fn(logits_NK[of], y_N[of])) * len(y_N[of]) for of in batches) / len(y_N)


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
