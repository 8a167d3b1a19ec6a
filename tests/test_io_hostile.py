# SPDX-License-Identifier: BSD-3-Clause
"""Weight files that lie, are cut off or want to run something: always FormatError, soon, and in little memory."""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import checkpoints as c
import numpy as np
import pytest

import cnnkern
from cnnkern import io

SECONDS = 5.0  # of the processor, so that a busy machine does not matter
FREE = 16 << 20  # bytes that any file may cost; beyond it at most twice the file


def refused(path: Path, content: bytes, message: str) -> None:
    """Loading gives FormatError with that message, in bounded time and memory; nothing is executed."""
    path.write_bytes(content)
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(cnnkern.FormatError, match=message) as caught:
            io.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < SECONDS
    assert peak < 2 * len(content) + FREE
    assert caught.value.file == str(path) and len(str(caught.value)) < 1000


def t(**changes: Any) -> bytes:
    """A checkpoint of one tensor "a" with some of its fields changed."""
    return c.checkpoint(c.state(a=c.tensor(**changes)))


def p(body: bytes) -> bytes:
    """A checkpoint whose pickle is `body`."""
    return c.checkpoint(b"\x80\x02" + body)


def call(module: str, name: str, argument: bytes) -> bytes:
    return p(f"c{module}\n{name}\n".encode() + argument + b"\x85R.")


LARGE = 2**62
F = c.storage
TORCH = {
    "calls os.system": (call("os", "system", c.text("touch executed")), "wants to call 'os.system'"),
    "calls posix.system": (call("posix", "system", c.text("touch executed")), "wants to call 'posix.system'"),
    "calls eval": (call("builtins", "eval", c.text("1/0")), "wants to call 'builtins.eval'"),
    "calls getattr": (call("builtins", "getattr", c.text("x")), "wants to call 'builtins.getattr'"),
    "calls subprocess": (call("subprocess", "Popen", c.text("ls")), "nothing is executed"),
    "calls torch.load": (call("torch", "load", c.text("x")), "wants to call 'torch.load'"),
    "a whole model": (p(b"ctorchvision.models.resnet\nResNet\n)\x81."), "model.state_dict"),
    "a numpy array": (p(b"cnumpy._core.multiarray\n_reconstruct\n)R."), "numpy._core.multiarray._reconstruct"),
    "a dotted global": (p(b"ctorch\nFloatStorage.__class__\n."), "wants to call"),
    "a stacked global": (p(c.text("os") + c.text("system") + b"\x93."), "wants to call 'os.system'"),
    "a stacked global of no name": (p(b"NN\x93."), "has no name"),
    "an extension": (p(b"\x82\x01."), "instruction 0x82"),
    "an instance": (p(b"(ios\nsystem\n."), "instruction 0x69"),
    "an object of an unknown class": (p(b")\x81."), "instruction 0x81"),
    "a persistent text": (p(b"Pstorage\n."), "instruction 0x50"),
    "an old integer": (p(b"I10\n."), "instruction 0x49"),
    "calls a text": (p(c.text("x") + b")R."), "no function"),
    "calls with a list": (p(b"ccollections\nOrderedDict\n]R."), "no function"),
    "calls a storage class": (p(b"ctorch\nFloatStorage\n)R."), "does not take"),
    "a size of nothing": (p(b"ctorch\nSize\n)R."), "does not take"),
    "a parameter of a text": (p(b"ctorch._utils\n_rebuild_parameter\n" + c.text("x") + b"\x88}\x87R."), "not take"),
    "an ordered dict of a number": (p(b"ccollections\nOrderedDict\nK\1\x85R."), "not made of pairs"),
    "an ordered dict of triples": (p(b"ccollections\nOrderedDict\n](K\1K\2K\3tae\x85R."), "pickle"),
    "attributes of a list": (p(b"]}b."), "attributes of something"),
    "attributes that are a list": (p(b"}]b."), "attributes of something"),
    "an unknown protocol": (c.checkpoint(b"\x80\x09}."), "protocol 9"),
    "nothing to stop with": (p(b"."), "not there"),
    "objects left behind": (p(b"}}."), "leaves objects"),
    "a mark left behind": (p(b"(}."), "not there|leaves objects"),
    "a tuple without a mark": (p(b"t."), "not there"),
    "a tuple of too much": (p(b"K\1\x87."), "not there"),
    "takes below the mark": (p(b"K\1(R."), "not there"),
    "an unknown memo": (p(b"h\5."), "has not made"),
    "a memo of nothing": (p(b"q\0."), "not there"),
    "a giant memo": (p(b"}r\xff\xff\xff\x7fj\xfe\xff\xff\x7f."), "has not made"),
    "appends to a number": (p(b"K\1K\2a."), "no list"),
    "items of a list": (p(b"]K\1K\2s."), "no dictionary"),
    "half an item": (p(b"}(K\1u."), "no dictionary"),
    "a list as key": (p(b"}]K\1s."), "a list as key"),
    "a deep tuple as key": (p(b"})" + b"\x85" * 50_000 + b"K\1s."), "a tuple as key"),
    "a giant integer as key": (p(b"}" + c.integer(2**900) + b"K\1s."), "int as key"),
    "a text that ends early": (p(b"X\xff\xff\xff\x7fabc"), "truncated"),
    "a text of 2**64 bytes": (p(b"\x8d" + b"\xff" * 8 + b"abc"), "truncated"),
    "bytes that are no text": (p(b"X\2\0\0\0\xff\xfe."), "UTF-8"),
    "a name without end": (p(b"c" + b"a" * 5_000), "endless"),
    "a long name": (p(b"c" + b"a" * 900 + b"\nb\n."), "wants to call"),
    "nothing at all": (c.checkpoint(b""), "truncated"),
    "endless marks": (p(b"(" * 100_000), "nested more than"),
    "endless objects": (p(b"N" * 200_000), "stacks more than"),
    "endless dictionaries": (p(b"]" + b"}a" * 300_000 + b"."), "more than 200000 containers"),
    "endless tuples": (p(b")" + b"\x85" * 300_000 + b"."), "more than 200000 containers"),
    "endless instructions": (p(b"N" + b"q\0" * 1_100_000 + b"."), "instructions"),
    "deep lists": (p(b"]" * 50_000 + b"a" * 49_999 + b"."), "holds a list"),
    "a list in itself": (p(b"]q\0h\0a."), "holds a list"),
    "a pickle of 17 MB": (p(b"N0" * (17 << 19)), "at most 16777216 are read"),
    "a number": (p(b"K\1."), "holds a int"),
    "one tensor": (c.checkpoint(b"\x80\x02" + c.tensor() + b"."), "holds one tensor"),
    "no tensors": (p(b"}" + c.text("epoch") + b"K\1s."), "no tensors in it.*'epoch'"),
    "wrapped without end": (p(b"}q\0" + c.text("model") + b"h\0s."), "no tensors in it"),
    "a text among tensors": (c.checkpoint(c.state(a=c.tensor(), b=c.text("x"))), "tensor 'b': is a str"),
    "a dictionary among tensors": (c.checkpoint(c.state(a=c.tensor(), b=b"}")), "tensor 'b': is a dict"),
    "a number as name": (p(b"}(K\1" + c.tensor() + c.text("x") + c.tensor() + b"u."), "no text"),
    "a storage of no form": (p(c.text("storage") + b"Q."), "not described"),
    "a storage of another name": (t(of=F().replace(b"storage", b"stolage")), "not described"),
    "a storage of a text": (p(b"(" + c.text("storage") + c.text("x") * 3 + b"K\6tQ."), "not described"),
    "a storage of a big class": (t(of=F("GiantStorage")), "tensor 'a': numbers of the kind 'Giant'"),
    "complex numbers": (t(of=F("ComplexFloatStorage")), "'ComplexFloat' are not read"),
    "quantized numbers": (t(of=F("QInt8Storage")), "'QInt8' are not read"),
    "untyped numbers": (t(function="_rebuild_tensor_v3"), "wants to call 'torch._utils._rebuild_tensor_v3'"),
    "a sparse tensor": (t(function="_rebuild_sparse_tensor"), "_rebuild_sparse_tensor"),
    "a tensor of two arguments": (p(b"ctorch._utils\n_rebuild_tensor_v2\nK\1K\2\x86R."), "does not take"),
    "a tensor of a text": (p(b"ctorch._utils\n_rebuild_tensor_v2\n(" + c.text("x") * 6 + b"tR."), "does not take"),
    "a negated tensor": (
        t(end=b"\x89" + c.ORDERED_DICT + b"}" + c.text("neg") + b"\x88s"),
        "its sign or its conjugation",
    ),
    "a missing storage": (c.checkpoint(c.state(a=c.tensor()), {}), "'archive/data/0' is missing"),
    "a storage outside": (t(of=F(key="../../x")), "is missing"),
    "a short storage": (c.checkpoint(c.state(a=c.tensor()), {"0": bytes(23)}), "23 bytes, 6 numbers need 24"),
    "a long storage": (c.checkpoint(c.state(a=c.tensor()), {"0": bytes(25)}), "25 bytes, 6 numbers need 24"),
    "a giant storage": (t(of=F(numel=LARGE)), "24 bytes"),
    "a giant tensor in a giant storage": (t(shape=(2**31 - 1,), strides=(1,), of=F(numel=LARGE)), "24 bytes"),
    "a negative storage": (t(of=F(numel=-6)), "has -6 elements"),
    "a giant tensor": (t(shape=(LARGE,), strides=(1,)), "sizes must be integers in 0"),
    "a tensor of 4 GB": (t(shape=(2**30,), strides=(1,)), "reaches element 1073741823 of a storage of 6"),
    "a repeated tensor": (t(shape=(2**30,), strides=(0,)), "1073741824 elements out of a storage of 6"),
    "a product that overflows": (t(shape=(2**31 - 1,) * 4, strides=(0,) * 4), "out of a storage of 6"),
    "an empty tensor of giant sizes": (t(shape=(0, *[2**31 - 1] * 4), strides=(1,) * 5), "sizes too large"),
    "a negative size": (t(shape=(-2, 3)), "sizes must be integers"),
    "two negative sizes": (t(shape=(-2, -3)), "sizes must be integers"),
    "a negative stride": (t(strides=(-3, 1), offset=3), "must be integers in 0"),
    "a stride too large": (t(strides=(4, 1)), "reaches element 6"),
    "a giant stride": (t(strides=(LARGE, 1)), "sizes must be integers"),
    "an offset too large": (t(offset=1), "reaches element 6"),
    "a negative offset": (t(offset=-1), "must be integers in 0"),
    "a giant offset": (t(offset=2**64), "must be integers in 0"),
    "more strides than sizes": (t(strides=(3, 1, 1)), "2 sizes, but 3 strides"),
    "forty axes": (t(shape=(1,) * 40, strides=(1,) * 40), "has 40 axes"),
    "overlapping tensors": (
        c.checkpoint(c.state(**{f"a{i}": c.tensor((2, 2), (1, 1), i) for i in range(3)})),
        "together they have 12 elements in a storage of 6",
    ),
    "a storage described in two ways": (
        c.checkpoint(c.state(a=c.tensor(), b=c.tensor(of=F("IntStorage")))),
        "tensor 'b': its storage '0' is described in two ways",
    ),
    "too many tensors": (
        c.checkpoint(c.state(**{f"a{i}": c.tensor((0,), (1,)) for i in range(16_400)})),
        "16400 tensors",
    ),
    "TorchScript": (
        c.archive({"m/data.pkl": b"\x80\x02}.", "m/constants.pkl": b"", "m/code/x.py": b""}),
        "TorchScript",
    ),
}


def zip_of(members: dict[str, bytes], old: bytes, new: bytes, **options: Any) -> bytes:
    content = c.archive(members, **options)
    assert old in content
    return content.replace(old, new)


def patched(content: bytes, offset: int, form: str, value: int, mark: bytes = b"PK\5\6") -> bytes:
    """A field of the last zip record with that mark overwritten."""
    start = content.rfind(mark) + offset
    return content[:start] + struct.pack(form, value) + content[start + struct.calcsize(form) :]


GOOD = {"a.npy": c.npy()}
ONE = c.archive(GOOD)
ZEROS = "{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }"
BOMB = c.archive({"a.npy": c.npy(ZEROS, bytes(50_000_000))}, zipfile.ZIP_DEFLATED)
ZIP = {
    "a zip bomb": (BOMB, "would expand from"),
    "a zip bomb that states less": (patched(BOMB, 24, "<L", 1000, b"PK\1\2"), "needs|has not|damaged|header"),
    "a member twice": (zip_of({"a.npy": c.npy(), "b.npy": c.npy()}, b"b.npy", b"a.npy"), "appears twice"),
    "an absolute path": (c.archive({"/etc/a.npy": c.npy()}), "points outside"),
    "a path upwards": (c.archive({"../../a.npy": c.npy()}), "points outside"),
    "a path with backslashes": (zip_of({"b/a.npy": c.npy()}, b"b/a", b"b\\a"), "points outside|damaged"),
    "a name with a zero": (zip_of({"bxa.npy": c.npy()}, b"bxa", b"b\0a"), "points outside|no array|damaged"),
    "compressed by bzip2": (c.archive(GOOD, zipfile.ZIP_BZIP2), "method 12"),
    "compressed by lzma": (c.archive(GOOD, zipfile.ZIP_LZMA), "method 14"),
    "encrypted": (patched(ONE, 8, "<H", 1, b"PK\1\2"), "encrypted"),
    "stored in another size": (patched(ONE, 24, "<L", 2**31, b"PK\1\2"), "stored, but with"),
    "beyond the file": (patched(patched(ONE, 24, "<L", 2**31, b"PK\1\2"), 20, "<L", 2**31, b"PK\1\2"), "beyond"),
    "a header elsewhere": (patched(ONE, 42, "<L", 7, b"PK\1\2"), "damaged|beyond|header"),
    "another name in the header": (ONE.replace(b"a.npy", b"b.npy", 1), "damaged"),
    "no directory": (ONE[:-22], "no directory"),
    "a comment": (c.archive(GOOD, comment=b"hello"), "no directory at its end"),
    "a directory beyond the file": (patched(ONE, 16, "<L", 2**31), "a directory of"),
    "a giant directory": (patched(ONE, 12, "<L", 2**31), "a directory of"),
    "a torn directory": (patched(ONE, 12, "<L", 30), "torn"),
    "a directory of rubbish": (patched(ONE, 16, "<L", 4), "torn"),
    "a 64-bit directory that is not there": (
        ONE[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + ONE[-22:],
        "no 64-bit directory",
    ),
    "too many members": (c.archive({f"{i}": b"" for i in range(17_000)}), "too many members"),
    "a wrong checksum": (ONE.replace(bytes(24), b"\1" * 24), "damaged: .*CRC"),
    "overlapping members": (
        patched(c.archive({"a.npy": c.npy(), "b.npy": c.npy()}), 42, "<L", 0, b"PK\1\2"),
        "damaged|overlap",
    ),
    "no array": (c.archive({"readme.txt": b"hello"}), "'readme.txt' is no array"),
    "an empty array file": (c.archive({"a.npy": b""}), "tensor 'a': not an array as NumPy"),
    "a header cut off": (c.archive({"a.npy": c.npy()[:40]}), "not an array of plain numbers"),
    "version 2": (c.archive({"a.npy": c.npy().replace(b"NUMPY\1", b"NUMPY\2")}), "not an array as NumPy"),
    "too little data": (c.archive({"a.npy": c.npy(data=bytes(23))}), "needs 24 bytes, 23 are there"),
    "too much data": (c.archive({"a.npy": c.npy(data=bytes(25))}), "needs 24 bytes, 25 are there"),
}


def npz(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 3)") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    return c.archive({"a.npy": c.npy(header)})


PLAIN = "not an array of plain numbers"
NPZ = {
    "objects": (npz("'|O'"), PLAIN),
    "texts": (npz("'<U4'"), PLAIN),
    "records": (npz("[('x', '<f4')]"), PLAIN),
    "complex": (npz("'<c8'"), PLAIN),
    "a type that is none": (npz("'<f1'"), PLAIN),
    "a wide bool": (npz("'|b8'"), PLAIN),
    "an order that is none": (npz(order="1"), PLAIN),
    "a negative size": (npz(shape="(-2, 3)"), PLAIN),
    "a giant size": (npz(shape="(4611686018427387904, 3)"), "sizes must be integers"),
    "a giant array": (npz(shape="(2147483647, 2147483647)"), "needs 18446744056529682436 bytes, 24 are there"),
    "an endless number": (npz(shape=f"({'9' * 399},)"), "sizes must be integers|plain numbers"),
    "too many digits": (npz(shape=f"({'9' * 9000},)"), PLAIN),
    "nested tuples": (npz(shape="(" * 500 + ")" * 500), PLAIN),
    "an expression": (npz(shape="(__import__('os').system('touch executed'),)"), PLAIN),
    "a shape without commas": (npz(shape="(2 3)"), "needs 92 bytes|plain"),
    "an empty size": (npz(shape="(2,,3)"), PLAIN),
    "forty axes": (npz(shape=f"({'1, ' * 40})"), "has 40 axes"),
    "a cyclic header": (c.archive({"a.npy": c.npy("{" * 200)}), PLAIN),
}


def tensors(data: bytes = bytes(24), **entries: Any) -> bytes:
    return c.safetensors(json.dumps(entries), data)


def entry(dtype: Any = "F32", shape: Any = (2, 3), offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


E = '"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]'
SAFETENSORS = {
    "a giant header": (c.safetensors("{}", length=2**63), "truncated: a header of 9223372036854775808"),
    "a header beyond the file": (c.safetensors("{}", length=3), "truncated"),
    "a header of 5 MB": (c.safetensors("{}" + " " * (5 << 20)), "at most 4194304"),
    "no JSON": (c.safetensors("{nonsense"), "cannot be read"),
    "nested JSON": (c.safetensors('{"a":' + "[" * 200_000), "cannot be read"),
    "no UTF-8": (c.safetensors(b'{"\xff\xfe": 1}'), "cannot be read"),
    "a name twice": (c.safetensors(f'{{"a": {{{E}}}, "a": {{{E}}}}}', bytes(24)), "a name appears twice"),
    "a field twice": (c.safetensors(f'{{"a": {{{E}, "dtype": "F64"}}}}', bytes(24)), "a name appears twice"),
    "a number for a tensor": (tensors(a=1), "tensor 'a': needs dtype"),
    "a field too many": (tensors(a={**entry(), "x": 1}), "nothing else"),
    "a field too few": (tensors(a={"dtype": "F32"}), "needs dtype"),
    "an unknown type": (tensors(a=entry("F33")), "'F33' are not read"),
    "a small type": (tensors(a=entry("F8_E4M3", [24])), "'F8_E4M3' are not read"),
    "a type that is no text": (tensors(a=entry([1])), "are not read"),
    "a text for a shape": (tensors(a=entry(shape="23")), "its shape is no list"),
    "a negative size": (tensors(a=entry(shape=[-2, -3])), "sizes must be integers"),
    "half a size": (tensors(a=entry(shape=[2.0, 3])), "sizes must be integers"),
    "true for a size": (tensors(a=entry(shape=[True, 6])), "sizes must be integers"),
    "a giant size": (tensors(a=entry(shape=[LARGE, 4], offsets=[0, 0]), data=b""), "sizes must be integers"),
    "a product that overflows": (tensors(a=entry(shape=[2**31 - 1] * 8)), "overflow|header"),
    "forty axes": (tensors(a=entry(shape=[1] * 40)), "has 40 axes"),
    "too little data": (tensors(bytes(23), a=entry()), r"lies at \[0, 24\], the file has 23"),
    "too much data": (tensors(bytes(25), a=entry()), "not fully covered|header"),
    "offsets backwards": (tensors(a=entry(offsets=[24, 0])), "lies at"),
    "negative offsets": (tensors(a=entry(offsets=[-24, 0])), "lies at"),
    "three offsets": (tensors(a=entry(offsets=[0, 12, 24])), "not two integers"),
    "offsets of half a byte": (tensors(a=entry(offsets=[0, 24.0])), "not two integers"),
    "another size": (tensors(a=entry(shape=[2, 2])), "header|size"),
    "overlapping tensors": (tensors(a=entry(), b=entry()), "header|offset"),
    "a gap": (tensors(bytes(28), a=entry(), b=entry(shape=[], offsets=[26, 30])), "header|offset|lies"),
    "too many tensors": (tensors(b"", **{f"{i}": entry(shape=[0], offsets=[0, 0]) for i in range(17_000)}), "17000"),
}

LEGACY = {
    "only its mark": (b"\x80\x02", "truncated"),
    "another pickle": (b"\x80\x02K\1.\x80\x02K\1.", "not one of PyTorch's"),
    "another protocol": (c.MAGIC + b"\x80\x02M\xe8\x03.", "not one of PyTorch's"),
    "a call": (c.MAGIC + b"\x80\x02M\xe9\x03.\x80\x02cos\nsystem\n" + c.text("touch x") + b"\x85R.", "os.system"),
    "names of storages that are none": (c.legacy(keys=("0", "0")), "the same one"),
    "an unnamed storage": (c.legacy(keys=()), "left over|missing"),
    "an unknown storage": (c.legacy(keys=("1",)), "of a kind that is not read"),
    "storages cut off": (c.legacy(storages=b""), "is not there"),
    "a storage cut off": (c.legacy(storages=struct.pack("<q", 6) + bytes(23)), "ends beyond the file"),
    "a storage too long": (c.legacy(storages=struct.pack("<q", 6) + bytes(25)), "1 bytes are left over"),
    "a giant storage": (c.legacy(storages=struct.pack("<q", 2**61) + bytes(24)), "ends beyond the file"),
    "a negative storage": (c.legacy(storages=struct.pack("<q", -6) + bytes(24)), "ends beyond the file"),
    "another size": (c.legacy(storages=struct.pack("<q", 5) + bytes(20)), "another size than its description"),
    "a view of a storage": (
        c.legacy(c.state(a=c.tensor(of=c.storage()[:-2] + c.numbers((0, 1, 2)) + b"tQ"))),
        "PyTorch 0.1",
    ),
}

FAMILIES = {"torch": TORCH, "zip": ZIP, "npz": NPZ, "safetensors": SAFETENSORS, "legacy": LEGACY}
FILES = [(f"{family}: {name}", *file) for family, files in FAMILIES.items() for name, file in files.items()]


def test_there_are_many() -> None:
    assert len(FILES) > 150


@pytest.mark.parametrize(("content", "message"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_hostile_files(
    content: bytes, message: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "safetensors:" in request.node.name:
        pytest.importorskip("safetensors", reason="the library safetensors is not installed")
    monkeypatch.chdir(tmp_path)
    refused(tmp_path / "weights.bin", content, message)
    assert os.listdir(tmp_path) == ["weights.bin"]


def valid(tmp_path: Path) -> dict[str, bytes]:
    """Small valid files of each kind."""
    weights = {
        "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "n": np.array(3),
        "half": np.ones(5, "f2"),
    }
    files = {"legacy": c.legacy(), "checkpoint": c.checkpoint(c.state(a=c.tensor()))}
    np.savez_compressed(tmp_path / "small.npz", **weights)
    files["deflated"] = (tmp_path / "small.npz").read_bytes()
    for suffix in ("npz", "pth", "safetensors"):
        if suffix == "safetensors":
            pytest.importorskip("safetensors", reason="the library safetensors is not installed")
        io.save(tmp_path / f"weights.{suffix}", weights)
        files[suffix] = (tmp_path / f"weights.{suffix}").read_bytes()
    return files


def test_truncated_files(tmp_path: Path) -> None:
    """Every file cut at every length is refused."""
    path = tmp_path / "cut"
    for kind, content in valid(tmp_path).items():
        path.write_bytes(content)
        assert io.load(path)
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(cnnkern.FormatError):
                io.load(path)
                pytest.fail(f"{kind} cut to {length} of {len(content)} bytes")


def test_damaged_files(tmp_path: Path, full: bool, seed: int) -> None:
    """Bytes changed at random: the file is refused, or gives arrays of a bounded size; nothing else happens."""
    path, rng = tmp_path / "damaged", np.random.default_rng([seed, 77])
    loaded = tried = 0
    for kind, content in valid(tmp_path).items():
        for _ in range(3000 if full else 250):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), rng.integers(1, 4)):
                damaged[place] = rng.choice([0, 1, 0x28, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
            path.write_bytes(damaged)
            tried += 1
            try:
                found = io.load(path)
            except cnnkern.FormatError:
                continue
            except Exception as error:
                pytest.fail(f"{kind}: {type(error).__name__}: {error}; {bytes(damaged)!r}")
            loaded += 1
            assert sum(array.nbytes for array in found.values()) <= 2 * len(content)
    assert loaded < tried


def test_a_member_that_expands_to_more_than_it_states(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=-15)
    raw = packer.compress(c.npy() + bytes(40_000_000)) + packer.flush()
    content = c.archive({"a.npy": c.npy()}, zipfile.ZIP_DEFLATED)
    stated = c.npy()
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, zlib.crc32(stated), len(raw), len(stated), 5, 0)
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, zlib.crc32(stated), len(raw), len(stated), 5, 0, 0, 0, 0, 0, 0
    )
    body = head + b"a.npy" + raw
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry) + 5, len(body), 0)
    del content
    path = tmp_path / "weights.npz"
    path.write_bytes(body + entry + b"a.npy" + end)
    tracemalloc.start()
    try:
        found = io.load(path)  # the first 24 bytes are what was promised; the rest is never expanded
        assert tracemalloc.get_traced_memory()[1] < FREE
    except cnnkern.FormatError:
        pass
    else:
        assert found["a"].shape == (2, 3)
    finally:
        tracemalloc.stop()
