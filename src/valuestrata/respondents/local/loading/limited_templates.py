"""Chat templates that must end: Jinja with limits on steps and on the size of texts.

A template is a program from the model's folder. The sandbox in which transformers runs it bounds neither loops nor memory.
The limits count what the template does, so it stops at the same place on every machine. They are thousands of times what
the templates of real models need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Passes of loops, calls of functions, macros and filters, operations, and pieces of text.
MOST_STEPS = 1_000_000
# Elements of collections that operations go through.
MOST_ELEMENTS = 1_000_000
# Characters of one text, and of all that are read or written; bits of a number; width of a format.
MOST_SIZE = 50_000_000
MOST_CHARACTERS = 500_000_000
_MOST_BITS = 10_000
_WIDEST = 10_000
_COUNTED = "_counted"
_JOINED = "_joined"
_READ = "_read"
# Functions whose result may be as long as the product of their arguments.
_MULTIPLYING = ("replace", "do_replace", "join", "do_join", "sync_do_join", "do_indent", "translate", "expandtabs", "do_wordwrap", "tojson")
# Functions and operators that take a width, as a number or (the first four) within a text.
_IN_TEXT = ("%", "do_format", "format", "format_map")
_WIDE = (*_IN_TEXT, "do_center", "center", "ljust", "rjust", "zfill", "do_batch", "do_slice", "sync_do_slice")


class TemplateLimitError(TemplateError):
    """A template exceeded a limit."""


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """An environment whose templates count what they do since `restart`."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings, finalize=self._checked)
        self.restart()

    @classmethod
    def like(cls, other: Any) -> LimitedEnvironment:
        """Return an environment with the settings, extensions, filters and globals of another one."""
        extensions = [type(extension) for extension in other.extensions.values()]
        made = cls(trim_blocks=other.trim_blocks, lstrip_blocks=other.lstrip_blocks, extensions=extensions)
        made.filters = {name: made._limited(function) for name, function in other.filters.items()}
        made.filters |= {_COUNTED: made._passes, _JOINED: made._joined, _READ: made._checked}
        made.tests = {name: made._limited(test) for name, test in other.tests.items()}
        made.globals.update(other.globals)
        # It writes as many paragraphs as it is asked for, and no chat needs one.
        made.globals.pop("lipsum", None)
        return made

    def restart(self) -> None:
        """Begin to count; called before each rendering."""
        self._steps = self._elements = self._characters = 0

    def concat(self, pieces: Iterable[str]) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Join what a template, macro or block wrote."""
        made: list[str] = []
        size = 0
        for piece in pieces:
            self._step()
            size += len(piece)
            _check_size(size)
            made.append(piece)
        return self._checked("".join(made))

    def call(self, context: Any, obj: Any, *args: Any, **settings: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Call a function, a macro or a method."""
        self._step()
        if isinstance(obj, LoopContext) and args:
            args = (self._passes(args[0]), *args[1:])
        # The sandbox wraps `format`.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        self._check_growth(getattr(obj, "__name__", ""), [*([owner] if isinstance(owner, str) else []), *args, *settings.values()])
        return self._checked(super().call(context, obj, *args, **settings))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute `*`, `**`, `+` and `%`."""
        self._step()
        self._check_operation(operator, left, right)
        return self._checked(super().call_binop(context, operator, left, right))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Let loops count their passes, and `~`, comparisons and slices the size of their values."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered(loop.iter, _COUNTED)
        for compared in [*tree.find_all(nodes.Compare), *tree.find_all(nodes.Operand)]:
            compared.expr = _filtered(compared.expr, _READ)
        _wrap_operators(tree)
        return tree

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise TemplateLimitError(f"it does not end within {MOST_STEPS:,} steps")

    def _checked(self, value: Any) -> Any:
        """Return a value that is read or was computed; its size, and that of all so far, is within the limits."""
        size = _check_size(self._size_of(value))
        if isinstance(value, str):
            self._characters += size
            if self._characters > MOST_CHARACTERS:
                raise TemplateLimitError(f"it goes through more than {MOST_CHARACTERS:,} characters")
        return value

    def _size_of(self, value: Any, known: dict[int, int] | None = None) -> int:
        """Return the characters of a text, or of everything in a collection, however often it is in there."""
        if isinstance(value, str | bytes | range):
            return len(value)
        if isinstance(value, int):
            _check_bits(value.bit_length())
        if not isinstance(value, list | tuple | dict | set):
            return 1
        known = {} if known is None else known
        if id(value) not in known:
            inner: Any = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            self._go_through(len(inner))
            known[id(value)] = 1 + sum(self._size_of(one, known) for one in inner)
        return known[id(value)]

    def _go_through(self, elements: int) -> None:
        self._elements += elements
        if self._elements > MOST_ELEMENTS:
            raise TemplateLimitError(f"it goes through more than {MOST_ELEMENTS:,} elements")

    def _check_operation(self, operator: str, left: Any, right: Any) -> None:
        """Check the size of the result of an operation."""
        whole = [one for one in (left, right) if isinstance(one, int)]
        if operator == "%":
            if isinstance(left, str):
                self._check_growth("%", [left, *(right if isinstance(right, tuple) else [right])])
        elif len(whole) == 2 and operator in ("*", "**"):
            _check_bits(left.bit_length() * max(0, right) if operator == "**" else left.bit_length() + right.bit_length())
        elif operator == "*":
            _check_size(max(self._size_of(left), self._size_of(right)) * max([1, *whole]))
        elif operator == "+":
            _check_size(self._size_of(left) + self._size_of(right))

    def _check_growth(self, name: str, values: list[Any]) -> None:
        """Refuse arguments from which a function could make a text that is far longer than they are."""
        for value in values:
            if isinstance(value, range):
                self._go_through(len(value))
            self._checked(value)
        texts = [value for value in values if isinstance(value, str)]
        numbers = [abs(value) for value in values if isinstance(value, int)]
        if name in _WIDE:
            # A width may be in the format itself: `%9999999d`, `{:>9999999}`.
            digits = "".join(letter if letter in "0123456789" else " " for letter in texts[0]).split() if texts and name in _IN_TEXT else []
            # An operand of `%` is a width only where the format has a `*`.
            widths = [] if name == "%" and "*" not in texts[0] else numbers
            if max([0, *widths]) > _WIDEST or any(len(number) > 5 or int(number) > _WIDEST for number in digits):
                raise TemplateLimitError(f"it makes a text wider than {_WIDEST:,} characters")
        if name in _MULTIPLYING:
            sizes = sorted(self._size_of(value) for value in values if isinstance(value, str | list | tuple | dict))
            _check_size((sizes[-1] + 1 if sizes else 1) * max([1, *numbers, *sizes[:-1]]))

    def _passes(self, values: Any) -> Any:
        """Return the values of a loop; each pass is a step. Where the length is known, the loop keeps it."""
        return _CountedValues(values, self._step) if hasattr(values, "__len__") else self._each(values)

    def _each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._step()
            yield value

    def _joined(self, values: list[Any]) -> str:
        """Compute `~`."""
        self._step()
        _check_size(self._size_of(values))
        return self._checked("".join(map(str, values)))

    def _limited(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that counts, with arguments and a result of bounded size; Jinja's marks on it stay."""

        def limited(*args: Any, **settings: Any) -> Any:
            self._step()
            self._check_growth(getattr(function, "__name__", ""), [*args, *settings.values()])
            made = function(*args, **settings)
            return self._each(made) if isinstance(made, Iterator) else self._checked(made)

        limited.__dict__.update(getattr(function, "__dict__", {}))
        return limited


class _CountedValues:
    """A collection whose iteration counts steps."""

    def __init__(self, values: Any, step: Callable[[], None]) -> None:
        self._values = values
        self._step = step

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            self._step()
            yield value


def _filtered(node: Any, name: str) -> Any:
    return nodes.Filter(node, name, [], [], None, None).set_lineno(node.lineno)


def _wrap_operators(node: nodes.Node) -> None:
    """Replace each `a ~ b` below a node by a filter of [a, b], and each slice by a filter of itself, from the inside out."""

    def wrapped(value: Any) -> Any:
        if isinstance(value, list):
            return [wrapped(one) for one in value]
        if isinstance(value, nodes.Node):
            _wrap_operators(value)
        if isinstance(value, nodes.Concat):
            return _filtered(nodes.List(value.nodes).set_lineno(value.lineno), _JOINED)
        if isinstance(value, nodes.Getitem) and isinstance(value.arg, nodes.Slice):
            return _filtered(value, _READ)
        return value

    for field, value in node.iter_fields():
        setattr(node, field, wrapped(value))


def _check_size(size: int) -> int:
    if size > MOST_SIZE:
        raise TemplateLimitError(f"it makes a text of more than {MOST_SIZE:,} characters")
    return size


def _check_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise TemplateLimitError(f"it computes a number of more than {_MOST_BITS:,} bits")
