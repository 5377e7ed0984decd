"""TREC's judgments (qrels) and the texts of their topics, into a dataset folder."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.trec import read_qrels, read_topics
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.sources import ImportResult

__all__ = ["import_qrels"]


def import_qrels(
    source: str | Path,
    out: str | Path,
    *,
    topics: str | Path | None = None,
    entity_type: str = "product",
    overwrite: bool = False,
) -> ImportResult:
    """Make a dataset folder from TREC judgments; whole files are held in memory.

    Tables: `judgments`, which keep the `query_id` beside the query's text, and `queries`. A grade below 0 (junk, spam)
    becomes 0 and is counted.

    Parameters
    ----------
    source
        File of lines `query-id 0 entity-id grade`, perhaps `.gz`.
    out
        Dataset folder to write.
    topics
        File of lines `query-id, tab, text`; without it a query's text is its id.
    entity_type
        What the judged things are: "product" or "pin".
    overwrite
        Replace `out` if it exists.

    Raises
    ------
    SettingError
        For an unknown entity type.
    DataError
        For what `read_qrels` and `read_topics` refuse, a query without a topic, and two topics of one text that
        judge one thing.
    OutputError
        Where `out` cannot be written.
    """
    if entity_type not in ("product", "pin"):
        raise SettingError(f"Unknown entity type '{entity_type}'; choose product or pin.")
    judged = read_qrels(source)
    ids = pc.unique(judged["query_id"]).to_pylist()
    texts = {query: query for query in ids} if topics is None else read_topics(topics)
    lacking = next((query for query in ids if query not in texts), None)
    if lacking is not None:
        raise DataError(f"{source} judges the query {lacking!r}, which {topics} lacks; add its text there.")
    by_text: dict[str, str] = {}
    for query in ids:
        other = by_text.setdefault(texts[query], query)
        if other != query:
            raise DataError(
                f"The topics {other!r} and {query!r} in {topics} have one text, {texts[query]!r}; keep one of them."
            )
    notes = [
        f"Grades below 0 in {pc.sum(pc.less(judged['grade'], 0)).as_py():,} judgments became 0.",
        f"{len(texts) - len(ids):,} topics have no judgment and were left out.",
    ]
    if topics is None:
        notes.append("No topics were given: the text of each query is its id. Give --topics FILE to encode queries.")
    table = pa.table(
        {
            "query": pa.array([texts[query] for query in judged["query_id"].to_pylist()], pa.string()),
            "entity_id": judged["entity_id"],
            "entity_type": pa.array([entity_type] * judged.num_rows, pa.string()),
            "grade": pc.cast(pc.max_element_wise(judged["grade"], 0), pa.float64()),
            "query_id": judged["query_id"],
        }
    )
    info = DatasetInfo(
        name=Path(out).name, source=str(Path(source).name), licence="not stated",
        created_by="omnifeat import qrels", notes=notes,
    )  # fmt: skip
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        writer.write("judgments", table)
        writer.write("queries", pa.table({"query": pa.array(list(by_text), pa.string())}))
    return ImportResult(Path(out), dict(writer.counts), notes)
