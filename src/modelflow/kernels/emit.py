"""Writing LLVM code from Python as if it were the mathematics: numbers with operators, arrays of vectors, loops.

A kernel is written once, in Python, and runs twice: while it is written, `range` unrolls and integers are sizes known
to the compiler; what stays a `Num` is computed at run time.

    for i in k.loop(n):                       # a loop at run time
        total.set(k.fma(w.broadcast(i), x[i], total.get()))

Values: `Num` holds an integer (i64), a float (f32, f64), a vector of `lanes` of them, or a mask. Operators work on two
of the same type; a Python number beside one takes its type.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()
PTR = ir.PointerType()
READ, SECOND_CACHE, DATA = 0, 2, 1  # of LLVM's prefetch

Operand = Any  # a Num, or a Python number that takes the type of the Num beside it


class _Anew(ir.instructions.LoadInstr):  # type: ignore[misc]
    """A load that stays where it stands; llvmlite has none."""

    def descr(self, buf: list[str]) -> None:
        super().descr(buf)
        buf[-1] = buf[-1].replace("load ", "load volatile ", 1)


class Num:
    """A value of the program being written."""

    def __init__(self, code: "Code", value: ir.Value) -> None:
        self.code = code
        self.value = value

    @property
    def type(self) -> ir.Type:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return isinstance(scalar_type(self.type), (ir.FloatType, ir.DoubleType))

    def _with(self, other: Operand, on_ints: str, on_floats: str) -> "Num":
        other = self.code.like(self, other)
        method = getattr(self.code.builder, on_floats if self.is_float else on_ints)
        return Num(self.code, method(self.value, other.value))

    def __add__(self, other: Operand) -> "Num":
        return self if isinstance(other, int) and other == 0 and not self.is_float else self._with(other, "add", "fadd")

    def __sub__(self, other: Operand) -> "Num":
        return self._with(other, "sub", "fsub")

    def __mul__(self, other: Operand) -> "Num":
        return self if isinstance(other, int) and other == 1 and not self.is_float else self._with(other, "mul", "fmul")

    def __truediv__(self, other: Operand) -> "Num":
        return self._with(other, "", "fdiv")

    def __floordiv__(self, other: Operand) -> "Num":
        return self._with(other, "udiv", "")

    def __rsub__(self, other: Operand) -> "Num":
        return self.code.like(self, other) - self

    __radd__, __rmul__ = __add__, __mul__

    def __and__(self, other: Operand) -> "Num":
        return self._with(other, "and_", "")

    def __or__(self, other: Operand) -> "Num":
        return self._with(other, "or_", "")

    def __xor__(self, other: Operand) -> "Num":
        return self._with(other, "xor", "")

    def __lshift__(self, other: Operand) -> "Num":
        return self._with(other, "shl", "")

    def __rshift__(self, other: Operand) -> "Num":
        return self._with(other, "lshr", "")

    def _compare(self, sign: str, other: Operand) -> "Num":
        """False where either is NaN; integers compare without sign."""
        builder = self.code.builder
        compare = builder.fcmp_ordered if self.is_float else builder.icmp_unsigned
        return Num(self.code, compare(sign, self.value, self.code.like(self, other).value))

    def __lt__(self, other: Operand) -> "Num":
        return self._compare("<", other)

    def __gt__(self, other: Operand) -> "Num":
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> "Num":
        return self._compare(">=", other)

    def equals(self, other: Operand) -> "Num":
        return self._compare("==", other)

    def differs(self, other: Operand) -> "Num":
        return self._compare("!=", other)

    def is_number(self) -> "Num":
        """Where it is not NaN."""
        return Num(self.code, self.code.builder.fcmp_ordered("ord", self.value, self.value))


class Var:
    """A value that changes: the compiler keeps it in a register."""

    def __init__(self, code: "Code", initial: Num) -> None:
        self.code = code
        with code.builder.goto_entry_block():
            self.place = code.builder.alloca(initial.type)
        self.type = initial.type
        self.set(initial)

    def get(self) -> Num:
        return Num(self.code, self.code.builder.load(self.place, typ=self.type))

    def set(self, value: Num) -> None:
        self.code.builder.store(value.value, self.place)


class Array:
    """Memory seen as elements of one type; `at(i)` is the array that begins i elements later."""

    def __init__(self, code: "Code", pointer: ir.Value, element: ir.Type) -> None:
        self.code = code
        self.pointer = pointer
        self.element = element

    def at(self, index: Operand) -> "Array":
        if isinstance(index, int) and index == 0:
            return self
        return Array(self.code, self._address(index), self.element)

    def __getitem__(self, index: Operand) -> Num:
        load = self.code.builder.load(self._address(index), typ=self.element, align=alignment(self.element))
        return Num(self.code, load)

    def anew(self, index: Operand) -> Num:
        """As `[index]`, but never kept for later: the compiler would keep more than there are registers."""
        load = _Anew(self.code.builder.block, self._address(index), typ=self.element)
        load.align = alignment(self.element)
        self.code.builder._insert(load)
        return Num(self.code, load)

    def __setitem__(self, index: Operand, value: Num) -> None:
        self.code.builder.store(value.value, self._address(index), align=alignment(self.element))

    def broadcast(self, index: Operand) -> Num:
        """The scalar at `index` in every lane."""
        return self.code.splat(self[index])

    def unaligned(self, index: Operand, lanes: int | None = None) -> Num:
        """A vector of the scalars from `index` on."""
        vector = ir.VectorType(self.element, lanes or self.code.lanes)
        return Num(self.code, self.code.builder.load(self._address(index), typ=vector, align=4))

    def put_unaligned(self, index: Operand, value: Num) -> None:
        self.code.builder.store(value.value, self._address(index), align=4)

    def atomic(self) -> Num:
        """The first element, with all that other threads wrote before they set it."""
        load = self.code.builder.load_atomic(self.pointer, "acquire", alignment(self.element), typ=self.element)
        return Num(self.code, load)

    def set_atomic(self, value: Num) -> None:
        """By an exchange: llvmlite's atomic store does not take opaque pointers."""
        self.code.builder.atomic_rmw("xchg", self.pointer, value.value, "acq_rel")

    def add_atomic(self, value: int) -> Num:
        """Adds to the first element, and gives what it was."""
        number = self.code.integer(value)
        return Num(self.code, self.code.builder.atomic_rmw("add", self.pointer, number.value, "acq_rel"))

    def of(self, element: ir.Type) -> "Array":
        """The same memory seen as other elements."""
        return Array(self.code, self.pointer, element)

    def _address(self, index: Operand) -> ir.Value:
        number = self.code.integer(index)
        return self.code.builder.gep(self.pointer, [number.value], inbounds=True, source_etype=self.element)


class Code:
    """The function being written: its arguments by name, and what can be written into it."""

    def __init__(
        self, module: ir.Module, name: str, arguments: dict[str, ir.Type], result: ir.Type, lanes: int
    ) -> None:
        self.module = module
        self.lanes = lanes
        self.function = ir.Function(module, ir.FunctionType(result, list(arguments.values())), name)
        self.function.attributes.add("noinline")
        self.function.attributes.add("nounwind")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        body = self.function.append_basic_block("body")
        self.builder.branch(body)
        self.builder.position_at_end(body)
        self.arguments = {key: Num(self, self.function.args[i]) for i, key in enumerate(arguments)}
        self.floats = ir.VectorType(F32, lanes)
        self.ints = ir.VectorType(I32, lanes)

    def __getattr__(self, name: str) -> Num:
        try:
            found: Num = self.__dict__["arguments"][name]
            return found
        except KeyError:
            raise AttributeError(name) from None

    # values

    def integer(self, value: Operand) -> Num:
        return value if isinstance(value, Num) else Num(self, ir.Constant(I64, value))

    def constant(self, value: float, kind: ir.Type) -> Num:
        if isinstance(kind, ir.VectorType):
            return Num(self, ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count))
        return Num(self, ir.Constant(kind, value))

    def like(self, model: Num, value: Operand) -> Num:
        return value if isinstance(value, Num) else self.constant(value, model.type)

    def vector(self, value: float) -> Num:
        return self.constant(value, self.floats)

    def lane_numbers(self) -> Num:
        return Num(self, ir.Constant(self.ints, list(range(self.lanes))))

    def splat(self, scalar: Num) -> Num:
        kind = ir.VectorType(scalar.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), scalar.value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return Num(self, self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros))

    def var(self, initial: Num) -> Var:
        return Var(self, initial)

    def zeros(self, keys: list[object]) -> dict[Any, Var]:
        """One vector accumulator a key, each at zero."""
        return {key: Var(self, self.vector(0.0)) for key in keys}

    # arithmetic

    def fma(self, a: Num, b: Num, c: Num) -> Num:
        """a * b + c, rounded once where the processor can."""
        return self._intrinsic("fmuladd", a, b, c)

    def sqrt(self, a: Num) -> Num:
        return self._intrinsic("sqrt", a)

    def where(self, mask: Num, a: Num, b: Num) -> Num:
        return Num(self, self.builder.select(mask.value, a.value, self.like(a, b).value))

    def greater_or_nan(self, a: Num, b: Num) -> Num:
        """Where a > b, or either is NaN."""
        return Num(self, self.builder.fcmp_unordered(">", a.value, b.value))

    def not_finite(self, a: Num) -> Num:
        """Whether a float is infinite or NaN: then a - a is NaN."""
        difference = self.builder.fsub(a.value, a.value)
        return Num(self, self.builder.fcmp_unordered("uno", difference, difference))

    def relu(self, a: Num) -> Num:
        """max(a, 0); NaN stays NaN."""
        return self.where(a < 0.0, self.like(a, 0.0), a)

    def total(self, a: Num) -> Num:
        """The sum over the lanes, halves first."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            moved = [i + lanes if i < lanes else i for i in range(self.lanes)]
            a = a + self.shuffle(a, a, moved)
        return Num(self, self.builder.extract_element(a.value, ir.Constant(I32, 0)))

    def totals(self, vectors: list[Num]) -> Num:
        """The sums over the lanes of as many vectors as there are lanes, in one vector."""
        fours, size = range(0, self.lanes, 4), 1
        while len(vectors) > 1:
            if size < 4:  # within each four lanes, where shuffles are cheap
                even = [f + 2 * (j % 2) + self.lanes * (j // 2) for f in fours for j in range(4)]
                odd = [at + 1 for at in even]
            else:  # then fours of lanes
                chunks = range(0, 2 * self.lanes, 8)
                even = [c + j for c in chunks for j in range(4)]
                odd = [at + 4 for at in even]
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.shuffle(a, b, even) + self.shuffle(a, b, odd) for a, b in pairs]
            size *= 2
        return vectors[0]

    def shuffle(self, a: Num, b: Num, order: list[int]) -> Num:
        mask = ir.Constant(ir.VectorType(I32, len(order)), order)
        return Num(self, self.builder.shuffle_vector(a.value, b.value, mask))

    def convert(self, a: Num, kind: ir.Type) -> Num:
        """To another type with as many lanes: integers by cutting or filling with zeros, floats by rounding."""
        scalar = scalar_type(kind)
        if a.is_float and not isinstance(scalar, ir.IntType):
            return Num(self, (self.builder.fpext if scalar == F64 else self.builder.fptrunc)(a.value, kind))
        if a.is_float:
            return Num(self, self.builder.fptosi(a.value, kind))
        if not isinstance(scalar, ir.IntType):
            return Num(self, self.builder.sitofp(a.value, kind))
        narrower = scalar.width < scalar_type(a.type).width
        return Num(self, (self.builder.trunc if narrower else self.builder.zext)(a.value, kind))

    def bits(self, a: Num, kind: ir.Type) -> Num:
        """The same bits seen as another type."""
        return Num(self, self.builder.bitcast(a.value, kind))

    def _intrinsic(self, name: str, *values: Num) -> Num:
        kind = values[0].type
        scalar = "f64" if scalar_type(kind) == F64 else "f32"
        suffix = f"v{kind.count}{scalar}" if isinstance(kind, ir.VectorType) else scalar
        function = self.declared(f"llvm.{name}.{suffix}", kind, [kind] * len(values))
        return Num(self, self.builder.call(function, [value.value for value in values]))

    # memory

    def array(self, pointer: Num, element: ir.Type = F32) -> Array:
        return Array(self, pointer.value, element)

    def vectors(self, pointer: Num) -> Array:
        """Memory seen as aligned vectors of floats."""
        return Array(self, pointer.value, self.floats)

    def prefetch(self, place: Array) -> None:
        """Asks for the cache line in which `place` lies, which is to be read before long."""
        numbers = [I32] * 3
        function = self.declared("llvm.prefetch.p0", ir.VoidType(), [PTR, *numbers])
        self.builder.call(function, [place.pointer, *map(ir.Constant, numbers, (READ, SECOND_CACHE, DATA))])

    # control

    def loop(self, count: Operand, start: Operand = 0, step: int = 1) -> Iterator[Num]:
        """`for i in k.loop(n)`: what the body writes runs at run time for i = start, start + step, … < n."""
        if isinstance(count, int) and isinstance(start, int) and count <= start + step:
            if count > start:
                yield self.integer(start)
            return
        builder, last, before = self.builder, self.integer(count), self.builder.block
        head, body = self.function.append_basic_block("head"), self.function.append_basic_block("loop")
        end = self.function.append_basic_block("end")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(I64)
        i.add_incoming(self.integer(start).value, before)
        builder.cbranch(builder.icmp_signed("<", i, last.value), body, end)
        builder.position_at_end(body)
        yield Num(self, i)
        i.add_incoming(builder.add(i, ir.Constant(I64, step), flags=["nsw"]), builder.block)
        builder.branch(head)
        builder.position_at_end(end)

    @contextmanager
    def when(self, condition: Num) -> Iterator[None]:
        with self.builder.if_then(condition.value):
            yield

    @contextmanager
    def repeat(self) -> Iterator[Callable[[Num], None]]:
        """What is written within runs again and again, until `leave(condition)`, which it gives, finds it true."""
        body, end = self.function.append_basic_block("repeat"), self.function.append_basic_block("end")

        def leave(condition: Num) -> None:
            on = self.function.append_basic_block("on")
            self.builder.cbranch(condition.value, end, on)
            self.builder.position_at_end(on)

        self.builder.branch(body)
        self.builder.position_at_end(body)
        yield leave
        self.builder.branch(body)
        self.builder.position_at_end(end)

    def external(self, name: str, result: ir.Type) -> ir.Function:
        """A function without arguments of the system's library."""
        return self.declared(name, result, [])

    def declared(self, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
        """A function of LLVM or of the C library, by its name."""
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, arguments), name)

    def call(self, function: ir.Function, *values: Num) -> Num:
        return Num(self, self.builder.call(function, [value.value for value in values]))

    def give(self, value: Num | None = None) -> None:
        """The function returns."""
        if value is None:
            self.builder.ret_void()
        else:
            self.builder.ret(value.value)


def scalar_type(kind: ir.Type) -> ir.Type:
    """That of a vector's elements; of anything else the type itself."""
    return kind.element if isinstance(kind, ir.VectorType) else kind


def alignment(kind: ir.Type) -> int:
    """Bytes: that of the whole vector."""
    scalar = scalar_type(kind)
    width = {F32: 4, F64: 8}[scalar] if not isinstance(scalar, ir.IntType) else scalar.width // 8
    return width * (kind.count if isinstance(kind, ir.VectorType) else 1)
