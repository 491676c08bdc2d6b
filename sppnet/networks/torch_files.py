"""What a file that torch saved holds, told without loading it: bounds, kinds, and what is pickled in it.

Nothing is unpickled here: opcodes are read (`pickletools`), never executed.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import TypeAlias

import torch

from sppnet.errors import ConfigError

SAVE_ALONE = 'save the state dict alone where it was made: torch.save(model.state_dict(), "weights.pth")'
"""What to do about a file of another kind."""

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_LEGACY_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 4
"""Magic number, protocol and system come before the object in torch's older format."""
_INFLATED, _INFLATED_BYTES = 8, 16 << 20
"""A compressed archive may declare so many times its size, and so many bytes, at most: weights hardly compress."""
_PARTS = 2_000_000
"""Opcodes of a description: those of a checkpoint with 10,000 tensors are half a million."""
_Value: TypeAlias = tuple[int, int]
"""How deep a value is nested, and how many others it holds, each as often as it is held."""
_ATOM: _Value = 0, 1
_DEPTH, _SIZE = 1000, 10 * _PARTS
"""Of a value at most: a tensor's are five deep."""
_PLAIN = frozenset({"Size", "device", "strided", "per_tensor_affine", "per_channel_affine"})
_FILLING = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_PROTOCOL = 3
"""Of pickles that torch reads without running code; it writes 2."""
_KINDS = (
    (b"<", "a web page or XML"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (`git lfs pull` fetches it)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras saves"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF"),
)


def is_torch_file(data: bytes) -> bool:
    """Tell whether a file begins like torch's: with a zip archive, or with a pickle as in its older format."""
    # A safetensors file begins with its header's length, which may look like a pickle's beginning.
    safetensors = data[5:9] == b"\0\0\0{"
    return data.startswith(_ZIP) or (data.startswith(_PICKLE) and data[1:2] <= b"\x05" and not safetensors)


def other_kind(data: bytes) -> str:
    """Name the kind of a file that is neither torch's nor safetensors; empty for one that isn't known."""
    if data[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    return next((kind for magic, kind in _KINDS if data.startswith(magic)), "")


def check_torch_file(data: bytes, where: str) -> list[str]:
    """Check what a file declares before torch reads it.

    Args:
        data: the file's bytes; see `is_torch_file`.
        where: what they are, for messages.

    Returns:
        Names of what its pickles refer to that is no part of tensors by name, such as `argparse.Namespace`.

    Raises:
        ConfigError: the file is damaged, of another kind, or would inflate to many times its size.
    """
    try:
        return _foreign(_pickles(data, where), where)
    except ConfigError:
        raise
    except Exception as error:  # zipfile and pickletools fail in many ways on damaged bytes
        reason = one_line(error)
        raise ConfigError(f"{where}: not a state dict of tensors ({len(data)} bytes), or damaged: {reason}") from error


def one_line(text: object, limit: int = 200) -> str:
    """Return text of anybody's as one line without control characters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return " ".join(shown.split())[:limit]


def _pickles(data: bytes, where: str) -> list[bytes | io.BytesIO]:
    """Return the pickles of a file: the one of a zip archive, or a stream of those that begin torch's older format."""
    if not data.startswith(_ZIP):
        if _LEGACY_MAGIC not in data[:40]:
            raise ConfigError(f"{where}: a pickle that torch did not save, which may run code: {SAVE_ALONE}")
        return [io.BytesIO(data)] * _LEGACY_PICKLES
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if declared > max(_INFLATED * len(data), _INFLATED_BYTES):
            raise ConfigError(
                f"{where}: {len(data)} bytes that would inflate to {declared}: no weights compress so well"
            )
        names = [member.filename for member in members]
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            raise ConfigError(f"{where}: a TorchScript archive, which holds code: {SAVE_ALONE}")
        found = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(found) != 1:
            listed = one_line(", ".join(sorted(names)[:3]))
            raise ConfigError(f"{where}: a zip archive that torch did not save (it holds {listed}): {SAVE_ALONE}")
        return [archive.read(found[0])]


def _foreign(pickles: list[bytes | io.BytesIO], where: str) -> list[str]:
    names: dict[str, None] = {}
    number = 0
    for pickle in pickles:
        nesting = _Nesting()
        for opcode, argument, _ in pickletools.genops(pickle):
            name, number = opcode.name, number + 1
            if number > _PARTS:
                raise ConfigError(f"{where}: its description has more than {_PARTS} parts; {SAVE_ALONE}")
            depth, size = nesting.after(opcode, argument)
            if depth > _DEPTH or size > _SIZE:
                raise ConfigError(f"{where}: its description is nested {depth} deep, of {size} values; {SAVE_ALONE}")
            if name == "PROTO" and isinstance(argument, int) and argument > _PROTOCOL:
                unsafe = f"saved with pickle protocol {argument}, which can't be read safely"
                raise ConfigError(f"{where}: {unsafe}: {SAVE_ALONE}")
            if name == "GLOBAL" and not _is_of_tensors(*str(argument).split(" ", 1)):
                names[one_line(argument).replace(" ", ".", 1)] = None
    return list(names)


class _Nesting:
    """How deep and how large the values on a pickle's stack are, followed by what its opcodes take and give.

    Python hashes a tuple by recursion that nothing stops, and anew at every use: as keys, a million nested ones would
    end the process, and sixty of which each holds the one before twice would never be done.
    """

    def __init__(self) -> None:
        self._stack: list[_Value | None] = []  # None is a mark
        self._memo: dict[object, _Value] = {}

    def after(self, opcode: pickletools.OpcodeInfo, argument: object) -> _Value:
        """Follow one opcode and return the depth and the size of what is on top."""
        if "GET" in opcode.name:
            self._stack.append(self._memo.get(argument, _ATOM))
        elif "PUT" in opcode.name:
            self._memo[argument] = self._top()
        else:
            taken = self._take(len(opcode.stack_before), pickletools.markobject in opcode.stack_before)
            holds = taken.pop() if opcode.name in _FILLING and taken else _ATOM  # what is filled with the others
            depth = max(holds[0], *(value[0] + 1 for value in taken), 0)
            given = depth, holds[1] + sum(value[1] for value in taken)
            self._stack += [None if kind is pickletools.markobject else given for kind in opcode.stack_after]
        return self._top()

    def _top(self) -> _Value:
        return (self._stack[-1] if self._stack else None) or _ATOM

    def _take(self, count: int, marked: bool) -> list[_Value]:
        """Pop what an opcode takes: so many values, or all down to the mark and, of `count` with it, those below."""
        taken: list[_Value] = []
        if marked:
            while self._stack and (value := self._stack.pop()) is not None:
                taken.append(value)
            count -= 2  # the mark and what is above it
        taken += [self._stack.pop() or _ATOM for _ in range(min(max(count, 0), len(self._stack)))]
        return taken


def _is_of_tensors(module: str, name: str = "") -> bool:
    """Tell whether a pickled name is part of tensors by name, as torch writes them."""
    if module == "collections":
        return name in ("OrderedDict", "defaultdict", "Counter")
    if module == "torch":
        return name.endswith("Storage") or name in _PLAIN or isinstance(getattr(torch, name, None), torch.dtype)
    if module in ("builtins", "__builtin__"):
        return name in ("set", "complex", "dict", "int", "float")
    return module in ("torch._utils", "torch.storage", "torch.serialization", "torch._tensor", "torch.nn.parameter")
