"""Mutations of what torch, safetensors, NumPy and pickle wrote: wrong kinds, numbers that are none, code."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

ODD: tuple[Callable[[Tensor], Any], ...] = (
    lambda value: value.float() * float("nan"),
    lambda value: torch.full_like(value.float(), float("inf")),
    lambda value: -value,
    lambda value: value.float() * 1e30,
    lambda value: value.double(),
    lambda value: value.to(torch.complex64),
    lambda value: value.to(torch.int64),
    lambda value: value.to(torch.bool),
    lambda value: value.half(),
    lambda value: value[:0],
    lambda value: value.flatten()[:1],
    lambda value: value[None],
    lambda value: torch.empty_like(value, device="meta"),
    lambda value: value.to_sparse() if value.dim() else value,
    lambda value: torch.zeros(()).expand(1 << 20, 1 << 20),
    lambda value: value.tolist(),
    lambda value: None,
    lambda value: "x",
    lambda value: {},
)
VALUES = (None, True, -1, 10**30, 1e308, float("nan"), "", "../secret", "[red]", [], {}, [1, 2], b"x", 2.5, ("a",))


def _places(value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict | list):
        return []
    places: list[tuple[Any, Any]] = []
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        places += [(value, key), *_places(entry)]
    return places


def _entry(owner: Any, key: Any, rng: Random) -> None:
    """Change one entry of a container."""
    value, deed = owner[key], rng.randrange(6)
    if deed == 0:
        del owner[key]
    elif deed == 1 and isinstance(owner, dict):
        owner[rng.choice(("x", 7, f"{key}.x", "module." + str(key), "../x"))] = owner.pop(key)
    elif deed == 2 and isinstance(owner, list):
        owner.append(value)
    elif isinstance(value, Tensor):
        owner[key] = rng.choice(ODD)(value)
    else:
        owner[key] = rng.choice(VALUES)


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _tree(data: bytes, rng: Random) -> bytes:
    content = torch.load(io.BytesIO(data), weights_only=True)
    places = _places(content)
    _entry(*rng.choice(places), rng)
    return _saved(content)


def _weight(data: bytes, rng: Random) -> bytes:
    """Change a tensor."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    places = [(owner, key) for owner, key in _places(content) if isinstance(owner[key], Tensor)]
    if places:
        owner, key = rng.choice(places)
        owner[key] = rng.choice(ODD)(owner[key])
    return _saved(content)


def _meta(data: bytes, rng: Random) -> bytes:
    """Change what stands beside the tensors."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    places = [(owner, key) for owner, key in _places(content) if not isinstance(owner[key], Tensor)]
    if places:
        owner, key = rng.choice(places)
        owner[key] = rng.choice(VALUES)
    return _saved(content)


def _class_path(data: bytes, rng: Random) -> bytes:
    """Name a class of a module that lies beside the file."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    if isinstance(content, dict) and isinstance(content.get("advinterp"), dict):
        content["advinterp"]["network"]["name"] = rng.choice(
            ("payload.Net", "os.mkdir", "subprocess.Popen", "antigravity.x")
        )
        content["advinterp"]["network"]["path"] = "EXECUTED"
    return _saved(content)


TENSORS: dict[str, Callable[[bytes, Random], bytes]] = {
    "tree": _tree,
    "weight": _weight,
    "weight2": _weight,
    "meta": _meta,
    "class_path": _class_path,
    "other": lambda data, rng: _saved(
        rng.choice((*VALUES, torch.zeros(3), [torch.zeros(3)], {"a": 1}, {1: torch.zeros(3)}))
    ),
    "legacy": lambda data, rng: _legacy(data),
}
"""Of files that ``torch.save`` wrote."""


def _legacy(data: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.load(io.BytesIO(data), weights_only=True), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


class _Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def _code(data: bytes, rng: Random) -> bytes:
    payload = _Payload(
        *rng.choice(
            ((os.mkdir, "EXECUTED"), (os.system, "mkdir EXECUTED"), (eval, "__import__('os').mkdir('EXECUTED')"))
        )
    )
    content = rng.choice((payload, {"data": payload, "labels": [0]}, {"state_dict": {"a": payload}}))
    return rng.choice((pickle.dumps, _saved))(content)


def _dtype(data: bytes, rng: Random) -> bytes:
    """Arrays of kinds that no image has; their bytes are their own."""
    array = np.zeros((4, 3072), np.uint8)
    odd = rng.choice(
        (
            array.astype(object),
            array.astype("U1"),
            array.astype("M8[s]"),
            array.astype(">f8"),
            array.view([("a", "u1")]),
            array[:, :5],
        )
    )
    labels = rng.choice(([0, 1, 2, 3], [0, 1], ["x"] * 4, [10**30] * 4, None, [0.5] * 4, [True] * 4, {"a": 1}))
    return pickle.dumps({"data": rng.choice((array, odd)), "labels": labels}, protocol=2)


def _crafted(data: bytes, rng: Random) -> bytes:
    """A dtype whose state claims objects or another size, over raw bytes."""
    state = rng.choice((
        b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft",  # every flag
        b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\x7fK\x01K\x00t",  # 2 GB an item
        b"(K\x03X\x01\x00\x00\x00|X\x01\x00\x00\x00aNNK\x01K\x01K\x00t",
    ))  # fmt: skip
    head = b"\x80\x02}(X\x04\x00\x00\x00datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00" + rng.choice((b"O8", b"u1", b"V8")) + b"K\x00K\x01\x87R" + state + b"b"
    return head + b"(K\x01K\x01M\x00\x0c\x86" + kind + b"\x89U\x08AAAAAAAAtbX\x06\x00\x00\x00labels]K\x00au."


PICKLES: dict[str, Callable[[bytes, Random], bytes]] = {
    "code": _code,
    "dtype": _dtype,
    "crafted": _crafted,
    "plain": lambda data, rng: pickle.dumps(rng.choice(VALUES)),
    "deep": lambda data, rng: b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "long": lambda data, rng: b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
}
"""Of files that are pickles, or are read as such."""


def _safetensors(data: bytes, rng: Random) -> bytes:
    import safetensors.torch

    tensors = safetensors.torch.load(data)
    key = rng.choice(list(tensors))
    deed = rng.randrange(4)
    if deed == 0:
        del tensors[key]
    elif deed == 1:
        tensors[rng.choice(("x", "module." + key, "../x"))] = tensors.pop(key)
    else:
        odd = rng.choice(ODD[:11])(tensors[key])
        tensors[key] = odd.contiguous().clone()
    return safetensors.torch.save(tensors)


def _header(data: bytes, rng: Random) -> bytes:
    """Change what a safetensors file says of its tensors."""
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + size])
    entry = head[rng.choice(list(head))]
    if "shape" in entry:
        entry[rng.choice(("shape", "dtype", "data_offsets"))] = rng.choice(
            ([1 << 40], [-1], "F32", "F4", [0, 0], [0, 1 << 60], None)
        )
    text = json.dumps(head).encode()
    return struct.pack("<Q", rng.choice((len(text), len(text), 1 << 60))) + text + data[8 + size :]


SAFETENSORS: dict[str, Callable[[bytes, Random], bytes]] = {"tensors": _safetensors, "header": _header}
"""Of ``.safetensors``."""


def _array(data: bytes, rng: Random) -> bytes:
    values = np.load(io.BytesIO(data))
    odd = rng.choice((
        values * np.nan, values * np.inf, -values, values.astype(complex), values.astype(object), values.astype("U5"),
        values[:2], values[None], values.astype(np.int8), values + np.triu(np.ones_like(values)), values * 1e308,
        values.astype(bool), values.view([("a", "f8")]), np.where(values > 0, np.inf, values), values.astype("M8[s]"),
    ))  # fmt: skip
    buffer = io.BytesIO()
    np.save(buffer, odd, allow_pickle=True)
    return buffer.getvalue()


def _shape(data: bytes, rng: Random) -> bytes:
    """A header that claims more than there is."""
    end = data.index(b"\n")
    claim = rng.choice(("(1000000, 1000000)", "(-1, 3)", "(3,)", "()", "(3, 3, 99999999)", "None"))
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {claim}, }}".ljust(end - 10).encode() + b"\n"
    return data[:8] + struct.pack("<H", len(text)) + text + data[end + 1 :]


def _zipped(data: bytes, rng: Random) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.load(io.BytesIO(data)))
    return buffer.getvalue()


ARRAYS: dict[str, Callable[[bytes, Random], bytes]] = {
    "array": _array,
    "array2": _array,
    "shape": _shape,
    "npz": _zipped,
}
"""Of ``.npy``."""
