"""The rows of one table on their way from a file into a dataset folder: converted, checked, counted.

Tables stream through in batches; nothing but one batch and the distinct ids is held in memory.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.schema import TIMESTAMP, VECTOR, Column, TableSchema
from omnifeat.data.times import UNIT_NAMES, likely_unit, odd_times
from omnifeat.errors import DataError
from omnifeat.importers.cells import holds_ids, unwrapped
from omnifeat.importers.conversion import UnreadableError, convert_column, null_hint
from omnifeat.importers.number_texts import NumberForm, currencies
from omnifeat.importers.plain_text import HUMAN_TEXT, plain_texts
from omnifeat.importers.reading import Source
from omnifeat.importers.table_plan import Plan
from omnifeat.importers.table_tally import Tally, commonest

__all__ = ["Formats", "convert", "converted_batches", "told_of"]


@dataclass(frozen=True)
class Formats:
    """How lists, times, numbers and texts are written in the files, and whether HTML in texts stays."""

    list_separator: str
    time_unit: str
    keep_html: bool


def convert(
    plan: Plan, batch: pa.RecordBatch, known: Column, first_row: int, formats: Formats, tally: Tally | None = None
) -> pa.Array:
    """One column of a batch in its type, each row from the first of its sources that has something there.

    Values of a lenient column that cannot be converted are left empty.
    """
    found = _convert_source(plan, batch, known, first_row, formats, tally)
    for column in plan.further.get(known.name, ()):
        empty = _absent(found)
        if not pc.any(empty).as_py():
            break
        other = replace(plan, columns={**plan.columns, known.name: column})
        rest = _convert_source(other, batch, known, first_row, formats, tally)
        found = rest if pc.all(empty).as_py() else pc.if_else(empty, rest, found)
    return found


def _convert_source(
    plan: Plan, batch: pa.RecordBatch, known: Column, first_row: int, formats: Formats, tally: Tally | None
) -> pa.Array:
    values = batch.column(plan.columns[known.name])
    try:
        return _convert_values(plan, values, known, first_row, formats)
    except DataError as error:
        if known.name not in plan.lenient:
            raise
        wrong = list(_unreadable(plan, values, known, first_row, formats))
        if tally is not None:
            tally.emptied[known.name] += len(wrong)
            tally.first_emptied.setdefault(known.name, told_of(error))
            if known.choices:
                texts = values.take(pa.array(wrong)).cast(pa.string())
                tally.unknown.setdefault(known.name, Counter()).update(texts.to_pylist())
        mask = pc.is_in(pa.array(range(len(values))), pa.array(wrong))
        return _convert_values(plan, _emptied(values, mask), known, first_row, formats)


def told_of(error: DataError) -> str:
    """What an error says, without what to do about it."""
    return error.what if isinstance(error, UnreadableError) else str(error).rstrip(".")


def _convert_values(plan: Plan, values: pa.Array, known: Column, first_row: int, formats: Formats) -> pa.Array:
    converted = convert_column(
        values, known, file=plan.path, source=plan.columns[known.name], first_row=first_row,
        list_separator=formats.list_separator, time_unit=formats.time_unit,
        numbers=plan.numbers.get(known.name, NumberForm()), width=plan.widths.get(known.name),
        remedy=plan.remedy(known),
    )  # fmt: skip
    renamed = plan.values.get(known.name)
    if renamed:
        texts, meant = pa.array(list(renamed), pa.string()), pa.array(list(renamed.values()), pa.string())
        converted = pc.coalesce(meant.take(pc.index_in(converted.cast(pa.string()), texts)), converted)
    if known.choices and known.name not in plan.typed:
        if not known.key:  # nothing was done: a blank is as good as null
            converted = pc.if_else(_absent(converted), pa.scalar(None, pa.string()), converted)
        _check_choices(plan, known, converted, first_row)
    return converted


def _check_choices(plan: Plan, known: Column, values: pa.Array, first_row: int) -> None:
    strange = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(known.choices, pa.string()))))
    strange = pc.and_(strange, pc.invert(_absent(values)))
    if pc.any(strange).as_py():
        position, target = pc.index(strange, True).as_py(), f"{plan.table}.{known.name}"
        found = values[position].as_py()
        # a text with line ends cannot be given as an option
        which = f"say which of them it is with --value {target}:{found}=VALUE, " if found.isprintable() else ""
        others = Counter(values.filter(strange).to_pylist())
        counted = f" (the first {len(values):,} rows hold {commonest(others)})" if len(others) > 1 else ""
        hint = null_hint(found)
        raise UnreadableError(
            f"{plan.path}, column '{plan.columns[known.name]}', row {first_row + position}: {found!r} is not one of "
            f"{', '.join(known.choices)}{counted}",
            f"{f'{hint}, ' if hint else ''}correct it, {which}set one value for all rows with --set {target}=VALUE, or "
            f"leave such rows out with --empty-if-unreadable {target} --skip-rows-without {target}",
        )


def _unreadable(
    plan: Plan, values: pa.Array, known: Column, first_row: int, formats: Formats, begin: int = 0
) -> Iterator[int]:
    """Positions of the values that cannot be converted, found by halves."""
    try:
        _convert_values(plan, values, known, first_row, formats)
    except DataError:
        if len(values) == 1:
            yield begin
            return
        half = len(values) // 2
        yield from _unreadable(plan, values.slice(0, half), known, first_row, formats, begin)
        yield from _unreadable(plan, values.slice(half), known, first_row, formats, begin + half)


def converted_batches(plan: Plan, source: Source, formats: Formats, tally: Tally) -> Iterator[pa.RecordBatch]:
    """The batches of one table in the types of the schema; tells in `tally` what was met."""
    seen: dict[tuple[Any, ...], int] = {}
    wanted = list(dict.fromkeys(column for name in plan.columns for column in plan.sources(name)))
    typed = {column for name in plan.columns if plan.known(name) is not None for column in plan.sources(name)}
    inferred = [column for column in wanted if column not in typed]
    for read in source.batches(wanted, inferred, tally.nulls):
        first_row = tally.rows + 1
        tally.rows += read.num_rows
        kept, batch = _without_skipped(plan, read, first_row, formats, tally)
        columns: dict[str, pa.Array] = {}
        for name, column in plan.columns.items():
            known = plan.known(name)
            if known is None:
                columns[name] = batch.column(column)
                continue
            values = convert(plan, batch, known, first_row, formats, tally)
            if name in plan.widths and pa.types.is_null(values.type):
                values = values.cast(_vector_type(known, plan.widths[name]))
            values = _plain(plan, name, values, formats, tally)
            _check_values(plan, known, values, kept, first_row)
            _note(plan, known, batch, values, first_row, formats, tally)
            columns[name] = values
        for name, value in plan.constants.items():
            columns[name] = _constant(plan, name, value, batch.num_rows, formats)
        kept = _check_unique(plan, columns, kept, first_row, seen, tally)
        made = pa.RecordBatch.from_pydict(_in_order(plan.schema, columns))
        if kept is not None:
            made = made.filter(kept)
        tally.written += made.num_rows
        if "title" in plan.columns and plan.schema.column("title") is not None:
            tally.untitled += pc.sum(_absent(made.column("title"))).as_py() or 0
        yield made
    if tally.written == 0:
        why = f" after {tally.rows:,} were left out" if tally.rows else ""
        unread = "; ".join(f"'{name}' holds {commonest(texts)}" for name, texts in tally.unknown.items())
        if unread:
            why += f" ({unread}: say with --value what such a text stands for)"
        raise DataError(f"{plan.path} holds no rows{why}; give a file with rows, or leave --{plan.table} out.")


def _without_skipped(
    plan: Plan, batch: pa.RecordBatch, first_row: int, formats: Formats, tally: Tally
) -> tuple[pa.Array | None, pa.RecordBatch]:
    """Which rows stay (None for all), and the batch with nothing in the others: they must not stop the import."""
    kept: pa.Array | None = None
    for name in plan.skip:
        known = plan.known(name)
        if known is None:
            values = batch.column(plan.columns[name])
        else:
            # what cannot be read is counted here: its row is emptied before the columns are converted
            values = convert(plan, batch, known, first_row, formats, tally)
            values = _plain(plan, name, values, formats, Tally())
        there = pc.invert(_absent(values))
        before = batch.num_rows if kept is None else pc.sum(kept).as_py()
        kept = there if kept is None else pc.and_(kept, there)
        tally.skipped[name] += before - (pc.sum(kept).as_py() or 0)
    if kept is None or pc.all(kept).as_py():
        return None, batch
    columns = [_emptied(column, pc.invert(kept)) for column in batch.columns]
    return kept, pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _emptied(values: pa.Array, where: pa.Array) -> pa.Array:
    """The values with nothing in some places. By taking them, which all types can, unlike a choice by a mask."""
    places = pc.if_else(where, pa.scalar(None, pa.int64()), pa.array(range(len(values)), pa.int64()))
    return values.take(places)


def _absent(values: pa.Array) -> pa.Array:
    """Where there is nothing: null, or text that is blank."""
    if pa.types.is_string(values.type):
        return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), True)
    return pc.is_null(values)


def _plain(plan: Plan, name: str, values: pa.Array, formats: Formats, tally: Tally) -> pa.Array:
    if formats.keep_html or name not in HUMAN_TEXT:
        return values
    plain, count = plain_texts(values)
    tally.html[name] += count
    return plain


def _note(
    plan: Plan,
    known: Column,
    batch: pa.RecordBatch,
    values: pa.Array,
    first_row: int,
    formats: Formats,
    tally: Tally,
) -> None:
    read = batch.column(plan.columns[known.name])
    if holds_ids(known):
        for column in plan.sources(known.name):
            _note_unwrapped(known.name, batch.column(column), tally)
    if pa.types.is_floating(read.type):
        tally.not_numbers[known.name] += pc.sum(pc.is_nan(read)).as_py() or 0
    if known.name == "price" and pa.types.is_string(read.type):
        tally.currencies += currencies(read.filter(pc.is_valid(values)).to_pylist())
    if known.type == TIMESTAMP:
        odd = odd_times(values)
        if odd is not None:
            _refuse_other_unit(plan, known, read, values, odd.first_row, first_row, formats)
            tally.odd_times[known.name] += odd.rows
            tally.first_odd.setdefault(known.name, (first_row + odd.first_row, odd.first, odd.reason))


def _note_unwrapped(name: str, read: pa.Array, tally: Tally) -> None:
    if not pa.types.is_string(read.type):
        return
    ids = unwrapped(read)
    changed = pc.fill_null(pc.not_equal(ids, read), False)
    if pc.any(changed).as_py():
        first = pc.index(changed, True).as_py()
        tally.unwrapped[name] += pc.sum(changed).as_py()
        tally.first_unwrapped.setdefault(name, (read[first].as_py(), ids[first].as_py()))


def _refuse_other_unit(
    plan: Plan, known: Column, read: pa.Array, times: pa.Array, position: int, first_row: int, formats: Formats
) -> None:
    """Raise where another unit would make the column plausible: 1970 comes of seconds taken for milliseconds."""
    if pa.types.is_string(read.type):
        counts = read.filter(pc.fill_null(pc.match_substring_regex(read, r"^\s*-?[0-9]{1,18}\s*$"), False))
        numbers = pc.utf8_trim_whitespace(counts).cast(pa.int64())
    elif pa.types.is_integer(read.type) or pa.types.is_floating(read.type):
        numbers = read
    else:
        return
    unit = likely_unit(numbers)
    if unit is not None and unit != formats.time_unit:
        raise DataError(
            f"{plan.path}, column '{plan.columns[known.name]}', row {first_row + position}: {read[position].as_py()!r} "
            f"is {times[position].as_py():%Y-%m-%d} if it counts {UNIT_NAMES[formats.time_unit]}, but looks like "
            f"{UNIT_NAMES[unit]}; say --time-unit {unit}."
        )


def _vector_type(known: Column, width: int) -> pa.DataType:
    vector = pa.list_(pa.float32(), width)
    return vector if known.type is VECTOR else pa.list_(vector)


def _in_order(schema: TableSchema, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    known = [column.name for column in schema.columns if column.name in columns]
    return {name: columns[name] for name in [*known, *(name for name in columns if name not in known)]}


def _constant(plan: Plan, name: str, value: str, rows: int, formats: Formats) -> pa.Array:
    texts = pa.array([value] * rows, pa.string())
    known = plan.schema.column(name)
    if known is None:
        return texts
    return convert_column(
        texts, known, file=f"--set {plan.table}.{name}", source=name, first_row=1,
        list_separator=formats.list_separator, time_unit=formats.time_unit, remedy=plan.remedy(known),
    )  # fmt: skip


def _check_values(plan: Plan, known: Column, values: pa.Array, kept: pa.Array | None, first_row: int) -> None:
    """Raise for the first key that is null or blank, or null where there must be a value."""
    if known.name in plan.typed:
        return
    where = f"{plan.path}, column '{plan.columns[known.name]}', row"
    target = f"{plan.table}.{known.name}"
    if known.key or not known.nullable:
        absent = _absent(values) if known.key else pc.is_null(values)
        absent = absent if kept is None else pc.and_(absent, kept)
        if pc.any(absent).as_py():
            row = first_row + pc.index(absent, True).as_py()
            raise DataError(
                f"{where} {row}: there is no value, but '{target}' must have one; fill it in, or leave such rows out "
                f"with --skip-rows-without {target}."
            )


def _check_unique(
    plan: Plan,
    columns: Mapping[str, pa.Array],
    kept: pa.Array | None,
    first_row: int,
    seen: dict[tuple[Any, ...], int],
    tally: Tally,
) -> pa.Array | None:
    """Which rows stay (None for all): those that were kept, without repeated ids where the first is to be kept."""
    key = [name for name in plan.schema.unique_key if name in columns]
    if not key:
        return kept
    stay = [True] * len(columns[key[0]]) if kept is None else kept.to_pylist()
    for position, values in enumerate(zip(*(columns[name].to_pylist() for name in key), strict=True)):
        if not stay[position]:
            continue
        row = first_row + position
        earlier = seen.setdefault(values, row)
        if earlier != row and plan.keep_first:
            stay[position] = False
            tally.repeated += 1
        elif earlier != row:
            shown = ", ".join(repr(value) for value in values)
            raise DataError(
                f"{plan.path}, row {row}: the {' and '.join(key)} {shown} stands in row {earlier} too; keep one, or "
                f"take the first row of each with --keep-first {plan.table}."
            )
    return None if all(stay) else pa.array(stay)
