"""
Which bytes a column of texts has anywhere: seen in its buffers, whatever they are cut into.
"""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrowetl.types import text_bytes

TEXT = st.none() | st.text(st.sampled_from("ab\t\n\\\0é😀"), max_size=6)


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@given(st.lists(st.lists(TEXT, max_size=5), max_size=4), st.integers(0, 6), st.integers(0, 6))
def test_byte_search_finds_exactly_what_is_there(
    type_: pa.DataType, chunks: list[list[str | None]], skip: int, take: int
) -> None:
    """Of every chunk, and of no text that a slice has left out."""
    column = pa.chunked_array([pa.array(chunk, type_) for chunk in chunks], type_).slice(skip, take)
    there = "".join(text or "" for text in column.to_pylist())

    assert text_bytes.holds(column, "\t\n\\") == any(character in there for character in "\t\n\\")
    assert text_bytes.holds(column, "\0") == ("\0" in there)
