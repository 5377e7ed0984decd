"""A corpus in embedding tables: the same ranks as in memory, and what is wrong with tables said in one sentence."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from evaluation.groups import SEEN
from evaluation.recall import EvaluationPairs, ranks_from_embeddings
from evaluation.recall_study import RecallSettings, recall_studies
from evaluation.seen_pairs import NEW_PAIRS, SEEN_PAIRS
from evaluation.streamed import ranks_from_tables
from omnifeat.cli import app
from omnifeat.corpus_tables import CorpusTables
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import TimeSplit
from omnifeat.embedding_table import embedding_schema, open_writer, vector_array
from omnifeat.errors import DataError, FingerprintError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.keys import KeyIndex

TITLES = {"p1": "cat", "p2": "dog", "p3": "red shoe", "p4": "blue sky", "p5": "cat and dog", "p6": ""}


def write_table(path: Path, ids, vectors, types=None, fingerprint: str = "f" * 64, kind: str = "entities") -> Path:
    schema = embedding_schema(kind, fingerprint, vectors.shape[1])
    with open_writer(str(path), schema) as writer:
        columns = [pa.array(ids, pa.string())]
        if kind == "entities":
            columns.append(pa.array(types or ["pin"] * len(ids), pa.string()))
        writer.write_table(pa.table([*columns, vector_array(vectors)], schema=schema))
    return path


def pin_table(path: Path, encoder, ids=tuple(TITLES), **changes) -> Path:
    return write_table(path, ids, encoder.encode_queries([TITLES[name] for name in ids]), **changes)


@pytest.mark.parametrize("leave_out", [True, False])
@pytest.mark.parametrize("corpus_size", [None, 40])
def test_equals_ranks_in_memory(tmp_path: Path, leave_out: bool, corpus_size: int | None) -> None:
    rng = np.random.default_rng(corpus_size or 0)
    ids = [f"e{n}" for n in rng.permutation(90)]
    vectors = rng.integers(-2, 3, (90, 5)).astype(np.float32)  # whole numbers: both ways are exact, and ties are many
    queries = rng.integers(-2, 3, (12, 5)).astype(np.float32)
    names, positives = rng.integers(12, size=60), rng.integers(90, size=60)
    # products of the same ids lie between the pins, and other pins that are not evaluated behind them
    write_table(tmp_path / "a.parquet", ids[:50] * 2, np.tile(vectors[:50], (2, 1)), ["pin"] * 50 + ["product"] * 50)
    write_table(tmp_path / "b.parquet", [*ids[50:], "x", "y"], np.concatenate([vectors[50:], vectors[:2]]), [None] * 42)
    tables = CorpusTables.open([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    pairs = EvaluationPairs.make(
        [f"q{n:02d}" for n in names], [ids[n] for n in positives], pa.array(ids), corpus_size=corpus_size, seed=3
    )
    rows = [int(name[1:]) for name in pairs.queries]
    place = {name: row for row, name in enumerate(ids)}
    scored = vectors[[place[name] for name in pairs.entity_ids.to_pylist()]]
    expected = ranks_from_embeddings(queries[rows], scored, pairs, leave_out_other_positives=leave_out)
    result = ranks_from_tables(queries[rows], tables, "pin", pairs, leave_out_other_positives=leave_out)
    assert result.ranks.tolist() == expected.tolist()
    assert result.candidates == pairs.corpus_count
    few = ranks_from_tables(queries[rows], tables, "pin", pairs, leave_out_other_positives=leave_out, most=4)
    assert few.ranks.tolist() == np.minimum(expected, 5).tolist()


def test_what_is_wrong_with_tables(tmp_path: Path, encoder) -> None:
    whole = pin_table(tmp_path / "whole.parquet", encoder)
    part = pin_table(tmp_path / "part.parquet", encoder, ids=("p1", "p2"))
    other = pin_table(tmp_path / "other.parquet", encoder, fingerprint="e" * 64)
    queries = write_table(tmp_path / "q.parquet", ["cat"], encoder.encode_queries(["cat"]), kind="queries")
    with pytest.raises(FingerprintError, match="made by the encoder eeee"):
        CorpusTables.open([other], encoder)
    with pytest.raises(FingerprintError, match=r"other.parquet was made by the encoder eeee"):
        CorpusTables.open([whole, other])
    with pytest.raises(DataError, match=r"q.parquet holds embeddings of queries; give a table of entities"):
        CorpusTables.open([queries])
    with pytest.raises(DataError, match="no embedding table to read the corpus from"):
        CorpusTables.open([])
    wanted = KeyIndex()
    wanted.intern(pa.array(["p1", "p3", "p4"], pa.large_string()))
    with pytest.raises(DataError, match=r"2 of the 3 evaluated entities of type pin have no vector in .*such as 'p3'"):
        list(CorpusTables.open([part]).blocks("pin", wanted))
    with pytest.raises(DataError, match=r"3 of the 3 evaluated entities of type product"):
        list(CorpusTables.open([whole]).blocks("product", wanted))
    with pytest.raises(DataError, match=r"'p1' stands more than once in .*whole.parquet, .*part.parquet; keep one row"):
        list(CorpusTables.open([whole, part]).blocks("pin", wanted))
    twice = pin_table(tmp_path / "twice.parquet", encoder, ids=("p4", "p4"))
    with pytest.raises(DataError, match="'p4' stands more than once"):
        CorpusTables.open([twice]).vectors_of(pa.array(["p4"]), "pin")


def test_a_study_from_tables_equals_one_in_memory(dataset: Dataset, encoder, tmp_path: Path) -> None:
    class NoEntities:
        fingerprint, dim, encode_queries = encoder.fingerprint, encoder.dim, encoder.encode_queries
        record = None

        def encode_entities(self, table, entity_type=None, batch_size=1024):
            raise AssertionError("all entities stand in the table")

    tables = CorpusTables.open([pin_table(tmp_path / "pins.parquet", encoder)], encoder)
    for rows in (("learned",), ("bm25-words", "learned", "learned+learned-engaged")):
        settings = RecallSettings(split="all", ks=(1, 3), resamples=0, rows=rows)
        (expected,) = recall_studies(dataset, encoder, None, settings)
        (study,) = recall_studies(dataset, NoEntities(), None, settings, corpus_tables=tables)
        for name in rows:
            assert study.ranks[name].tolist() == expected.ranks[name].tolist()
        assert study.overall == expected.overall


def test_ranks_beyond_the_limit_count_as_nothing(dataset: Dataset, encoder) -> None:
    settings = RecallSettings(split="all", ks=(1,), resamples=0, most=2, rows=("random", "learned"))
    whole = RecallSettings(split="all", ks=(1,), resamples=0, rows=("random", "learned"))
    (study,), (full,) = (recall_studies(dataset, encoder, None, chosen) for chosen in (settings, whole))
    for name in ("random", "learned"):
        ranks = full.ranks[name]
        assert study.ranks[name].tolist() == np.minimum(ranks, 3).tolist()
        expected = np.where(ranks <= 2, 1 / ranks, 0).mean()
        assert study.overall.rows[name].mean_reciprocal_rank.value == pytest.approx(expected)
        assert study.overall.rows[name].recall == full.overall.rows[name].recall
    assert (full.ranks["random"] > 3).any()
    with pytest.raises(SettingError, match="told apart to 5, but recall is asked at 10"):
        RecallSettings(most=5)


LOG = [
    ("cats", "p1", 1), ("cats", "p2", 5), ("cats", "p1", 5), ("dogs", "p2", 1), ("dogs", "p5", 5), ("sky", "p4", 5),
]  # fmt: skip


@pytest.fixture
def timed(tmp_path: Path) -> Dataset:
    """Test pairs (from day 4): cats-p2, cats-p1, dogs-p5, sky-p4. The log has cats-p1 in training, and sky-p4, too."""
    info = DatasetInfo(
        name="days",
        source="made by hand",
        licence="none",
        split=TimeSplit(development_from=datetime(2024, 1, 3, tzinfo=UTC), test_from=datetime(2024, 1, 4, tzinfo=UTC)),
    )

    def engaged(rows) -> pa.Table:
        queries, ids, days = (list(column) for column in zip(*rows, strict=True))
        return pa.table(
            {
                "query": queries,
                "entity_id": ids,
                "entity_type": ["pin"] * len(rows),
                "action": ["save"] * len(rows),
                "timestamp": pa.array([datetime(2024, 1, day, tzinfo=UTC) for day in days], pa.timestamp("us", "UTC")),
            }
        )

    with DatasetWriter(tmp_path / "days", info) as writer:
        writer.write("pins", pa.table({"id": list(TITLES), "title": list(TITLES.values())}))
        writer.write("engagements", engaged(LOG))
        # a product of that name and a row of the test part are no training row of the pin
        writer.write("log", engaged([*LOG, ("sky", "p4", 2)]))
        corpus = {"entity_type": ["pin", "pin", "pin", "product"], "entity_id": ["p6", "p3", "p2", "x"]}
        writer.write("corpus", pa.table(corpus))
    return Dataset.open(tmp_path / "days")


def test_new_pairs_and_pairs_seen_in_training(timed: Dataset, encoder) -> None:
    (study,) = recall_studies(timed, encoder, None, RecallSettings(by=SEEN, resamples=0, rows=("learned",)))
    assert study.grouped_by == "log: pairs in the training part"
    assert {name: group.pairs for name, group in study.groups.items()} == {NEW_PAIRS: 2, SEEN_PAIRS: 2}
    ids = study.pairs.entity_ids.to_pylist()
    named = [
        (study.pairs.queries[q], ids[p])
        for q, p in zip(study.pairs.pair_queries, study.pairs.pair_positives, strict=True)
    ]
    assert named == [("cats", "p1"), ("cats", "p2"), ("dogs", "p5"), ("sky", "p4")]
    hits = study.ranks["learned"][[1, 2]] <= 10
    assert study.groups[NEW_PAIRS].rows["learned"].recall[10].value == hits.mean()
    chosen = RecallSettings(by=SEEN, groups=(NEW_PAIRS,), resamples=0, rows=("learned",))
    assert list(recall_studies(timed, encoder, None, chosen)[0].groups) == [NEW_PAIRS]


def test_corpus_that_the_dataset_lists(timed: Dataset, encoder) -> None:
    def study(**changes):
        return recall_studies(timed, encoder, None, RecallSettings(resamples=0, rows=("learned",), **changes))[0]

    listed = study()
    assert (listed.corpus, listed.corpus_source) == (3, "the dataset's table corpus")
    ids = listed.pairs.entity_ids.to_pylist()
    assert {name for name, inside in zip(ids, listed.pairs.in_corpus, strict=True) if inside} == {"p2", "p3", "p6"}
    assert set(ids) == set(TITLES)  # and the positives, of which p2 is listed
    assert study(corpus="table").ranks["learned"].tolist() == listed.ranks["learned"].tolist()
    assert (study(corpus="all").corpus, study(corpus="all").corpus_source) == (6, "the whole catalogue")
    assert study(corpus_size=2).corpus_source == "a uniform sample, seed 0"
    with pytest.raises(SettingError, match="there is no corpus 'most'; choose from auto, table, all"):
        study(corpus="most")


def test_an_entity_of_the_corpus_that_is_in_no_table_is_refused() -> None:
    with pytest.raises(DataError, match="entity 'z' stands in the corpus but not in the catalogue"):
        EvaluationPairs.make(["q"], ["a"], pa.array(["a", "b"]), corpus_ids=pa.array(["b", "z"]))
    with pytest.raises(DataError, match="lists no entity"):
        EvaluationPairs.make(["q"], ["a"], pa.array(["a", "b"]), corpus_ids=pa.array([], pa.string()))


def test_the_command_reads_tables_and_says_what_the_corpus_is(
    timed: Dataset, encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: encoder))
    table, out = pin_table(tmp_path / "pins.parquet", encoder), tmp_path / "out"

    def evaluate(*more):
        arguments = ["evaluate", "recall", timed.path, "--encoder", "any", "--bootstrap", 0, "-o", out, *more]
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    tables = ("--corpus-embeddings", table, "--baselines", "none")
    result = evaluate(*tables, "--by", "seen", "--k", "1,2", "--most", 2, "--json")
    assert result.exit_code == 0, result.output
    written = json.loads((out / "recall.json").read_text())
    assert written["studies"][0]["corpus_source"] == "the dataset's table corpus"
    assert set(written["studies"][0]["groups"]) == {NEW_PAIRS, SEEN_PAIRS}
    assert written["context"]["corpus_tables"] == [str(table)]
    markdown = (out / "recall.md").read_text()
    assert "among 3 entities (the dataset's table corpus)" in markdown
    assert "MRR@2 %" in markdown
    result = evaluate("--corpus", "all", "--overwrite", "--baselines", "none")
    assert "among 6 entities (the whole catalogue)" in result.stdout
    result = evaluate("--corpus", 4, "--overwrite", "--baselines", "none")
    assert "among 4 entities (a uniform sample, seed 0)" in result.stdout
    for wrong, said in (
        (("--corpus", "0"), "--corpus needs at least one entity, got 0"),
        (("--corpus", "many"), "there is no corpus 'many'"),
        (("--most", 3), "told apart to 3, but recall is asked at 10"),
        (("--corpus-embeddings", tmp_path / "none.parquet"), "none.parquet"),
    ):
        result = evaluate(*wrong, "--overwrite")
        assert result.exit_code == 2
        assert said in result.stderr
    unknown = ["evaluate", "recall", str(timed.path), "--corpus-embeddings", str(table), "-o", str(tmp_path / "new")]
    result = CliRunner().invoke(app, unknown)
    assert result.exit_code == 2
    assert "name it with --encoder" in result.stderr
    assert not (tmp_path / "new").exists()
