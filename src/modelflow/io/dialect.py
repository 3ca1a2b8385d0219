"""The card's dialect of JSON: sizes that are computed, a trailing comma. Evaluated by steps, of which there are few.

evaluate("{'cov_features': [int(16 * 1.5**i) for i in range(3)]}")
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from modelflow.io.validation import unique_keys
from modelflow.text import short

MAX_LENGTH = 1 << 16  # characters of a text
MAX_EXPRESSION_STEPS = 10_000
MAX_COMPUTED = 1 << 64  # in size, of any number that an expression makes


def evaluate(text: str) -> Any:
    """The value of a text in the card's dialect. Raises `SyntaxError`, or `ValueError` for what a spec may not hold."""
    if len(text) > MAX_LENGTH:
        raise SyntaxError("too long for an expression")
    try:
        return _Dialect().value(ast.parse(f"({text})", mode="eval").body, {"true": True, "false": False, "null": None})
    except (ArithmeticError, TypeError) as error:
        raise ValueError(str(error)) from None


class _Dialect:
    """The values of literals, lists, objects, arithmetic, `int`, `range`, `[… for i in …]`; nothing else is known."""

    def __init__(self) -> None:
        self._steps = 0

    def value(self, node: ast.expr, names: Mapping[str, object]) -> Any:
        """The value of `node`; `names` are those that it may use."""
        self._steps += 1
        if self._steps > MAX_EXPRESSION_STEPS:
            raise ValueError(f"line {node.lineno}: more than {MAX_EXPRESSION_STEPS:,} steps")
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.List(elts=items):
                return [self.value(item, names) for item in items]
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return unique_keys([(self.value(key, names), self.value(value, names)) for key, value in pairs if key])
            case _:
                return self._computed(node, names)

    def _computed(self, node: ast.expr, names: Mapping[str, object]) -> Any:
        match node:
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in ARITHMETIC:
                return _number(
                    ARITHMETIC[type(sign)](_number(self.value(left, names)), _number(self.value(right, names)))
                )
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_number(self.value(operand, names))
            case ast.Call(func=ast.Name(id="int"), args=[argument], keywords=[]):
                return int(_number(self.value(argument, names)))
            case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]):
                return self._counted(range(*(self.value(argument, names) for argument in arguments)))
            case ast.ListComp(elt=each, generators=[ast.comprehension(target=ast.Name(id=name), iter=source, ifs=[])]):
                return [self.value(each, {**names, name: item}) for item in self.value(source, names)]
        known = "numbers, lists, arithmetic, int(…), range(…), [… for i in …]"
        raise ValueError(f"line {node.lineno}: {short(ast.unparse(node))}: expected {known}")

    def _counted(self, numbers: range) -> list[int]:
        self._steps += len(numbers)
        if self._steps > MAX_EXPRESSION_STEPS:
            raise ValueError(f"{numbers}: more than {MAX_EXPRESSION_STEPS:,} steps")
        return list(numbers)


ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _number(value: object) -> int | float:
    if not isinstance(value, int | float):
        raise ValueError(f"{short(value)}: expected a number to compute with")
    if isinstance(value, int) and abs(value) > MAX_COMPUTED:  # products of products would grow without bounds
        raise ValueError(f"{short(value)}: expected a number up to 2**64 to compute with")
    return value
