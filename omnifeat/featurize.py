"""Cosine features of (query, entity) pairs, from a frozen encoder: the main job.

Pairs are read twice. The first reading looks at their queries and entity ids alone and numbers the distinct ones;
those are then encoded once each, or looked up in embedding tables. The second reading gathers the vectors by number,
a batch at a time, and writes the pairs with their features. What is held is the vectors of the distinct queries and
entities (in a mapped file beyond the memory limit), their texts, and a batch of pairs.

| column | what it is |
|---|---|
| `cosine` | of the learned query and entity embeddings |
| `cosine_<w>` | the same over the first w dimensions, for each prefix width that was trained |
| `cosine_pinsage`, `cosine_itemsage` | of the query embedding and the entity's existing embedding (section 3.4.3) |
| `max_cosine_engaged_queries`, `mean_cosine_engaged_queries` | of the query and the entity's engaged queries |
| `trained_on` | `pair`, `query` or `neither`: which of them the encoder was trained on; only where it records that |
| `unscored` | null, or why the pair has no cosine |

All cosines are float32 within [-1, 1]. A pair that cannot be scored has nulls and the reason. A pair whose entity lacks
PinSage, say, or engaged queries, is scored and has a null in those columns only.
"""

import os
from typing import Any

import pyarrow as pa

from omnifeat.ahead import ahead
from omnifeat.cores import thread_count
from omnifeat.data.files import TableWriter, iter_batches, read_schema
from omnifeat.data.locations import is_url, local_path
from omnifeat.data.publishing import refuse_taken
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import entity_sources
from omnifeat.errors import SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.pair_features import (
    FeatureOptions,
    FeaturizeReport,
    PairTable,
    featurize_table,
    featurized_batches,
    make_report,
    output_schema,
    prepare,
)
from omnifeat.pair_vectors import Progress, no_progress
from omnifeat.scratch import Scratch, parse_bytes

__all__ = ["FeaturizeReport", "featurize", "featurize_file"]

BATCH_SIZE = 65_536
MEMORY_LIMIT = "4GB"


def _load_encoder(encoder: Any, threads: int | None) -> tuple[FrozenEncoder, str]:
    if isinstance(encoder, str | os.PathLike):
        return FrozenEncoder.from_pretrained(os.fspath(encoder), threads=threads), os.fspath(encoder)
    return encoder, "the given encoder"


def _options(
    *,
    encoder: Any,
    entities: Any,
    embeddings: Any,
    entity_type: str | None,
    leave_out_own_query: bool,
    column_prefix: str,
    strict: bool,
    batch_size: int,
    memory_limit: str | int,
    threads: int | None,
    progress: Progress,
) -> FeatureOptions:
    if batch_size < 1:
        raise SettingError(f"The 'batch_size' setting must be 1 or more. Got {batch_size} instead.")
    limit, workers = parse_bytes(memory_limit), thread_count(threads)
    paths = [embeddings] if isinstance(embeddings, str | os.PathLike) else list(embeddings or ())
    frozen, name = _load_encoder(encoder, threads)
    tables = [EmbeddingTable.open(os.fspath(path)) for path in paths]
    for table in tables:
        table.check_encoder(name, frozen.fingerprint, frozen.dim)
    if entities is None and not any(table.kind == "entities" for table in tables):
        raise SettingError("There are no entities to score: give a table of entities, or an embedding table of them.")
    return FeatureOptions(
        encoder=frozen,
        encoder_name=name,
        sources=[] if entities is None else entity_sources(entities, entity_type),
        tables=tables,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=limit,
        threads=workers,
        progress=progress,
    )


def featurize(
    pairs: Any,
    *,
    encoder: FrozenEncoder | str | os.PathLike[str],
    entities: Any = None,
    embeddings: Any = None,
    entity_type: str | None = None,
    leave_out_own_query: bool = True,
    column_prefix: str = "",
    strict: bool = False,
    batch_size: int = BATCH_SIZE,
    memory_limit: str | int = MEMORY_LIMIT,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Any:
    """Add cosine features to a table of pairs that is in memory; `featurize_file` does the same from file to file.

    Parameters
    ----------
    pairs : pandas, Polars or Arrow table with text columns `query`, `entity_id` and maybe `entity_type` (`pin`,
        `product`, or `query`, where `entity_id` is the text of a query). Other columns are kept.
    encoder : a `FrozenEncoder`, or the folder or hub name of one.
    entities : table of entities with a column `id`, its path, a dataset folder (then its pins and products), or a list
        of these. May be left out where `embeddings` hold the entities.
    embeddings : path or paths of embedding tables made by `omnifeat embed` with this encoder. Queries and entities that
        they hold are not encoded.
    entity_type : type of all `entities`, where the tables don't say it.
    leave_out_own_query : leave a pair's own query out of its entity's engaged queries. Left in, a pair that was engaged
        has a largest cosine of 1 for no other reason than that it was engaged: a label in disguise.
    column_prefix : put before the names of the new columns.
    strict : fail at the first pair that cannot be scored.
    batch_size : pairs worked on at once.
    memory_limit : what the vectors may take in memory, such as `4GB`; beyond it they are kept in a temporary file.
    threads : all cores if not given.
    progress : shows progress; nothing if not given.

    Returns
    -------
    The same type of table with float32 columns `cosine`, ... and text `trained_on` and `unscored`; rows in their order,
    a pandas index kept.

    Raises
    ------
    DataError
        If a table, column or id is not what it must be.
    FingerprintError
        If an embedding table was made by another encoder; names both.
    SettingError
        If a setting is not what it must be.
    """
    options = _options(
        encoder=encoder,
        entities=entities,
        embeddings=embeddings,
        entity_type=entity_type,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=memory_limit,
        threads=threads,
        progress=progress,
    )
    return featurize_table(pairs, options)


def featurize_file(
    pairs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    encoder: FrozenEncoder | str | os.PathLike[str],
    entities: Any = None,
    embeddings: Any = None,
    entity_type: str | None = None,
    leave_out_own_query: bool = True,
    column_prefix: str = "",
    strict: bool = False,
    batch_size: int = BATCH_SIZE,
    memory_limit: str | int = MEMORY_LIMIT,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> FeaturizeReport:
    """Add cosine features to a table of pairs in a file, streaming: CSV, JSONL, Parquet or Arrow by suffix.

    Parameters are those of `featurize`; `out` appears when it is whole.

    Raises
    ------
    DataError, FingerprintError, SettingError
        As `featurize`.
    OutputError
        If `out` exists and `overwrite` is not set, or cannot be written.
    """
    target = os.fspath(out)
    if not is_url(target):
        refuse_taken(local_path(target), target, overwrite)
    path = os.fspath(pairs)
    schema_of_pairs = read_schema(path, by_name="keys")
    options = _options(
        encoder=encoder,
        entities=entities,
        embeddings=embeddings,
        entity_type=entity_type,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=memory_limit,
        threads=threads,
        progress=progress,
    )
    source = PairTable(
        path,
        schema_of_pairs,
        lambda columns, size: iter_batches(path, columns=columns, batch_size=size, by_name="keys"),
    )
    schema = output_schema(source, options)
    with Scratch(options.memory_limit) as scratch, TableWriter(target, schema, overwrite=overwrite) as writer:
        state = prepare(source, options, scratch)
        for batch, columns in ahead(featurized_batches(source, state, options, None), options.threads):
            writer.write(pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema))
        return make_report(state, options)
