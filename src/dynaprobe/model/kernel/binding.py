"""How XLA calls the kernels: a handler reads the call frame of XLA's stable C interface and passes arrays on.

The frame is a C struct (`xla/ffi/api/c_api.h`, shipped with jaxlib); the offsets below are those of interface 0.x
on 64-bit machines. A handler that XLA asks for its version answers with the one XLA has: what is read here has not
changed within major version 0, and `is_offered` looks at the major version first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax.ffi
import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from dynaprobe.model.kernel.backward import Cotangents, Gradients, backward
from dynaprobe.model.kernel.decorators import inner
from dynaprobe.model.kernel.elementwise import KINDS
from dynaprobe.model.kernel.forward import Drive, Weights, forward
from dynaprobe.model.kernel.programs import stamp_of_sources, with_cache
from dynaprobe.model.kernel.scratch import pointer_to, to_f32

MAJOR_VERSION = 0
# Byte offsets in XLA_FFI_CallFrame, XLA_FFI_Buffer, the metadata extension and XLA_FFI_Metadata.
_EXTENSION, _API, _ARGUMENTS, _RESULTS = 8, 16, 72, 112
_BUFFER_DATA, _BUFFER_SHAPE = 24, 40
_EXTENSION_TYPE, _METADATA_TYPE, _METADATA = 8, 1, 24
_API_VERSION, _METADATA_VERSION = 32, 24


def is_offered(name: str) -> bool:
    """Whether there is a kernel for an activation, and this jaxlib speaks the interface it is written for."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    if name not in KINDS or sys.maxsize < 2**32 or sys.byteorder != "little" or not header.is_file():
        return False
    found = re.search(r"#define XLA_FFI_API_MAJOR (\d+)", header.read_text(encoding="utf-8"))
    return found is not None and int(found.group(1)) == MAJOR_VERSION


_to_u32, _to_i64 = pointer_to(types.uint32), pointer_to(types.int64)


@intrinsic
def _copy_word(typing_context: Any, target: Any, source: Any) -> Any:  # noqa: ARG001
    """Copy 8 bytes from one address to another."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del signature
        target, source = (builder.inttoptr(arg, ir.IntType(64).as_pointer()) for arg in args)
        builder.store(builder.load(source), target)
        return context.get_dummy_value()

    return types.void(target, source), emit


@inner
def _word(address):
    return carray(_to_i64(address), 1)[0]


@inner
def _buffer(frame, list_offset, index):
    """Address of the data and of the shape of an argument or a result."""
    buffer = _word(_word(frame + list_offset) + 8 * index)
    return _word(buffer + _BUFFER_DATA), _word(buffer + _BUFFER_SHAPE)


@inner
def _one(frame, list_offset, index):
    data, shape = _buffer(frame, list_offset, index)
    return carray(to_f32(data), _word(shape))


@inner
def _two(frame, list_offset, index):
    data, shape = _buffer(frame, list_offset, index)
    return carray(to_f32(data), (_word(shape), _word(shape + 8)))


@inner
def _three(frame, list_offset, index):
    data, shape = _buffer(frame, list_offset, index)
    return carray(to_f32(data), (_word(shape), _word(shape + 8), _word(shape + 16)))


@inner
def _asks_for_version(frame):
    """Answer XLA's question at registration; whether it was one."""
    extension = _word(frame + _EXTENSION)
    if extension == 0 or np.int32(_word(extension + _EXTENSION_TYPE)) != _METADATA_TYPE:
        return False
    _copy_word(_word(extension + _METADATA) + _METADATA_VERSION, _word(frame + _API) + _API_VERSION)
    return True


@inner
def _operands(frame):
    a = _ARGUMENTS
    weights = Weights(_two(frame, a, 0), _two(frame, a, 1), _one(frame, a, 2), _two(frame, a, 3))
    scales, words = _one(frame, a, 6), carray(_to_u32(_buffer(frame, a, 7)[0]), 5)
    stream = (words[0], words[1], words[2], words[3])
    drive = Drive(_two(frame, a, 4), _three(frame, a, 5), scales[0], scales[1], stream, words[4])
    return weights, drive


def _handlers(stamp: str) -> dict[str, Callable[[Any], int]]:
    """The two handlers. The stamp is part of what numba files their compiled code under."""

    def simulate(frame):
        if stamp and not _asks_for_version(frame):
            weights, drive = _operands(frame)
            r = _RESULTS
            forward(weights, drive, _two(frame, r, 0), _three(frame, r, 1), _two(frame, r, 2), _three(frame, r, 3))
        return 0

    def differentiate(frame):
        if stamp and not _asks_for_version(frame):
            weights, drive = _operands(frame)
            a, r = _ARGUMENTS, _RESULTS
            last, outputs, power = _two(frame, a, 9), _three(frame, a, 10), _two(frame, a, 11)
            cotangents = Cotangents(last, outputs, power, _three(frame, a, 12), _two(frame, a, 13))
            of_weights = (_two(frame, r, 0), _two(frame, r, 1), _one(frame, r, 2), _two(frame, r, 3))
            gradients = Gradients(*of_weights, _two(frame, r, 4), _two(frame, r, 5))
            backward(weights, drive, _three(frame, a, 8), cotangents, gradients)
        return 0

    return {"simulate": simulate, "differentiate": differentiate}


@cache
def register() -> tuple[str, str]:
    """Compile the kernels, or load them from the cache of compiled programs, and make them known to XLA.

    Returns:
        Names to call simulation and gradient by.
    """
    stamp, names = stamp_of_sources(), []
    handlers = _handlers(stamp)

    def compile_all(kept: bool) -> list[Any]:
        return [numba.cfunc(types.int64(types.int64), cache=kept)(handler) for handler in handlers.values()]

    for name, compiled in zip(handlers, with_cache(compile_all), strict=True):
        _KEEP.append(compiled)
        names.append(f"dynaprobe_{name}_{stamp}")
        jax.ffi.register_ffi_target(names[-1], jax.ffi.pycapsule(compiled.ctypes), platform="cpu")
    return names[0], names[1]


# XLA holds bare addresses: the code behind them must live as long as the process.
_KEEP: list[Any] = []
