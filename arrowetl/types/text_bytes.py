"""
Texts as bytes: whether a column of text has certain ones anywhere, which it seldom has; and texts read as hex.

Pure. A column's texts lie one after another in one buffer: the C
library looks through it at memory's speed, where a look at each text costs 20
to 50 ns. `to_postgres` asks for NUL, `to_infile` for what is to be escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from arrowetl import lazy

if TYPE_CHECKING:
    import polars as pl
else:
    pl = lazy.module("polars")

HEX_AND_TEXT = r"(?s)^([0-9A-F]*)([=!])(.*)$"
"""A text that was read as hex: its bytes in hexadecimal, `=` or `!`, the text."""


def series(column: pa.Array | pa.ChunkedArray) -> pl.Series:
    """A column as polars has it."""
    return pl.Series(pl.from_arrow(column))


def holds(column: pa.ChunkedArray, characters: str) -> bool:
    """
    Whether some text has one of these characters, which are ASCII.

    >>> holds(pa.chunked_array([["a", None, "b\\\\tc"]]), "\\\\t\\\\n")
    True
    >>> holds(pa.chunked_array([pa.array(["\\\\t", "a"])]).slice(1), "\\\\t\\\\n")
    False
    """
    return any(_in_chunk(chunk, characters) for chunk in column.chunks)


def _in_chunk(chunk: pa.Array, characters: str) -> bool:
    if pa.types.is_string_view(chunk.type):
        chunk = chunk.cast(pa.large_string())
    _, edges, texts = chunk.buffers()
    if not len(chunk) or texts is None:
        return False
    offsets = memoryview(edges).cast("q" if chunk.type == pa.large_string() else "i")
    held = bytes(memoryview(texts)[offsets[chunk.offset] : offsets[chunk.offset + len(chunk)]])
    return any(character.encode() in held for character in characters)
