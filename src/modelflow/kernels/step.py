"""The program of a network: a whole epoch of training, and evaluation, as two functions of one library.

    train   for each batch: images in, forward, loss, backward, update; stops before a step whose loss is not finite
    logits  forward only, all there is of a program without an update rule

Both take denormal numbers for zero, and work on blocks of as many images as a vector has lanes; a batch of any size is
a number of blocks, the last of which may have lanes without an image (they see zeros, and their gradient is zero).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from modelflow.kernels import conv, dropout, linear, loss
from modelflow.kernels.emit import F32, F64, I32, I64, Array, Code, Num
from modelflow.kernels.functions import LOGITS, PACK, TRAIN, VOID, Functions
from modelflow.kernels.layout import Layout, Linear
from modelflow.kernels.machine import Machine
from modelflow.kernels.rules.rule import Rule, Update, update_small
from modelflow.kernels.threads import alone, wait

CACHE_LINE, MAX_ASKED_FOR = 16, 32_768  # floats; a quarter of a second cache of 512 KiB


class Program(Functions):
    """The program of a network of the card's family."""

    def __init__(self, layout: Layout, machine: Machine, rule: Rule | None) -> None:
        super().__init__(layout.lanes, machine.architecture)
        self.layout = layout
        self.registers = machine.registers
        _write_packing(self)
        _write_forward(self)
        _write_logits(self)
        if rule is not None:
            _write_backward(self, partial(Update, rule=rule, stride=layout.packed))
            _write_train(self, rule)


def _write_forward(program: Program) -> None:
    """What evaluation needs; training needs it too."""
    layout, registers, add = program.layout, program.registers, program.function
    add("gather", "images order valid shared block", partial(_gather, layout=layout))
    for i in range(len(layout.convs)):
        _write_conv(program, i, f"conv{i}_only", winners=False)
    for j, layer in enumerate(layout.linears):
        forward = partial(linear.forward, linear=layer, stride=layout.block, registers=registers)
        add(f"fc{j}", "params blocks count" + _shared(layer), forward)


def _write_conv(program: Program, i: int, name: str, winners: bool) -> None:
    layout, add = program.layout, program.function
    forward = partial(conv.forward, conv=layout.convs[i], registers=program.registers, winners=winners)
    if i or layout.image * layout.lanes > MAX_ASKED_FOR:
        add(name, "params block", forward)
    else:
        asking = partial(forward, before_row=partial(_ask_for_next, layout=layout))
        add(name, "params block images following left", asking)


def _shared(layer: Linear) -> str:
    """The arguments of a layer in which several threads share."""
    return " thread threads" if layer.large else ""


def _write_backward(program: Program, update_in: Callable[[Code], Update]) -> None:
    """What training needs beside."""
    layout, add = program.layout, program.function
    add("labels_in", "labels order valid block", partial(_labels, layout=layout))
    for i in range(len(layout.convs)):
        _write_conv(program, i, f"conv{i}", winners=True)
        _write_conv_gradients(program, i)
    for j in range(len(layout.linears)):
        _write_linear_gradients(program, j, update_in)
    add("loss", "block valid number", partial(loss.cross_entropy, layout=layout), F64)
    add("wait", "threads barrier", wait)
    small = layout.small // layout.lanes
    add("update", "params scalars grads", partial(update_small, update_in=update_in, count=small))


def _write_conv_gradients(program: Program, i: int) -> None:
    layout, registers, add = program.layout, program.registers, program.function
    layer = layout.convs[i]
    dropped = layout.linears[0].dropout if i == len(layout.convs) - 1 else 0.0
    add(f"conv{i}_unpool", "shared block grads", partial(conv.unpool, conv=layer, scale=1 / (1 - dropped)))
    add(f"conv{i}_weight", "shared block grads", partial(conv.weight_gradient, conv=layer, registers=registers))
    if i:
        target = layout.convs[i - 1].gradient
        write = partial(conv.input_gradient, conv=layer, target=target, registers=registers)
        add(f"conv{i}_input", "params shared block", write)


def _write_linear_gradients(program: Program, j: int, update_in: Callable[[Code], Update]) -> None:
    layout, add = program.layout, program.function
    layer = layout.linears[j]
    if layer.dropout:
        add(f"drop{j}", "block keys begin number", partial(dropout.dropout, linear=layer, p=layer.dropout))
    add(f"panel{j}", "block", partial(linear.panel, linear=layer))
    backward = partial(linear.backward, linear=layer, stride=layout.block, registers=program.registers)
    add(f"fc{j}_back", "params scalars blocks count" + _shared(layer), partial(backward, update_in=update_in))
    add(f"fc{j}_bias", "grads blocks count", partial(linear.bias_gradients, linear=layer, stride=layout.block))
    if j:
        add(f"fc{j}_mask", "block", partial(linear.mask, linear=layer, scale=1 / (1 - layer.dropout)))


def _write_packing(program: Program) -> None:
    """pack and unpack: the flat parameters, or an average, into the step's order and back."""
    for name, packing in (("pack", True), ("unpack", False)):
        for j, layer in enumerate(program.layout.linears):
            program.function(f"{name}{j}", " ".join(PACK), partial(linear.pack, linear=layer, packing=packing))
        program.function(name, " ".join(PACK), partial(_pack_all, program=program, name=name))


def _pack_all(k: Code, program: Program, name: str) -> None:
    layout = program.layout
    runs = [(c.flat, c.weight, c.bias + c.channels - c.weight) for c in layout.convs]
    runs += [(layer.flat + layer.inputs * layer.outputs, layer.bias, layer.outputs) for layer in layout.linears]
    linear.pack_small(k, runs, packing=name == "pack")
    for j in range(len(layout.linears)):
        program.call(k, f"{name}{j}")


def _gather(k: Code, layout: Layout) -> None:
    """The images that `order` names, transposed: one vector a pixel; zeros for lanes beyond `valid`."""
    lanes, block = k.lanes, k.vectors(k.block).at(layout.convs[0].source)
    images, order = k.array(k.images), k.array(k.order, I64)
    sources = []
    for lane in range(lanes):
        there = k.valid > lane
        index = order[k.where(there, k.integer(lane), k.integer(0))]
        pointer = k.builder.select(there.value, images.at(index * layout.image).pointer, k.shared.value)
        sources.append(Array(k, pointer, F32))
    whole = layout.image // lanes
    for tile in k.loop(whole):
        rows = [source.unaligned(tile * lanes) for source in sources]
        target = block.at(tile * lanes)
        for i, vector in enumerate(linear.transposed(k, rows)):
            target[i] = vector
    scalars = block.of(F32)
    for pixel in k.loop(layout.image, whole * lanes):
        for lane, source in enumerate(sources):
            scalars[pixel * lanes + lane] = source[pixel]


def _ask_for_next(k: Code, row: Num, layout: Layout) -> None:
    """Asks for a part of the next block's images, which come from anywhere in memory, while this one is computed."""
    images, following = k.array(k.images), k.array(k.following, I64)
    lines = -(-layout.image // CACHE_LINE)
    part = -(-lines // layout.convs[0].pooled) * CACHE_LINE
    begin, end = row * part, _least(k, (row + 1) * part, k.integer(layout.image))
    for lane in k.loop(k.left):
        image = images.at(following[lane] * layout.image)
        for place in k.loop(end, begin, CACHE_LINE):
            k.prefetch(image.at(place))


def _labels(k: Code, layout: Layout) -> None:
    target = k.vectors(k.block).at(layout.labels).of(I32)
    labels, order = k.array(k.labels, I64), k.array(k.order, I64)
    for lane in k.loop(k.valid):
        target[lane] = k.convert(labels[order[lane]], I32)


def _write_train(program: Program, rule: Rule) -> None:
    layout = program.layout

    def write(k: Code) -> None:
        lanes = layout.lanes
        memory = k.vectors(k.memory)
        views = {
            "shared": k.memory,
            "grads": Num(k, memory.at(layout.grads).pointer),
            "blocks": Num(k, memory.at(layout.shared).pointer),
        }
        losses = k.array(k.losses, F64)
        done = k.function.append_basic_block("done")
        steps = (k.count + k.batch - 1) // k.batch
        finished = k.var(k.integer(0))
        for step in k.loop(steps):
            begin = step * k.batch
            number = _least(k, k.count - begin, k.batch)
            count = (number + (lanes - 1)) // lanes
            scalars = Num(k, k.array(k.scalars).at(step * rule.scalar_count).pointer)
            call = _Caller(program, k, views | {"number": number, "scalars": scalars, "count": count})
            with call.alone():
                _zero(k, memory.at(layout.grads), layout.small // lanes)
                for b in k.loop(count):
                    _forward_block(call, b, begin, k.start + step)
            _forward_linears(call, count, k.start + step)
            with call.alone():
                losses[step] = _loss(call, count)
            call.wait()
            finished.set(step)
            with k.when(k.not_finite(losses[step])):
                k.builder.branch(done)
            _backward(call, count)
            with call.alone():
                call("update")
            finished.set(step + 1)
        k.builder.branch(done)
        k.builder.position_at_end(done)
        k.give(finished.get())

    program.entry("train", TRAIN, write, I64)


class _Caller:
    """Calls of the program's functions with the values of this step."""

    def __init__(self, program: Program, k: Code, values: dict[str, Num]) -> None:
        self.program, self.k, self.values, self.layout = program, k, values, program.layout

    def __call__(self, name: str, **values: Num) -> Num:
        return self.program.call(self.k, name, **(self.values | values))

    def alone(self) -> AbstractContextManager[None]:
        """What is written within is done by one thread, where there may be several."""
        return alone(self.k) if self.layout.has_large else nullcontext()

    def wait(self) -> None:
        if self.layout.has_large:
            self("wait")

    def layer(self, j: int, name: str) -> None:
        """A linear layer's function: by all threads together when the layer is large."""
        if self.layout.linears[j].large:
            self.wait()
            self(name)
            self.wait()
        else:
            with self.alone():
                self(name)

    def block(self, b: Num) -> dict[str, Num]:
        """The arguments of functions that work on block `b`."""
        lanes = self.layout.lanes
        blocks = self.k.vectors(self.values["blocks"])
        valid = _least(self.k, self.values["number"] - b * lanes, self.k.integer(lanes))
        return {"block": Num(self.k, blocks.at(b * self.layout.block).pointer), "valid": valid, "begin": b * lanes}


def _forward_block(call: _Caller, b: Num, begin: Num, step: Num) -> None:
    k, layout = call.k, call.layout
    here = call.block(b)
    here["order"] = Num(k, k.array(k.order, I64).at(begin + b * layout.lanes).pointer)
    start = begin + _least(k, (b + 1) * layout.lanes, call.values["number"])
    here |= {"following": Num(k, k.array(k.order, I64).at(start).pointer), "left": _left(k, start)}
    call("gather", **here)
    call("labels_in", **here)
    for i in range(len(layout.convs)):
        call(f"conv{i}", **here)
    _prepare(call, 0, here, step)


def _prepare(call: _Caller, j: int, here: dict[str, Num], step: Num) -> None:
    """A linear layer's input: dropped out and transposed."""
    if call.layout.linears[j].dropout:
        padded = (call.values["number"] + 15) // 16 * 16
        call(f"drop{j}", **(here | {"keys": dropout.keys(call.k.seed, step, j), "number": padded}))
    call(f"panel{j}", **here)


def _forward_linears(call: _Caller, count: Num, step: Num) -> None:
    for j in range(len(call.layout.linears)):
        if j:
            with call.alone():
                for b in call.k.loop(count):
                    _prepare(call, j, call.block(b), step)
        call.layer(j, f"fc{j}")


def _loss(call: _Caller, count: Num) -> Num:
    k = call.k
    total = k.var(k.constant(0.0, F64))
    for b in k.loop(count):
        total.set(total.get() + call("loss", **call.block(b)))
    return total.get() / k.convert(call.values["number"], F64)


def _backward(call: _Caller, count: Num) -> None:
    k, layout = call.k, call.layout
    for j in reversed(range(len(layout.linears))):
        call.layer(j, f"fc{j}_back")
        with call.alone():
            call(f"fc{j}_bias")
            for b in k.loop(count if j else 0):
                call(f"fc{j}_mask", **call.block(b))
    with call.alone():
        for b in k.loop(count):
            here = call.block(b)
            for i in reversed(range(len(layout.convs))):
                call(f"conv{i}_unpool", **here)
                call(f"conv{i}_weight", **here)
                if i:
                    call(f"conv{i}_input", **here)


def _write_logits(program: Program) -> None:
    layout = program.layout

    def write(k: Code) -> None:
        """Batches of `blocks_at_once` blocks, so that a large weight is not read for each block anew."""
        lanes = layout.lanes
        memory = k.vectors(k.memory)
        batch = k.blocks_at_once * lanes
        order = memory.at(layout.order).of(I64)
        views = {"shared": k.memory, "blocks": Num(k, memory.at(layout.shared).pointer)}
        for part in k.loop((k.count + batch - 1) // batch):
            begin = part * batch
            number = _least(k, k.count - begin, batch)
            count = (number + (lanes - 1)) // lanes
            one = {"thread": k.integer(0), "threads": k.integer(1)}
            batch_of = {"number": number, "count": count, "order": Num(k, order.pointer)}
            call = _Caller(program, k, views | batch_of | one)
            for b in k.loop(count):
                for lane in range(2 * lanes):  # of this block and of the next
                    order[lane] = begin + b * lanes + lane
                following = Num(k, order.at(lanes).pointer)
                left = _left(k, _least(k, begin + (b + 1) * lanes, k.count))
                here = call.block(b) | {"following": following, "left": left}
                call("gather", **here)
                for i in range(len(layout.convs)):
                    call(f"conv{i}_only", **here)
            for j in range(len(layout.linears)):
                call(f"fc{j}")
            for b in k.loop(count):
                _put_logits(call, b, begin)

    program.entry("logits", LOGITS, write, VOID)


def _put_logits(call: _Caller, b: Num, begin: Num) -> None:
    k, layout = call.k, call.layout
    here = call.block(b)
    logits = k.vectors(here["block"]).at(layout.linears[-1].output).of(F32)
    out = k.array(k.out).at((begin + b * layout.lanes) * layout.classes)
    for lane in k.loop(here["valid"]):
        for c in k.loop(layout.classes):
            out[lane * layout.classes + c] = logits[c * layout.lanes + lane]


def _left(k: Code, start: Num) -> Num:
    """How many images the order has from `start` on, at most those of a block."""
    return _least(k, k.count - start, k.integer(k.lanes))


def _zero(k: Code, memory: Array, count: int) -> None:
    for i in k.loop(count):
        memory[i] = k.vector(0.0)


def _least(k: Code, a: Num, b: Num) -> Num:
    return k.where(a < b, a, b)
