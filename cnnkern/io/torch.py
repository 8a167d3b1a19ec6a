# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch's checkpoints (.pth, .pt), without PyTorch.

Since version 1.6 `torch.save` writes a zip archive: `data.pkl` describes the tensors, `data/<key>` holds each storage.
Before, it wrote a row of pickles with the storages behind them; many published weights are such files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from cnnkern.io._archive import Archive
from cnnkern.io._source import (
    MAX_TENSORS,
    Array,
    Source,
    read_into,
    shape_problem,
    widened,
    widened_bfloat16,
)
from cnnkern.io._unpickle import MAX_PICKLE, PickleError, StorageRecord, TensorRecord, Unpickler
from cnnkern.io._write import write_zip

# torch's storage classes -> NumPy's types, without the byte order; BFloat16 as its bits.
STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LARGEST_EMPTY = 2**40  # NumPy bounds even the sizes of an empty array
# Where training programs keep the state dict among other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_MOST_WRAPPERS = 4
# What wrapping modules put in front of every name.
_PREFIXES = ("module.", "_orig_mod.")
ReadStorage = Callable[[StorageRecord, "np.dtype[Any]", str], Array]


def load_zip(source: Source, archive: Archive) -> dict[str, Array]:
    """The state dict of a zip checkpoint."""
    name = next((each for each in archive.members if each == "data.pkl" or each.endswith("/data.pkl")), None)
    assert name is not None
    root = name.removesuffix("data.pkl")
    if root + "constants.pkl" in archive.members:
        raise source.error("a TorchScript program, not weights; save its state_dict() with torch.save")
    if archive.members[name].file_size > MAX_PICKLE:
        raise source.error(f"data.pkl has {archive.members[name].file_size} bytes, at most {MAX_PICKLE} are read")
    order = "<"
    if root + "byteorder" in archive.members and archive.members[root + "byteorder"].file_size <= 8:
        order = ">" if archive.read(root + "byteorder") == b"big" else "<"
    value, _ = _unpickle(source, archive.read(name), 0)

    def read(storage: StorageRecord, dtype: np.dtype[Any], tensor: str) -> Array:
        member = f"{root}data/{storage.key}"
        if member not in archive.members:
            raise source.error(f"its storage {member[:100]!r} is missing", tensor)
        size, needed = archive.members[member].file_size, storage.numel * dtype.itemsize
        if size != needed:
            raise source.error(f"its storage has {size} bytes, {storage.numel} numbers need {needed}", tensor)
        array = np.empty(storage.numel, dtype)
        archive.fill(member, array, tensor)
        return array

    return _tensors(source, _state_dict(source, value), read, order)


def load_legacy(source: Source) -> dict[str, Array]:
    """The state dict of a checkpoint from before PyTorch 1.6: five pickles, then every storage with its length."""
    data = source.head(MAX_PICKLE)
    magic, position = _unpickle(source, data, 0)
    protocol, position = _unpickle(source, data, position)
    if magic != LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise source.error("a pickle, but not one of PyTorch's checkpoints")
    system, position = _unpickle(source, data, position)
    order = ">" if type(system) is dict and system.get("little_endian") is False else "<"
    value, position = _unpickle(source, data, position)
    keys, position = _unpickle(source, data, position)
    del data
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
        raise source.error("damaged checkpoint: its storages have no names, or the same one")
    state = _state_dict(source, value)
    places = _legacy_places(source, keys, value, position)

    def read(storage: StorageRecord, dtype: np.dtype[Any], tensor: str) -> Array:
        place, size = places.get(storage.key, (0, -1))
        if size != storage.numel * dtype.itemsize:
            raise source.error("its storage is missing, or has another size than its description", tensor)
        array = np.empty(storage.numel, dtype)
        source.file.seek(place)
        if not read_into(source.file, array):
            raise source.error("the file ends within its storage", tensor)
        return array

    return _tensors(source, state, read, order)


def _legacy_places(source: Source, keys: list[str], value: Any, position: int) -> dict[str, tuple[int, int]]:
    """Storage key -> (offset, bytes) in the file. Each storage begins with the number of its elements."""
    kinds = {record.key: record.kind for record in _storages(value)}
    places = {}
    for key in keys:
        source.file.seek(position)
        head = source.file.read(8)
        if len(head) < 8:
            raise source.error(f"truncated: storage {key[:40]!r} is not there")
        if kinds.get(key) not in STORAGES:
            raise source.error(f"storage {key[:40]!r} is of a kind that is not read: {kinds.get(key)}")
        (numel,) = struct.unpack("<q", head)
        size = numel * np.dtype(STORAGES[kinds[key]]).itemsize
        if not 0 <= size <= source.size - position - 8:
            raise source.error(f"truncated: storage {key[:40]!r} of {size} bytes ends beyond the file")
        places[key] = (position + 8, size)
        position += 8 + size
    if position != source.size:
        raise source.error(f"{source.size - position} bytes are left over behind the last storage")
    return places


def _storages(value: Any) -> list[StorageRecord]:
    """All storages that tensors anywhere in a pickled object refer to."""
    found, seen, waiting = [], set(), [value]
    while waiting:
        item = waiting.pop()
        if type(item) is TensorRecord:
            found.append(item.storage)
        elif type(item) in (dict, list, tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if type(item) is dict else item)
    return found


def _unpickle(source: Source, data: bytes, position: int) -> tuple[Any, int]:
    unpickler = Unpickler(data, position)
    try:
        return unpickler.load(), unpickler.position
    except PickleError as error:
        raise source.error(str(error)) from None


def _state_dict(source: Source, value: Any) -> dict[str, TensorRecord | int | float]:
    """The names and tensors in what was saved: it itself, or what a training program wrapped around it."""
    for _ in range(_MOST_WRAPPERS):
        if type(value) is not dict:
            kind = "one tensor" if type(value) is TensorRecord else f"a {type(value).__name__}"
            raise source.error(f"holds {kind}, not a state dict; save model.state_dict()")
        if any(type(each) is TensorRecord for each in value.values()):
            return _plain_names(source, value)
        inner = next((name for name in _WRAPPERS if type(value.get(name)) is dict), None)
        if inner is None:
            break
        value = value[inner]
    keys = ", ".join(repr(key)[:40] for key in list(value)[:8])
    raise source.error(f"no tensors in it, and none of {', '.join(_WRAPPERS)}; it holds {keys or 'nothing'}")


def _plain_names(source: Source, state: dict[Any, Any]) -> dict[str, TensorRecord | int | float]:
    """Without the prefixes that wrapping modules add to all names."""
    if len(state) > MAX_TENSORS:
        raise source.error(f"{len(state)} tensors, at most {MAX_TENSORS} are read")
    for name, value in state.items():
        if type(name) is not str:
            raise source.error(f"a tensor has the name {name!r}, which is no text")
        if type(value) not in (TensorRecord, int, float, bool):
            raise source.error(f"is a {type(value).__name__}, not a tensor or a number", name)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _tensors(source: Source, state: dict[str, Any], read: ReadStorage, order: str) -> dict[str, Array]:
    """Arrays of a state dict. Every rule is checked before the first byte is read; then storage by storage."""
    groups: dict[str, list[str]] = {}
    for name, record in state.items():
        if type(record) is TensorRecord:
            _check_tensor(source, name, record)
            groups.setdefault(record.storage.key, []).append(name)
    for names in groups.values():
        _check_shared(source, [(name, state[name]) for name in names])
    arrays: dict[str, Array] = {}
    for names in groups.values():
        storage = state[names[0]].storage
        whole = read(storage, np.dtype(order + STORAGES[storage.kind].replace("?", "u1")), names[0])
        made: dict[TensorRecord, Array] = {}
        for name in names:
            record = state[name]
            if record not in made:
                made[record] = _view(record, whole)
            arrays[name] = made[record]
    return {name: arrays[name] if type(value) is TensorRecord else np.asarray(value) for name, value in state.items()}


def _check_tensor(source: Source, name: str, record: TensorRecord) -> None:
    storage, shape, strides = record.storage, record.shape, record.strides
    if storage.kind not in STORAGES:
        raise source.error(f"numbers of the kind {storage.kind.removesuffix('Storage')!r} are not read", name)
    if storage.numel < 0:
        raise source.error(f"its storage has {storage.numel} elements", name)
    problem = shape_problem(shape) or shape_problem(strides) or shape_problem((record.offset,))
    if problem or len(shape) != len(strides):
        raise source.error(problem or f"has {len(shape)} sizes, but {len(strides)} strides", name)
    if 0 in shape:
        if _count(tuple(max(size, 1) for size in shape)) > _LARGEST_EMPTY:
            raise source.error("sizes too large", name)
        return
    last = record.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= storage.numel:
        raise source.error(f"reaches element {last} of a storage of {storage.numel}", name)
    if _count(shape) > storage.numel:
        raise source.error(f"{_count(shape)} elements out of a storage of {storage.numel}", name)


def _check_shared(source: Source, tensors: list[tuple[str, TensorRecord]]) -> None:
    """Tensors of one storage agree about it, and do not overlap so much that they are more than it."""
    first = tensors[0][1].storage
    for name, record in tensors:
        if record.storage != first:
            raise source.error(f"its storage {first.key[:40]!r} is described in two ways", name)
    elements = sum(_count(record.shape) for record in {record for _, record in tensors})
    if elements > first.numel:
        raise source.error(
            f"overlaps others: together they have {elements} elements in a storage of {first.numel}", tensors[-1][0]
        )


def _count(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def _view(record: TensorRecord, storage: Array) -> Array:
    """A tensor as an array of its own; the storage itself where it is the whole of it."""
    if 0 in record.shape:
        view = np.empty(record.shape, storage.dtype)
    else:
        # NumPy compares offset, shape and strides with the buffer once more.
        steps = tuple(stride * storage.itemsize for stride in record.strides)
        view = np.ndarray(record.shape, storage.dtype, storage.data, record.offset * storage.itemsize, steps)
    if record.storage.kind == "BFloat16Storage":
        return widened_bfloat16(view)
    if record.storage.kind == "BoolStorage":
        return np.asarray(view != 0)
    result = widened(view)
    if result is view:
        whole = view.flags.c_contiguous and view.size == storage.size
        result = storage.reshape(record.shape) if whole else view.copy()
    return result


def save(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write a zip checkpoint that `torch.load` reads: a dictionary of contiguous tensors."""
    kinds = {np.dtype(code): kind for kind, code in STORAGES.items() if kind != "BFloat16Storage"}
    storages = [
        (f"archive/data/{key}", [array.astype(array.dtype.newbyteorder("<"), copy=False)])
        for key, array in enumerate(arrays.values())
    ]
    head: list[tuple[str, list[Any]]] = [
        ("archive/data.pkl", [_pickle(arrays, kinds)]),
        ("archive/byteorder", [b"little"]),
    ]
    write_zip(stream, [*head, *storages, ("archive/version", [b"3\n"])])


def _pickle(arrays: Mapping[str, Array], kinds: Mapping[np.dtype[Any], str]) -> bytes:
    parts = [b"\x80\x02}"]
    for key, (name, array) in enumerate(arrays.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        parts += [
            _text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _text("storage"),
            f"ctorch\n{kinds[array.dtype]}\n".encode(),
            _text(str(key)) + _text("cpu") + _integer(array.size) + b"tQK\0",
            b"(" + b"".join(map(_integer, array.shape)) + b"t",
            b"(" + b"".join(map(_integer, strides)) + b"t",
            b"\x89ccollections\nOrderedDict\n)RtRs",
        ]
    return b"".join([*parts, b"."])


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _integer(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(8, "little")
    return b"\x8a\x08" + raw
