"""One file with the state of a training: a safetensors file, whose metadata hold the JSON values and a checksum.

The file is written here and not by the safetensors library, because that copies all tensors, and the memory of a cell
is measured and limited. The library reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_TENSOR = "$tensor"
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


class DamagedError(ValueError):
    """A file is not what was written."""


def write_state(file: Path, about: dict[str, Any], state: Any) -> None:
    """Write `state` (JSON values and tensors, in lists and dictionaries), and JSON values `about` it.

    The file is replaced as a whole or not at all. Raises OSError (full disk), and TypeError for another value.
    """
    tensors: list[Tensor] = []
    text = json.dumps({"about": about, "state": _packed(state, tensors)})
    header: dict[str, Any] = {}
    digest, offset = hashlib.sha256(text.encode()), 0
    for number, tensor in enumerate(tensors):
        if tensor.dtype not in _TYPES:
            raise TypeError(f"a tensor of type {tensor.dtype} cannot be stored")
        end = offset + tensor.numel() * tensor.element_size()
        header[str(number)] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
        digest.update(_bytes(tensor))
    header["__metadata__"] = {"record": text, "sha256": digest.hexdigest()}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        staging.unlink(missing_ok=True)
        with staging.open("xb") as stream:
            stream.write(struct.pack("<Q", len(encoded)) + encoded)
            for tensor in tensors:
                stream.write(_bytes(tensor))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staging, file)
    finally:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)


def read_about(file: Path) -> dict[str, Any]:
    """What was written about a state, without its tensors. Raises OSError, and DamagedError for an unreadable file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            about = json.loads(opened.metadata()["record"])["about"]
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise DamagedError(str(error)) from None
    if not isinstance(about, dict):
        raise DamagedError("it holds no record")
    return about


def read_state(file: Path) -> Any:
    """The state in a file. Raises OSError, and DamagedError if the file is not what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
            text = metadata["record"]
            tensors = [opened.get_tensor(str(number)) for number in range(len(opened.keys()))]
        digest = hashlib.sha256(text.encode())
        for tensor in tensors:
            digest.update(_bytes(tensor))
        if digest.hexdigest() != metadata["sha256"]:
            raise DamagedError("its checksum does not match")
        return _unpacked(json.loads(text)["state"], tensors)
    except (SafetensorError, LookupError, TypeError) as error:
        raise DamagedError(str(error)) from None


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data


def _packed(value: Any, tensors: list[Tensor]) -> Any:
    """JSON values, in which a tensor is replaced by its number in `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return {_TENSOR: len(tensors) - 1}
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str) or key == _TENSOR]:
            raise TypeError(f"the key {wrong[0]!r} cannot be stored")
        return {key: _packed(element, tensors) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(element, tensors) for element in value]
    return value


def _unpacked(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _unpacked(element, tensors) for key, element in value.items()}
    return [_unpacked(element, tensors) for element in value] if isinstance(value, list) else value
