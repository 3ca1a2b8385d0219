"""The program of any network: as `step`, from a list of calls, each for every block of the batch or once for all.

Calls one after the other that go block by block, a phase, are made for one block, then for the next, so that what one
leaves the next finds in the cache. Phases go through the blocks in turn from the last one and from the first.
"""

from functools import partial

from modelflow.kernels import linear, loss
from modelflow.kernels.emit import F32, F64, I32, I64, Array, Code, Num
from modelflow.kernels.extras import PLAIN, Extras, average, changes_an_image, gather_changed
from modelflow.kernels.functions import LOGITS, PACK, TRAIN, VOID, Functions
from modelflow.kernels.machine import Machine
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import At, Call
from modelflow.kernels.places import Places, phases
from modelflow.kernels.rules.rule import Rule, Update, update_small

Views = dict[str, Num]


class Program(Functions):
    """The program of placed operations; without a rule it only evaluates."""

    def __init__(self, places: Places, machine: Machine, rule: Rule | None, extras: Extras = PLAIN) -> None:
        super().__init__(places.lanes, machine.architecture)
        self.places = places
        self.extras = extras
        self._names: dict[tuple[object, ...], str] = {}
        image, _ = places.values[places.graph.image]
        self.function("gather", "images order valid target", partial(gather, maps=image))
        for name, packing in (("pack", True), ("unpack", False)):
            runs = [(0, 0, places.parameters)]
            self.function(name, " ".join(PACK), partial(linear.pack_small, runs=runs, packing=packing))
        self._write_evaluation()
        if rule is not None:
            self._write_training(rule)

    def _write_evaluation(self) -> None:
        calls = self.places.forward(training=False)
        once, each = ([call for call in calls if call.whole is whole] for whole in (True, False))
        for call in calls:
            self._declare(call)

        def write(k: Code) -> None:
            views = _memories(self.places, k)
            order = k.vectors(k.memory).of(F32).at(self.places.order.offset).of(I64)
            for call in once:
                self._call(k, call, views)
            for begin in k.loop((k.count + (k.lanes - 1)) // k.lanes):
                here = views | self._block(k, views, k.integer(0)) | {"begin": begin * k.lanes}
                here["valid"] = _least(k, k.count - here["begin"], k.integer(k.lanes))
                here["order"] = Num(k, order.pointer)
                for lane in range(k.lanes):
                    order[lane] = here["begin"] + lane
                self._gather(k, here)
                for call in each:
                    self._call(k, call, here)
                self._put_logits(k, here)

        self.entry("logits", LOGITS, write, VOID)

    def _put_logits(self, k: Code, here: Views) -> None:
        _, at = self.places.values[self.places.graph.logits]
        logits, classes = self._place(k, at, here).of(F32), self.places.classes
        out = k.array(k.out).at(here["begin"] * classes)
        for lane in k.loop(here["valid"]):
            for c in k.loop(classes):
                out[lane * classes + c] = logits[c * k.lanes + lane]

    def _write_training(self, rule: Rule) -> None:
        places = self.places
        calls = [*places.forward(training=True), self._loss(), *places.backward()]
        for call in calls:
            self._declare(call)
        self.function("labels_in", "labels order valid target", labels_in)
        if self.extras.augmented:
            image, _ = places.values[places.graph.image]
            self.function("gather_changed", "images order changes valid target", partial(gather_changed, maps=image))
        update = partial(update_small, update_in=partial(Update, rule=rule, stride=places.packed))
        self.function("update", "params scalars grads", partial(update, count=places.small // places.lanes))
        if self.extras.averaged:
            row = 1 + len(rule.averages)
            self.function("average", "params share", partial(average, packed=places.packed, row=row))

        def write(k: Code) -> None:
            views, losses = _memories(places, k), k.array(k.losses, F64)
            done, finished = k.function.append_basic_block("done"), k.var(k.integer(0))
            for step in k.loop((k.count + k.batch - 1) // k.batch):
                views |= self._of_step(k, step, rule) | {"loss": Num(k, losses.at(step).pointer)}
                self._fetch(k, views)
                grads = self._place(k, places.grads, views)
                for i in k.loop(places.small // k.lanes):
                    grads[i] = k.vector(0.0)
                losses[step] = k.constant(0.0, F64)
                self._run(k, calls, views)
                losses[step] = self._mean(k, losses[step], views)
                finished.set(step)
                with k.when(k.not_finite(losses[step])):
                    k.builder.branch(done)
                self.call(k, "update", **views, grads=Num(k, grads.pointer))
                if self.extras.averaged:
                    self.call(k, "average", **views)
                finished.set(step + 1)
            k.builder.branch(done)
            k.builder.position_at_end(done)
            k.give(finished.get())

        self.entry("train", TRAIN, write, I64)

    def _loss(self) -> Call:
        logits = self.places.graph.logits
        at = {"source": self.places.values[logits][1], "gradient": self.places.gradients[logits][1]}
        at["labels"] = self.places.labels
        weighted = self.extras.weighted
        write = loss.weighted_cross_entropy_of if weighted else loss.cross_entropy_of
        numbers = ("valid", "loss", *(("targets", "scale") if weighted else ("number",)))
        return Call(write, (self.places.classes,), tuple(at.items()), numbers, whole=False)

    def _of_step(self, k: Code, step: Num, rule: Rule) -> Views:
        begin, (image, _) = step * k.batch, self.places.values[self.places.graph.image]
        number = _least(k, k.count - begin, k.batch)
        scalars = k.array(k.scalars).at(step * (rule.scalar_count + self.extras.scalar_count))
        scale = scalars.at(rule.scalar_count)
        return {
            "number": number,
            "blocks": (number + (k.lanes - 1)) // k.lanes,
            "step": k.start + step,
            "scalars": Num(k, scalars.pointer),
            "scale": Num(k, scale.pointer),
            "share": Num(k, scale.at(int(self.extras.weighted)).pointer),
            "batch_order": Num(k, k.array(k.order, I64).at(begin).pointer),
            "step_changes": Num(k, k.array(k.changes, I32).at(begin * changes_an_image(image)).pointer),
        }

    def _fetch(self, k: Code, views: Views) -> None:
        image, at = self.places.values[self.places.graph.image]
        for b in k.loop(views["blocks"]):
            here = views | self._block(k, views, b)
            if self.extras.augmented:
                changes = k.array(views["step_changes"], I32).at(here["begin"] * changes_an_image(image))
                target = self._number(k, at, here)
                self.call(k, "gather_changed", **here, target=target, changes=Num(k, changes.pointer))
            else:
                self._gather(k, here)
            self.call(k, "labels_in", **here, target=self._number(k, self.places.labels, here))

    def _run(self, k: Code, calls: list[Call], views: Views) -> None:
        """The calls, in phases, in turn from the last block to the first and from the first to the last.

        So each phase begins with what the one before it left in the cache.
        """
        from_last = True
        for whole, group in phases(calls):
            for i in k.loop(1 if whole else views["blocks"]):
                here = views if whole else views | self._block_in_turn(k, views, i, from_last)
                for call in group:
                    self._call(k, call, here)
            from_last ^= not whole

    def _block_in_turn(self, k: Code, views: Views, i: Num, from_last: bool) -> Views:
        b = views["blocks"] - 1 - i if from_last else i
        return self._block(k, views, b) | {"before": i}

    def _mean(self, k: Code, total: Num, views: Views) -> Num:
        """The loss of a step."""
        if self.extras.weighted:
            return total * k.convert(k.array(views["scale"])[0], F64)
        return total / k.convert(views["number"], F64)

    def _gather(self, k: Code, here: Views) -> None:
        _, at = self.places.values[self.places.graph.image]
        self.call(k, "gather", **here, target=self._number(k, at, here))

    def _block(self, k: Code, views: Views, b: Num) -> Views:
        """What is of block `b`."""
        begin = b * k.lanes
        found = {"block": Num(k, k.array(views["all_blocks"]).at(b * self.places.block).pointer), "begin": begin}
        if "number" in views:
            found["valid"] = _least(k, views["number"] - begin, k.integer(k.lanes))
            found["order"] = Num(k, k.array(views["batch_order"], I64).at(begin).pointer)
        return found

    def _declare(self, call: Call) -> None:
        """Writes the function of a call, once for all calls of the same sizes."""
        key = (call.write, call.sizes)
        if key not in self._names:
            self._names[key] = f"{call.write.__name__}{len(self._names)}"
            arguments = " ".join([*(name for name, _ in call.at), *call.numbers])
            self.function(self._names[key], arguments, lambda k: call.write(k, *call.sizes))

    def _call(self, k: Code, call: Call, views: Views) -> None:
        places = {name: self._number(k, at, views) for name, at in call.at}
        self.call(k, self._names[call.write, call.sizes], **(views | places))

    def _place(self, k: Code, at: At, views: Views) -> Array:
        return k.array(views[at.memory]).at(at.offset).of(k.floats)

    def _number(self, k: Code, at: At, views: Views) -> Num:
        return Num(k, self._place(k, at, views).pointer)


def _memories(places: Places, k: Code) -> Views:
    blocks = Num(k, k.array(k.memory).at(places.shared).pointer)
    return {"params": k.params, "shared": k.memory, "all_blocks": blocks, "block": blocks}


def gather(k: Code, maps: Maps) -> None:
    """Arguments: images, order, valid, target. The images that `order` names, turned: one vector a pixel.

    Lanes beyond `valid` have the first image's pixels, which count nowhere.
    """
    images, order, target = k.array(k.images), k.array(k.order, I64), k.vectors(k.target)
    size = maps.channels * maps.places
    sources = []
    for lane in range(k.lanes):
        which = k.where(k.valid > lane, k.integer(lane), k.integer(0))
        sources.append(images.at(order[which] * size))
    for c in k.loop(maps.channels):
        for y in k.loop(maps.height):
            row = target.at(maps.index(c, y, 0))
            _gather_row(k, [source.at((c * maps.height + y) * maps.width) for source in sources], row, maps.width)


def _gather_row(k: Code, sources: list[Array], row: Array, width: int) -> None:
    """By squares of lanes; the last of them may overlap the one before."""
    lanes = k.lanes
    if width < lanes:
        scalars = row.of(F32)
        for lane, source in enumerate(sources):
            for x in k.loop(width):
                scalars[x * lanes + lane] = source[x]
        return
    for x in k.loop(width // lanes * lanes, 0, lanes):
        _gather_square(k, sources, row, x)
    if width % lanes:
        _gather_square(k, sources, row, k.integer(width - lanes))


def _gather_square(k: Code, sources: list[Array], row: Array, x: Num) -> None:
    for i, vector in enumerate(linear.transposed(k, [source.unaligned(x) for source in sources])):
        row[x + i] = vector


def labels_in(k: Code) -> None:
    """Arguments: labels, order, valid, target."""
    target, labels, order = k.array(k.target, I32), k.array(k.labels, I64), k.array(k.order, I64)
    for lane in k.loop(k.valid):
        target[lane] = k.convert(labels[order[lane]], I32)


def _least(k: Code, a: Num, b: Num) -> Num:
    return k.where(a < b, a, b)
