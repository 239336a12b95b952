"""Which rows of a table satisfy an expression such as ``activation == 'tanh' and penalty_rate > 0``.

The expression is read by Python's own parser and then walked over: columns, constants, comparisons, ``and``,
``or``, ``not``, ``in`` and the four operations of arithmetic are all there is. Nothing else has a meaning here, so
that an expression can run no code and touch no file, wherever it comes from.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dynaprobe.core.errors import SettingsError

_LONGEST = 2000
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


def matching(table: pd.DataFrame, expression: str) -> pd.DataFrame:
    """The rows of a table for which an expression is true.

    A missing value satisfies no comparison; ``x == None`` and ``x != None`` ask for missing values.

    Args:
        table: a column per setting or measure. A dotted name may be shortened to its last parts.
        expression: the condition.

    Raises:
        SettingsError: when it cannot be read, or names no column, or compares text with numbers.
    """
    if len(expression) > _LONGEST:
        raise _refused(f"{len(expression)} characters", f"be shorter than {_LONGEST} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(expression, "be an expression that can be read") from None
    try:
        return table[_Walk(table, expression).condition(tree)]
    except RecursionError:
        raise _refused(expression, "be less deeply nested") from None


def column_named(columns: Sequence[str], name: str, *, option: str = "--where") -> str:
    """The column that a name means: its own, or the only one that ends with it after a dot.

    Args:
        columns: all there are.
        name: the name.
        option: where it was given, for messages.

    Raises:
        SettingsError: when there is none, or more than one.
    """
    if name in columns:
        return name
    ending = [column for column in columns if column.endswith(f".{name}")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        remedy = f"Say which: {' or '.join(ending)}"
        raise SettingsError(option, rule="name one column", received=name, remedy=remedy)
    shortened = {column.rsplit(".", 1)[-1]: column for column in columns}
    close = difflib.get_close_matches(name, [*columns, *shortened], n=1)
    remedy = f"Did you mean {close[0]}" if close else f"There are {', '.join(sorted(columns))}"
    raise SettingsError(option, rule="name columns of the table", received=name, remedy=remedy)


class _Walk:
    def __init__(self, table: pd.DataFrame, expression: str) -> None:
        self._table, self._expression = table, expression

    def condition(self, tree: ast.expr) -> np.ndarray:
        """True or false for every row."""
        if isinstance(tree, ast.BoolOp):
            parts = [self.condition(value) for value in tree.values]
            joined = np.logical_and if isinstance(tree.op, ast.And) else np.logical_or
            return np.asarray(joined.reduce(parts))
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
            return ~self.condition(tree.operand)
        if isinstance(tree, ast.Compare):
            sides = [tree.left, *tree.comparators]
            parts = [self._compare(a, op, b) for a, op, b in zip(sides, tree.ops, sides[1:], strict=False)]
            return np.asarray(np.logical_and.reduce(parts))
        if isinstance(tree, ast.Constant) and isinstance(tree.value, bool):
            return np.full(len(self._table), tree.value)
        value = self._value(tree)
        if isinstance(value, pd.Series) and value.map(lambda one: isinstance(one, bool | np.bool_)).all():
            return value.to_numpy(dtype=bool)
        raise self._no("be a condition, true or false for every row", tree)

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> np.ndarray:
        first = self._value(left)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple):
                raise self._no("have a list after in, such as ['tanh', 'relu']", right)
            among = [self._value(one) for one in right.elts]
            if any(isinstance(one, pd.Series) for one in among):
                raise self._no("have constants in a list", right)
            found = self._column(first).isin(among).to_numpy()
            return found if isinstance(op, ast.In) else ~found
        second = self._value(right)
        if type(op) not in _COMPARISONS and not isinstance(op, ast.Is | ast.IsNot):
            raise self._no("compare with ==, !=, <, <=, >, >= or in", right)
        if second is None or isinstance(op, ast.Is | ast.IsNot):
            if second is not None or not isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
                raise self._no("ask for missing values by == None or != None", right)
            missing = self._column(first).isna().to_numpy()
            return missing if isinstance(op, ast.Is | ast.Eq) else ~missing
        one, other = self._column(first), self._column(second)
        answer = (one.notna() & other.notna()).to_numpy(dtype=bool, copy=True)
        try:
            answer[answer] = _COMPARISONS[type(op)](one[answer], other[answer]).to_numpy(dtype=bool)
        except TypeError:
            raise self._no("compare numbers with numbers and text with text", left) from None
        return answer

    def _column(self, value: Any) -> pd.Series:
        return value if isinstance(value, pd.Series) else pd.Series([value] * len(self._table), self._table.index)

    def _value(self, tree: ast.expr) -> Any:
        """A column, or a constant."""
        if isinstance(tree, ast.Constant) and (tree.value is None or isinstance(tree.value, str | int | float)):
            return tree.value
        if isinstance(tree, ast.Name | ast.Attribute):
            return self._table[column_named([str(name) for name in self._table], self._name(tree))]
        try:
            if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATIONS:
                return _OPERATIONS[type(tree.op)](self._number(tree.left), self._number(tree.right))
            if isinstance(tree, ast.UnaryOp) and type(tree.op) in _SIGNS:
                return _SIGNS[type(tree.op)](self._number(tree.operand))
        except (TypeError, ArithmeticError):
            raise self._no("calculate with numbers", tree) from None
        raise self._no("hold columns, constants, comparisons, and, or, not, in, + - * / alone", tree)

    def _number(self, tree: ast.expr) -> Any:
        value = self._value(tree)
        if not (isinstance(value, int | float) or (isinstance(value, pd.Series) and value.dtype.kind in "biuf")):
            raise self._no("calculate with numbers", tree)
        return value

    def _name(self, tree: ast.expr) -> str:
        if isinstance(tree, ast.Attribute):
            return f"{self._name(tree.value)}.{tree.attr}"
        if isinstance(tree, ast.Name):
            return tree.id
        raise self._no("hold columns, constants, comparisons, and, or, not, in, + - * / alone", tree)

    def _no(self, rule: str, tree: ast.expr) -> SettingsError:
        return _refused(ast.get_source_segment(self._expression.strip(), tree) or self._expression, rule)


def _refused(received: str, rule: str) -> SettingsError:
    example = "For example --where \"activation == 'tanh' and penalty_rate > 0\""
    return SettingsError("--where", rule=rule, received=received, remedy=example)


def sorted_by(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows by one column, rising; falling with a minus before the name. Missing values come last.

    Raises:
        SettingsError: when the name means no column.
    """
    column = column_named([str(one) for one in table], name.removeprefix("-"), option="--sort")
    return table.sort_values(column, ascending=not name.startswith("-"), kind="stable", na_position="last")
