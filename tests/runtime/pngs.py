"""PNG files, drawn chunk by chunk: sound ones of every kind, and damaged ones."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.formats.png import SIGNATURE, Header

Levels = NDArray[np.integer]


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    sound = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sound if crc is None else crc)


def header(width: int, height: int, color: int, depth: int, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def png(levels: Levels, color: int, depth: int, *extra: bytes, interlaced: bool = False, seed: int = 0) -> bytes:
    """Return a PNG of levels [H, W, samples], each line with a filter by chance."""
    height, width = levels.shape[:2]
    head = header(width, height, color, depth, int(interlaced))
    return assembled(head, *extra, chunk(b"IDAT", zlib.compress(lines(levels, color, depth, interlaced, seed))))


def assembled(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND")


def lines(levels: Levels, color: int, depth: int, interlaced: bool = False, seed: int = 0) -> bytes:
    """Return the lines of a PNG before they are compressed."""
    rng = np.random.default_rng(seed)
    height, width, samples = levels.shape
    head = Header(width, height, depth, color, interlaced)
    made = bytearray()
    for rows, columns, *_ in head.passes():
        part = levels[rows, columns]
        before = np.zeros(head.line(part.shape[1]), np.int64)
        for line in part:
            stored = _packed(line, depth)
            kind = int(rng.integers(5))
            made += (
                bytes([kind])
                + (stored - _foreseen(kind, stored, before, max(1, samples * depth // 8))).astype(np.uint8).tobytes()
            )
            before = stored
    return bytes(made)


def _packed(line: Levels, depth: int) -> NDArray[np.int64]:
    if depth == 16:
        return np.frombuffer(line.astype(">u2").tobytes(), np.uint8).astype(np.int64)
    bits = (line.reshape(-1, 1) >> np.arange(depth)[::-1]) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).astype(np.int64)


def _foreseen(kind: int, line: NDArray[np.int64], above: NDArray[np.int64], pixel: int) -> NDArray[np.int64]:
    """Return what a filter takes from a line (PNG specification, third edition, section 9.2)."""
    left, corner = (np.concatenate([np.zeros(pixel, np.int64), of])[: len(line)] for of in (line, above))
    if kind == 4:
        guess = left + above - corner
        a, b, c = (np.abs(guess - of) for of in (left, above, corner))
        return np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))
    return (np.zeros_like(line), left, above, (left + above) // 2)[kind]
