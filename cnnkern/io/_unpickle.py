# SPDX-License-Identifier: BSD-3-Clause
"""An interpreter of the part of pickle that PyTorch's checkpoints of plain tensors use. It imports and calls nothing.

A global is a name and stays one; of the few on the list a call makes a tuple, a dictionary or a `TensorRecord`.
Everything else is refused. The bytes come from strangers: counts and depths are bounded, and lengths are compared with
the bytes that are there before anything is made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_PICKLE = 16 << 20
_MAX_STACK = 100_000
_MAX_MARKS = 1_000
_MAX_CONTAINERS = 200_000
_MAX_STEPS = 1_000_000

ORDERED_DICT = "collections.OrderedDict"
_SIZE = "torch.Size"
_PARAMETER = "torch._utils._rebuild_parameter"
_TENSORS = {"torch._utils._rebuild_tensor": 4, "torch._utils._rebuild_tensor_v2": 6}


class PickleError(Exception):
    """The bytes are no pickle of the kind that is read; the message is the rule."""


class Global(NamedTuple):
    """A name that the pickle refers to, as module.name. Nothing is imported."""

    name: str


class StorageRecord(NamedTuple):
    """A stretch of numbers elsewhere in the file."""

    kind: str  # torch's class, such as "FloatStorage"
    key: str
    numel: int


class TensorRecord(NamedTuple):
    """A view of a storage. Nothing about it has been checked but the types."""

    storage: StorageRecord
    offset: Any
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]


_MARK = object()


class Unpickler:
    """Runs one pickle in `data`, from `position`; afterwards `position` is the byte behind it."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0

    def load(self) -> Any:
        """The object.

        Raises:
            PickleError: anything unexpected.
        """
        for _ in range(_MAX_STEPS):
            opcode = self._take(1)[0]
            if opcode == _STOP:
                value = self._pop()
                if self.stack or self.marks:
                    raise PickleError("the pickle leaves objects behind")
                return value
            action = _ACTIONS.get(opcode)
            if action is None:
                raise PickleError(f"pickle instruction {opcode:#04x} does not belong into a checkpoint of tensors")
            action(self)
            if len(self.stack) > _MAX_STACK:
                raise PickleError(f"the pickle stacks more than {_MAX_STACK} objects")
        raise PickleError(f"the pickle has more than {_MAX_STEPS} instructions")

    # Bytes and stack

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise PickleError("the pickle is truncated")
        part = self.data[self.position : end]
        self.position = end
        return part

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 1_000)
        if end < 0:
            raise PickleError("the pickle is truncated, or a name in it endless")
        line = self._text(end - self.position)
        self.position += 1
        return line

    def _text(self, count: int) -> str:
        try:
            return self._take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise PickleError("a text in the pickle is no UTF-8") from error

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _container(self, value: Any) -> None:
        self.containers += 1
        if self.containers > _MAX_CONTAINERS:
            raise PickleError(f"the pickle has more than {_MAX_CONTAINERS} containers")
        self.stack.append(value)

    def _top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("the pickle takes what is not there")
        return self.stack[-1]

    def _pop(self) -> Any:
        value = self._top()
        self.stack.pop()
        return value

    def _mark(self) -> None:
        if len(self.marks) >= _MAX_MARKS:
            raise PickleError(f"the pickle is nested more than {_MAX_MARKS} deep")
        self.marks.append(len(self.stack))

    def _since_mark(self) -> list[Any]:
        if not self.marks:
            raise PickleError("the pickle takes what is not there")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    # Instructions

    def _protocol(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise PickleError(f"pickle protocol {version} is unknown")

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._container(tuple(reversed(items)))

    def _put(self, index: int) -> None:
        if len(self.memo) >= _MAX_STEPS:
            raise PickleError("the pickle remembers too much")
        self.memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self.memo:
            raise PickleError("the pickle refers to what it has not made")
        self._push(self.memo[index])

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise PickleError("the pickle appends to something that is no list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict or len(items) % 2:
            raise PickleError("the pickle sets items of something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _set(target, key, value)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _global(self) -> None:
        module, name = self._line(), self._line()
        self._push(_allowed(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise PickleError("a global of the pickle has no name")
        self._push(_allowed(f"{module}.{name}"))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise PickleError("the pickle calls something that is no function")
        self._container(_call(function.name, arguments))

    def _build(self) -> None:
        """The attributes of an ordered dict: torch keeps the versions of its modules there. They are not needed."""
        state = self._pop()
        if type(state) is not dict or type(self._top()) is not dict:
            raise PickleError("the pickle sets attributes of something that is no dictionary")

    def _persistent(self) -> None:
        identity = self._pop()
        if (
            type(identity) is not tuple
            or len(identity) not in (5, 6)
            or identity[0] != "storage"
            or type(identity[1]) is not Global
            or type(identity[2]) is not str
            or type(identity[4]) is not int
        ):
            raise PickleError("a storage of the pickle is not described as PyTorch does it")
        if identity[5:] not in ((), (None,)):
            raise PickleError("views of storages as PyTorch 0.1 wrote them are not read")
        self._container(StorageRecord(identity[1].name.rpartition(".")[2], identity[2], identity[4]))


def _set(target: dict[Any, Any], key: Any, value: Any) -> None:
    # Short integers and texts only: others could be made to collide, or to take long to hash.
    if type(key) is not str and not (type(key) is int and abs(key) < 2**31):
        raise PickleError(f"a dictionary of the pickle has a {type(key).__name__} as key")
    target[key] = value


def _allowed(name: str) -> Global:
    module, _, last = name.rpartition(".")
    storage = module in ("torch", "torch.storage") and last.endswith("Storage") and last.isidentifier()
    if not (storage or name in (ORDERED_DICT, _SIZE, _PARAMETER) or name in _TENSORS):
        raise PickleError(
            f"it wants to call {name[:100]!r}: only tensors, dictionaries, lists and numbers are read, "
            "and nothing is executed. Save the weights alone: torch.save(model.state_dict(), path)"
        )
    return Global(name)


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    """What a global of the list gives for its arguments."""
    if name == ORDERED_DICT:
        return _ordered_dict(arguments)
    if name == _SIZE and len(arguments) == 1 and type(arguments[0]) in (list, tuple):
        return tuple(arguments[0])
    if name == _PARAMETER and len(arguments) == 3 and type(arguments[0]) is TensorRecord:
        return arguments[0]
    count = _TENSORS.get(name, -1)
    if len(arguments) in (count, count + 1) and count > 0:
        storage, offset, shape, strides = arguments[:4]
        if len(arguments) > 6 and arguments[6] not in (None, {}):
            raise PickleError("a tensor has its sign or its conjugation in its description; that is not read")
        if type(storage) is StorageRecord and type(shape) is tuple and type(strides) is tuple:
            return TensorRecord(storage, offset, shape, strides)
    raise PickleError(f"{name!r} is called with arguments that it does not take")


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Empty, or of a list of pairs, as Python 2 wrote it."""
    result: dict[Any, Any] = {}
    if arguments and (len(arguments) > 1 or type(arguments[0]) is not list):
        raise PickleError("an ordered dictionary of the pickle is not made of pairs")
    for pair in arguments[0] if arguments else []:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise PickleError("an ordered dictionary of the pickle is not made of pairs")
        _set(result, *pair)
    return result


_STOP = ord(".")
_ACTIONS: dict[int, Callable[[Unpickler], Any]] = {
    0x80: Unpickler._protocol,
    0x95: lambda u: u._take(8),  # FRAME: the lengths inside are checked anyway
    ord("("): Unpickler._mark,
    ord("}"): lambda u: u._container({}),
    ord("]"): lambda u: u._container([]),
    ord(")"): lambda u: u._push(()),
    ord("N"): lambda u: u._push(None),
    0x88: lambda u: u._push(True),
    0x89: lambda u: u._push(False),
    ord("K"): lambda u: u._push(u._take(1)[0]),
    ord("M"): lambda u: u._push(u._number("<H")),
    ord("J"): lambda u: u._push(u._number("<i")),
    0x8A: lambda u: u._push(int.from_bytes(u._take(u._take(1)[0]), "little", signed=True)),
    ord("G"): lambda u: u._push(u._number(">d")),
    0x8C: lambda u: u._push(u._text(u._take(1)[0])),
    ord("X"): lambda u: u._push(u._text(u._number("<I"))),
    0x8D: lambda u: u._push(u._text(u._number("<Q"))),
    ord("q"): lambda u: u._put(u._take(1)[0]),
    ord("r"): lambda u: u._put(u._number("<I")),
    0x94: lambda u: u._put(len(u.memo)),
    ord("h"): lambda u: u._get(u._take(1)[0]),
    ord("j"): lambda u: u._get(u._number("<I")),
    0x85: lambda u: u._tuple(1),
    0x86: lambda u: u._tuple(2),
    0x87: lambda u: u._tuple(3),
    ord("t"): lambda u: u._container(tuple(u._since_mark())),
    ord("l"): lambda u: u._container(u._since_mark()),
    ord("a"): lambda u: u._append([u._pop()]),
    ord("e"): lambda u: u._append(u._since_mark()),
    ord("s"): Unpickler._set_item,
    ord("u"): lambda u: u._set_items(u._since_mark()),
    ord("c"): Unpickler._global,
    0x93: Unpickler._stack_global,
    ord("R"): Unpickler._reduce,
    ord("b"): Unpickler._build,
    ord("Q"): Unpickler._persistent,
}
