"""What a guest module must look like before anything of it runs.

Calls into a guest are unchecked (see `wasm.py`): a wrong signature would write past the arguments.
So a module is looked at once, when it is compiled and when its imports are resolved:
- its exports have exactly the signatures of the guest ABI, and its memory has 32 bit addresses;
- it has no start function: a guest runs only when the host calls it, under a deadline.

It does not validate code: the compiler does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import wasmtime

from cloche.engine.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER_BYTES: Final = 8
_START_SECTION: Final = 8


def check_exports(module: wasmtime.Module, signatures: Mapping[str, str]) -> None:
    """Check a module's exports.

    Args:
        module: compiled.
        signatures: of each function that the host calls, as "ii>i": parameters, ">", results.

    Raises:
        ImageError: an export is missing or is something else.
    """
    found = {export.name: export.type for export in module.exports}
    memory = found.get("memory")
    if not isinstance(memory, wasmtime.MemoryType) or memory.is_64 or memory.is_shared:
        raise ImageError("the guest module does not export a memory with 32 bit addresses")
    for name, signature in signatures.items():
        exported = _signature(found.get(name))
        if exported != signature:
            raise ImageError(
                f"the guest module exports {name} as {exported}, expected {signature}; "
                "it was made for another version of cloche",
                export=name,
                found=exported,
                expected=signature,
            )


def _signature(exported: object) -> str:
    if exported is None:
        return "nothing"
    if not isinstance(exported, wasmtime.FuncType):
        return "no function"
    parameters, results = (
        "".join("i" if str(kind) == "i32" else f"({kind})" for kind in kinds)
        for kinds in (exported.params, exported.results)
    )
    return f"{parameters}>{results}"


def has_start(wasm: bytes) -> bool:
    """Whether a valid module in binary form has a start function.

    Source: WebAssembly core specification 2.0, section 5.5, binary format of modules.
    """
    at = _HEADER_BYTES
    while at < len(wasm):
        section = wasm[at]
        if section == _START_SECTION:
            return True
        at, size, shift = at + 1, 0, 0
        while True:
            byte = wasm[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a LEB128 number
                break
        at += size
    return False
