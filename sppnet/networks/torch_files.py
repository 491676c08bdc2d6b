"""What a file that torch saved holds, told without loading it: bounds, kinds, and what is pickled in it.

Nothing is unpickled here: opcodes are read (`pickletools`), never executed.
"""

from __future__ import annotations

import io
import pickletools
import zipfile

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
    parts = ((opcode.name, argument) for pickle in pickles for opcode, argument, _ in pickletools.genops(pickle))
    for number, (name, argument) in enumerate(parts):
        if number > _PARTS:
            raise ConfigError(f"{where}: its description has more than {_PARTS} parts; {SAVE_ALONE}")
        if name == "PROTO" and isinstance(argument, int) and argument > _PROTOCOL:
            raise ConfigError(
                f"{where}: saved with pickle protocol {argument}, which can't be read safely: {SAVE_ALONE}"
            )
        if name == "GLOBAL" and not _is_of_tensors(*str(argument).split(" ", 1)):
            names[one_line(argument).replace(" ", ".", 1)] = None
    return list(names)


def _is_of_tensors(module: str, name: str = "") -> bool:
    """Tell whether a pickled name is part of tensors by name, as torch writes them."""
    if module == "collections":
        return name in ("OrderedDict", "defaultdict", "Counter")
    if module == "torch":
        return "." not in name and not name.endswith("Tensor")
    if module in ("builtins", "__builtin__"):
        return name in ("set", "complex", "dict", "int", "float")
    return module in ("torch._utils", "torch.storage", "torch.serialization", "torch._tensor", "torch.nn.parameter")
