import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from ir_measures import read_trec_qrels, read_trec_run

from omnifeat.data.trec import read_qrels, read_run, read_topics, write_qrels, write_run
from omnifeat.errors import DataError, SettingError

QRELS = "q1 0 d1 2\nq1\t0\td2\t-1\r\n\nq2 0 d1 0\n"
RUN = "q1 Q0 d1 2 1e-1 bm25\nq1 Q0 d2 1 9.5 bm25\n"


def test_qrels_are_read_as_another_program_reads_them(tmp_path: Path) -> None:
    (tmp_path / "q.qrels").write_text(QRELS, newline="")
    table = read_qrels(tmp_path / "q.qrels")
    assert table.to_pydict() == {"query_id": ["q1", "q1", "q2"], "entity_id": ["d1", "d2", "d1"], "grade": [2, -1, 0]}
    other = [(row.query_id, row.doc_id, row.relevance) for row in read_trec_qrels(QRELS.replace("\r\n\n", "\n"))]
    assert other == list(zip(*table.to_pydict().values(), strict=True))


def test_a_run_is_read_by_its_scores_and_not_by_its_ranks(tmp_path: Path) -> None:
    (tmp_path / "r.run.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + RUN.encode()))
    table = read_run(tmp_path / "r.run.gz")
    assert table.to_pydict() == {"query_id": ["q1", "q1"], "entity_id": ["d1", "d2"], "score": [0.1, 9.5]}


def test_what_is_written_is_read_again_and_by_another_program(tmp_path: Path) -> None:
    run = pa.table(
        {"query_id": ["b", "a", "b", "b"], "entity_id": ["y", "x", "z", "x"], "score": [0.1, 1 / 3, 0.1, None]}
    )
    write_run(tmp_path / "r.run", run, tag="mine")
    assert (tmp_path / "r.run").read_text() == (
        "b Q0 y 1 0.1 mine\nb Q0 z 2 0.1 mine\na Q0 x 1 0.3333333333333333 mine\n"
    )
    assert read_run(tmp_path / "r.run")["score"].to_pylist() == [0.1, 0.1, 1 / 3]
    assert [row.doc_id for row in read_trec_run(str(tmp_path / "r.run"))] == ["y", "z", "x"]
    judged = pa.table({"query_id": ["a"], "entity_id": ["x"], "grade": [2.0]})
    write_qrels(tmp_path / "j.qrels.gz", judged)
    assert read_qrels(tmp_path / "j.qrels.gz").to_pydict() == {"query_id": ["a"], "entity_id": ["x"], "grade": [2]}


def test_topics(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("q1\tred  mug \nq2\tpan  of iron\t\n", encoding="utf-8")
    assert read_topics(tmp_path / "t.tsv") == {"q1": "red mug", "q2": "pan of iron"}
    (tmp_path / "t.tsv").write_text("q1\tred mug\nq2\tpan\tA pan is wanted\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 has 3 columns, .*leave out what is no part of the query"):
        read_topics(tmp_path / "t.tsv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"q1 0 d1\n", "line 1 has 3 fields, but a line has four fields"),
        (b"q1 0 d1 1\nq1 0 d2 high\n", "line 2: the grade 'high' is not a whole number"),
        (b"q1 0 d1 1\nq1 0 d1 2\n", "line 2 repeats the query 'q1' and the entity 'd1' of line 1"),
        (b"q1 0 d1 1\nq1 0 d\xe9 2\n", "line 2 is not UTF-8"),
        (b"\n \n", "has no lines"),
        (b"q1 Q0 d1 1 9.5 tag\n", "line 1 has 6 fields"),
    ],
)
def test_wrong_qrels_are_named_by_their_line(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "q.txt").write_bytes(text)
    with pytest.raises(DataError, match=said):
        read_qrels(tmp_path / "q.txt")


@pytest.mark.parametrize("score", ["nan", "inf", "x", "1_0"])
def test_a_score_that_is_no_number_is_named_by_its_line(tmp_path: Path, score: str) -> None:
    (tmp_path / "r.txt").write_text(f"q1 Q0 d0 1 2 t\nq1 Q0 d1 2 {score} t\n")
    with pytest.raises(DataError, match=f"line 2: the score '{score}' is not a finite number"):
        read_run(tmp_path / "r.txt")


def test_wrong_topics(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("q1 red mug\n")
    with pytest.raises(DataError, match="line 1 does not read 'query-id, tab, text of the query' but 'q1 red mug'"):
        read_topics(tmp_path / "t.tsv")
    (tmp_path / "t.tsv").write_text("q1\ta\nq1\tb\n")
    with pytest.raises(DataError, match="line 2: the query 'q1' stands in line 1 too"):
        read_topics(tmp_path / "t.tsv")


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt"):
        read_run(tmp_path / "none.txt")
    (tmp_path / "r.run.gz").write_bytes(gzip.compress(RUN.encode() * 99)[:40])
    with pytest.raises(DataError, match="truncated or corrupt"):
        read_run(tmp_path / "r.run.gz")


def test_what_trec_cannot_hold_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = pa.table({"query_id": ["red mug"], "entity_id": ["x"], "score": [1.0]})
    with pytest.raises(DataError, match="Row 1 has the id 'red mug'; ids in TREC's files are words"):
        write_run(tmp_path / "r.run", run)
    with pytest.raises(SettingError, match="one word"):
        write_run(tmp_path / "r.run", run, tag="my run")
    judged = pa.table({"query_id": ["a"], "entity_id": ["x"], "grade": [0.5]})
    with pytest.raises(DataError, match=r"Row 1 of the judgments has the grade 0\.5"):
        write_qrels(tmp_path / "j", judged)
    assert list(tmp_path.iterdir()) == []


def test_beirs_judgments_and_queries_are_read(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\t2\n2\td1\t0\n")
    assert read_qrels(tmp_path / "test.tsv").to_pydict() == {
        "query_id": ["1", "2"],
        "entity_id": ["d1", "d1"],
        "grade": [2, 0],
    }
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "red  mug", "metadata": {}}\n')
    assert read_topics(tmp_path / "queries.jsonl") == {"1": "red mug"}
    (tmp_path / "queries.jsonl").write_text('{"_id": 1, "text": "red mug"}\n')
    assert read_topics(tmp_path / "queries.jsonl") == {"1": "red mug"}
    for wrong in (
        '{"_id": true, "text": "a"}',
        '{"_id": 1.5, "text": "a"}',
        '{"text": "a"}',
        "[]",
        "{",
        '{"_id": "1", "text": "\\ud83d"}',
    ):
        (tmp_path / "queries.jsonl").write_text(wrong)
        with pytest.raises(DataError, match="line 1 does not read a JSON object with '_id' and 'text'"):
            read_topics(tmp_path / "queries.jsonl")
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\n")
    with pytest.raises(DataError, match="line 2 has 2 fields, but a line has three fields below BEIR's header"):
        read_qrels(tmp_path / "test.tsv")
