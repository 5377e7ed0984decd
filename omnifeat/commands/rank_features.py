"""`omnifeat rank features`: features beside the pairs that a ranker learns from or scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, progress, report
from omnifeat.commands.rank_common import write_table

if TYPE_CHECKING:
    import pyarrow as pa


def main(
    pairs: Annotated[str, typer.Argument(help="Dataset folder, or table of pairs (query, entity_id).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")],
    impressions: Annotated[bool, typer.Option("--impressions", help="All features, of the impressions.")] = False,
    judgments: Annotated[bool, typer.Option("--judgments", help="All features, of the judgments.")] = False,
    part: Annotated[
        str | None, typer.Option("--part", help="train, development or test; all rows if not given.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", help="Encoder for cosine features, or NAME=ENCODER to begin their names; repeat."),
    ] = None,
    embeddings: Annotated[
        list[str] | None, typer.Option(help="Embedding table made by `omnifeat embed` with an encoder; repeat.")
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts/--no-counts", help="Count the log and the impressions from before the split.")
    ] = True,
    rrf: Annotated[
        bool,
        typer.Option(
            "--rrf", help="Add the cosine and BM25 fused by their ranks among the request's candidates, as rrf."
        ),
    ] = False,
    window_days: Annotated[int, typer.Option(min=1, help="Days that are counted before a row's day.")] = 28,
    prior_impressions: Annotated[float, typer.Option(help="Impressions that the prior of a click rate weighs.")] = 20.0,
    leave_out_own_query: Annotated[
        bool,
        typer.Option(
            "--leave-out-own-query/--keep-own-query",
            help="Leave a pair's own query out of its entity's engaged queries, where it would give the label away.",
        ),
    ] = True,
    entities: Annotated[
        str | None, typer.Option("--entities", help="For a table of pairs: the table of entities.")
    ] = None,
    text_fields: Annotated[
        str | None, typer.Option("--text-fields", help="Text columns of the entities, with commas between.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a pair cannot be scored.")] = False,
    memory_limit: Annotated[
        str, typer.Option(help="What counting, and the vectors, may take in memory before they go to disk.")
    ] = "4GB",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add features to pairs: with --impressions or --judgments all that a ranker has, otherwise those of text alone."""
    from omnifeat.errors import SettingError

    check_free(output, overwrite)
    if not (impressions or judgments):
        for name, given in (("part", part), ("encoder", encoder), ("embeddings", embeddings), ("rrf", rrf)):
            if given:
                raise SettingError(f"--{name} goes with --impressions or --judgments of a dataset; add one of them.")
        _of_text(pairs, output, entities, text_fields, strict, as_json, overwrite)
        return
    if impressions and judgments:
        raise SettingError("Pairs are taken from --impressions or from --judgments; give one of them.")
    for name, value in (("entities", entities), ("text-fields", text_fields)):
        if value:
            raise SettingError(f"--{name} is for a table of pairs; a dataset has its own. Leave it out.")
    _of_dataset(
        pairs,
        output,
        "impressions" if impressions else "judgments",
        part,
        strict,
        as_json,
        overwrite,
        encoder=encoder or [],
        settings={
            "embeddings": embeddings or [],
            "counts": counts,
            "fused": rrf,
            "window_days": window_days,
            "prior_impressions": prior_impressions,
            "leave_out_own_query": leave_out_own_query,
            "memory_limit": memory_limit,
            "threads": threads,
        },
    )


def _of_dataset(
    path: str,
    output: Path,
    table: str,
    part: str | None,
    strict: bool,
    as_json: bool,
    overwrite: bool,
    *,
    encoder: list[str],
    settings: dict[str, Any],
) -> None:
    """Impressions or judgments with everything that `RankFeatures` computes."""
    from omnifeat.data.dataset import Dataset
    from ranking.feature_table import PairRows, manifest_path, write_feature_table
    from ranking.rank_features import RankFeatures, named_encoders

    dataset = Dataset.open(path)
    rows = PairRows(dataset, table, part)
    plain, named = named_encoders(encoder)
    features = RankFeatures.from_dataset(
        dataset, encoder=plain, encoders=named, entities=rows.entities(), progress=progress, **settings
    )
    with features:
        done = write_feature_table(rows, features, output, strict=strict, overwrite=overwrite, progress=progress)
    used = [column.name for column in done.columns if column.role == "feature"]
    summary = {
        "rows": done.rows,
        "parts": done.parts,
        "unscored": done.unscored,
        "features": used,
        "columns": [column.as_json() for column in done.columns],
        "encoder_fingerprint": done.fingerprint,
        "output": str(output),
        "manifest": str(manifest_path(output)),
    }
    lines = [f"{done.rows:,} {table}, {len(used)} features: {', '.join(used)}"]
    if done.parts:
        lines.append("rows by part: " + ", ".join(f"{name} {count:,}" for name, count in sorted(done.parts.items())))
    if done.unscored:
        lines.append(f"{done.unscored:,} pairs have no query or an unknown entity; their features are null.")
    report(summary, as_json, [*lines, f"Wrote {output} and {manifest_path(output)}"])


def _of_text(
    pairs: str,
    output: Path,
    entities: str | None,
    text_fields: str | None,
    strict: bool,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Token matches, lengths and price beside the pairs."""
    import pyarrow.compute as pc

    from omnifeat.data.files import read_table
    from omnifeat.data.id_texts import id_texts
    from omnifeat.data.meeting import nothing_shared
    from omnifeat.errors import DataError, SettingError
    from ranking.lexical_features import lexical_features

    pair_table, entity_table = _pairs_and_entities(pairs, entities)
    fields = text_fields.split(",") if text_fields else None
    catalogue: Any = read_table(entities) if entities else entity_table  # one of the two is there
    columns = lexical_features(pair_table, catalogue, fields)
    unscored = pc.is_null(columns["bm25_text"])
    count = pc.sum(unscored).as_py() or 0
    ids = [
        pc.unique(id_texts(table[column], f"column '{column}'")).drop_null()
        for table, column in ((pair_table, "entity_id"), (catalogue, "id"))
    ]
    if count == pair_table.num_rows and len(ids[0]) and not pc.any(pc.is_in(*ids)).as_py():
        some, others = (one.slice(0, 100_000).to_pylist() for one in ids)
        raise DataError(nothing_shared("entity_id", pairs, some, entities or "the catalogue", others))
    if strict and count:
        row = pc.index(unscored, True).as_py()
        raise DataError(
            f"Pair in row {row + 1} of {pairs} (query {pair_table['query'][row].as_py()!r}, entity "
            f"{pair_table['entity_id'][row].as_py()!r}) has no query or an unknown entity; correct it, "
            "or leave out --strict."
        )
    result = pair_table
    for name in columns.column_names:
        if name in pair_table.column_names:
            raise SettingError(f"Table {pairs} has a column {name!r} already; rename it first.")
        result = result.append_column(name, columns[name])
    write_table(output, result, overwrite=overwrite)
    summary = {
        "rows": result.num_rows,
        "unscored": count,
        "features": columns.column_names,
        "output": str(output),
    }
    lines = [f"{result.num_rows:,} pairs, {columns.num_columns} features: {', '.join(columns.column_names)}"]
    if count:
        lines.append(f"{count:,} pairs could not be scored (no query, or an unknown entity); their features are null.")
    report(summary, as_json, [*lines, f"Wrote {output}"])


def _pairs_and_entities(pairs: str, entities: str | None) -> tuple["pa.Table", "pa.Table | None"]:
    """The pairs, and, for a dataset folder, its catalogue with a column that says pin or product."""
    import pyarrow as pa

    from omnifeat.data.dataset import Dataset
    from omnifeat.data.files import read_table
    from omnifeat.errors import DataError, SettingError
    from ranking.judgments import agreed_grades
    from ranking.lexical_features import TEXT_FIELDS

    if not (Path(pairs) / "dataset.json").is_file():
        if entities is None:
            raise SettingError(f"{pairs} is no dataset folder, so say with --entities where the entities are.")
        return read_table(pairs), None
    dataset = Dataset.open(pairs)
    dataset.require("judgments", "query", "entity_id", "grade")
    parts = []
    for name, entity_type in (("pins", "pin"), ("products", "product")):
        if dataset.has(name):
            columns = [c for c in ("id", *TEXT_FIELDS, "price") if dataset.has_column(name, c)]
            part = dataset.read(name, columns=columns)
            parts.append(part.append_column("entity_type", pa.array([entity_type] * part.num_rows, pa.string())))
    if not parts:
        raise DataError(f"Dataset {pairs} has neither pins nor products; name a table with --entities.")
    catalogue = pa.concat_tables(parts, promote_options="permissive")
    return agreed_grades(dataset.read("judgments")), catalogue
