"""Rows of a table of questions: a parquet file, or JSON with a list per column."""

from collections.abc import Iterator
from typing import Any

from kobert_tf2 import files
from kobert_tf2.errors import InputError

_MAGIC = b"PAR1"
# Columns that a table of questions must have; other columns are read too if present.
_NEEDED = ("context", "question")


def is_parquet(path: str) -> bool:
    """Whether this is a parquet file, by its first bytes; the name does not matter."""
    with files.open_binary(path) as file:
        return file.read(len(_MAGIC)) == _MAGIC


def parquet_rows(path: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a parquet file, reading a block at a time; needs pyarrow (the extra `parquet`)."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{path}: a parquet file needs pyarrow: pip install 'kobert_tf2[parquet]'") from None
    with files.open_binary(path) as file:
        try:
            table = pyarrow.parquet.ParquetFile(file)
            missing = [name for name in _NEEDED if name not in table.schema_arrow.names]
            if missing:
                names = ", ".join(table.schema_arrow.names)
                raise InputError(f"{path}: expected a column {missing[0]!r}, but there are only {names}")
            for block in table.iter_batches(batch_size=1024):
                yield from block.to_pylist()
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: pyarrow cannot read it as a parquet file ({reason:.100})") from None


def is_columns(content: object) -> bool:
    """Whether a JSON value is a table of columns: {"context": [...], "question": [...], ...}."""
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in _NEEDED)


def rows_of_columns(columns: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The rows of a table of columns; columns of different lengths raise `InputError`."""
    lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: expected columns of one length, but got {lengths}")
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
