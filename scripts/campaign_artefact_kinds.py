"""What `campaign_artefacts.py` tries: of each kind of artefact, how a small one is made, used, and sealed again.

`use` gives bytes that say what the artefact does, so that two that do the same are known; `seal` brings the check sums
of a changed folder up to date, as someone would who crafts one.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["KINDS", "Kind"]

QUERIES = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("shoes", "hat", "dog food")] * 8
PATHS = [("pets", "food") if "dog" in query else ("clothes", query.split()[1]) for query in QUERIES]
NUMBERS = np.random.default_rng(7)
VECTORS = NUMBERS.normal(size=(len(QUERIES), 6)).astype(np.float32)
FEATURES = pa.table({name: NUMBERS.normal(size=200) for name in ("a", "b", "c")})
GROUPS = np.repeat(np.arange(20), 10)
GRADES = NUMBERS.integers(0, 3, 200)
ACTIONS = np.array([None, "click", "long_click"], dtype=object)[GRADES]


def _nothing(folder: Path) -> None:
    """For what carries no check sums."""


@dataclass(frozen=True)
class Kind:
    """A kind of artefact: all three functions take its folder. `summed`: check sums tell any change of its numbers."""

    make: Callable[[Path], None]
    use: Callable[[Path], bytes]
    seal: Callable[[Path], None] = _nothing
    summed: bool = True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON object in place, where there still is one."""
    if path.is_symlink() or not path.is_file():
        return
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        change(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # crafted beyond that
    path.write_text(json.dumps(values), encoding="utf-8")


# encoders


def _make_encoder_of_blocks(folder: Path) -> None:
    _make_encoder(folder, blocks=True)


def _make_encoder(folder: Path, *, blocks: bool = False) -> None:
    from omnifeat.frozen import FrozenEncoder
    from omnifeat.models.block_config import WordsConfig
    from omnifeat.models.config import EncoderConfig, EntityConfig, QueryConfig, fitted_to
    from omnifeat.models.entity_features import entity_texts
    from omnifeat.models.omni import build_model
    from omnifeat.models.query import make_query_tokenizer
    from omnifeat.text import NgramTokenizer

    pins = pa.table({"id": ["a", "b"], "title": ["Red shoes", "blue hat"]})
    query = QueryConfig(hidden=16, layers=1, heads=2, vocab_size=120, max_length=12, pooling="mean")
    entity = EntityConfig(hash_rows=40, text_dim=8, hidden=(8, 8))
    chosen = EncoderConfig(dim=8, query=query, entity=entity, matryoshka={})
    if blocks:
        chosen = dataclasses.replace(
            chosen,
            query=dataclasses.replace(query, model="ngrams"),
            entity=dataclasses.replace(entity, residual="text"),
            words=WordsConfig(width=16),
            block_weights={"learned": 0.6, "words": 0.4},
        )
    config = fitted_to(chosen, {"pins": pins.schema})
    ngrams = NgramTokenizer.fit(entity_texts(pins, config.entity))
    tokenizer = make_query_tokenizer(config.query, QUERIES)
    model = build_model(config, tokenizer, ngrams.size, seed=0)
    FrozenEncoder.from_model(model, tokenizer, ngrams, device="cpu").save_pretrained(folder)


def _use_encoder(folder: Path) -> bytes:
    from omnifeat.frozen import FrozenEncoder

    encoder = FrozenEncoder.from_pretrained(folder, device="cpu")
    vectors = encoder.encode_queries(QUERIES[:4])
    encoder.save_pretrained(folder.with_name(f"{folder.name}-again"))
    return bytes(vectors.tobytes())


def _seal_encoder(folder: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["files"] = {name: _sha256(folder / name) or digest for name, digest in config["files"].items()}
        config.pop("checksum", None)
        text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        config["checksum"] = hashlib.sha256(text.encode()).hexdigest()

    _rewritten(folder / "config.json", change)


def _make_checkpoint(folder: Path) -> None:
    import torch

    from omnifeat.training.checkpoint import save_checkpoint

    state = {"weights": torch.arange(300.0), "losses": [{"step": 1, "loss": 0.5}], "seed": 3}
    save_checkpoint(folder, 5, state)


def _use_checkpoint(folder: Path) -> bytes:
    from omnifeat.training.checkpoint import load_checkpoint

    state = load_checkpoint(folder / "checkpoints" / "step-00000005.pt")
    return bytes(state["weights"].numpy().tobytes())


# rankers


def _ranker(name: str, **settings: Any) -> Kind:
    def make(folder: Path) -> None:
        import importlib

        from ranking.saving import model_class

        importlib.import_module("torch")  # its OpenMP first
        few: dict[str, Any] = {"n_estimators": 4, "num_leaves": 5, "min_child_samples": 5, "threads": 1, **settings}
        model: Any = model_class(name)(**few)
        labels = ACTIONS if name in ("l2", "ads-engagement") else GRADES
        if name == "ads-engagement":
            model.fit(FEATURES, labels, query_ids=GROUPS, positions=np.tile(np.arange(1, 11), 20))
        else:
            model.fit(FEATURES, labels.astype(float) if name == "l1" else labels, query_ids=GROUPS)
        model.save(folder)

    def use(folder: Path) -> bytes:
        from ranking.saving import load_model

        model: Any = load_model(folder)
        found = model.predict(FEATURES).tobytes() + model.feature_importances_.tobytes()
        if name == "l1":
            found += repr(model.cost_).encode()
        if name in ("relevance", "ads-relevance"):
            found += model.predict_proba(FEATURES).tobytes()
        return bytes(found)

    def seal(folder: Path) -> None:
        def change(manifest: dict[str, Any]) -> None:
            for entry in manifest["boosters"].values():
                entry["sha256"] = _sha256(folder / str(entry["file"])) or entry["sha256"]

        _rewritten(folder / "manifest.json", change)

    return Kind(make, use, seal)


# classifiers


def _make_interest(folder: Path) -> None:
    from classifiers.interest import InterestClassifier
    from classifiers.taxonomy import Taxonomy

    parents = {"pets": None, "clothes": None, "food": "pets", "shoes": "clothes", "hat": "clothes"}
    classifier = InterestClassifier(
        inverse_regularisation=1.0, taxonomy=Taxonomy.from_parents(parents), threads=1, encoder_fingerprint="f" * 64
    )
    classifier.fit(VECTORS, PATHS, queries=QUERIES).choose_thresholds(VECTORS, PATHS, precision=0.5)
    classifier.save(folder)


def _use_interest(folder: Path) -> bytes:
    from classifiers.loading import load_any

    classifier = load_any(folder)
    told = (classifier.predict(VECTORS), classifier.explain(VECTORS[:2]), classifier.predict_several(VECTORS))
    return bytes(classifier.predict_proba(VECTORS).tobytes() + repr(told).encode())


def _seal_interest(folder: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["tensors_sha256"] = _sha256(folder / "classifier.safetensors") or tree["tensors_sha256"]

    _rewritten(folder / "classifier.json", change)


def _baseline(name: str) -> Kind:
    def make(folder: Path) -> None:
        from classifiers.fasttext_classifier import FastTextClassifier
        from classifiers.logistic import EmbeddingLogisticClassifier, TfidfLogisticClassifier

        if name == "fasttext":
            FastTextClassifier(epochs=3, dim=4, buckets=30, target="levels").fit(QUERIES, PATHS).save(folder)
        elif name == "tfidf-logistic":
            TfidfLogisticClassifier(features=60).fit(QUERIES, PATHS).save(folder)
        else:
            EmbeddingLogisticClassifier().fit(VECTORS, PATHS).save(folder)

    def use(folder: Path) -> bytes:
        from classifiers.loading import load_any

        levels = load_any(folder).predict_levels(VECTORS if name == "embedding-logistic" else QUERIES)
        return b"".join(level.tobytes() for level in levels)

    def seal(folder: Path) -> None:
        def change(tree: dict[str, Any]) -> None:
            tree["files"] = {file: _sha256(folder / file) or digest for file, digest in tree["files"].items()}

        _rewritten(folder / "classifier.json", change)

    return Kind(make, use, seal)


# vectors


def _index(exact: bool) -> Kind:
    def make(folder: Path) -> None:
        from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings

        settings = HnswSettings(neighbours=4, breadth=20, exact_below=1000 if exact else 10)
        vectors = np.random.default_rng(3).normal(size=(150, 6)).astype(np.float32)
        ids = [f"e{number:03}" for number in range(150)]
        types = ["pin", "product", "pin"] * 50
        HnswIndex.build(ids, vectors, types=types, settings=settings, fingerprint="f" * 64).save(folder)

    def use(folder: Path) -> bytes:
        from omnifeat.retrieval.hnsw import HnswIndex
        from omnifeat.retrieval.vector_retriever import run_table

        index = HnswIndex.load(folder)
        return repr(run_table(index, QUERIES[:20], VECTORS[:20], 5).to_pydict()).encode()

    def seal(folder: Path) -> None:
        def change(manifest: dict[str, Any]) -> None:
            manifest["sha256"] = {name: _sha256(folder / name) or old for name, old in manifest["sha256"].items()}

        _rewritten(folder / "manifest.json", change)

    return Kind(make, use, seal)


def _make_embeddings(folder: Path) -> None:
    from omnifeat.embedding_table import embedding_schema, vector_array

    folder.mkdir(parents=True, exist_ok=True)
    columns = [pa.array(f"e{row}" for row in range(40)), pa.array(["pin"] * 40), vector_array(VECTORS[:40])]
    pq.write_table(pa.table(columns, schema=embedding_schema("entities", "f" * 64, 6)), folder / "table.parquet")


def _use_embeddings(folder: Path) -> bytes:
    from omnifeat.embedding_table import EmbeddingTable

    table = EmbeddingTable.open(str(folder / "table.parquet"))
    table.check_encoder("here", "f" * 64, 6)
    table.check_unique()
    return b"".join(batch.vectors.tobytes() + repr(batch.keys.to_pylist()).encode() for batch in table.batches())


# datasets, tables and states


def _make_dataset(folder: Path) -> None:
    from omnifeat.data.dataset_writer import DatasetWriter
    from omnifeat.data.info import DatasetInfo
    from omnifeat.data.splits import HashSplit

    info = DatasetInfo(name="small", split=HashSplit(column="query"), notes=["a note"], seed=1)
    with DatasetWriter(folder, info) as writer:
        writer.write("queries", pa.table({"query": QUERIES[:9]}))


def _use_dataset(folder: Path) -> bytes:
    from omnifeat.data.dataset import Dataset

    dataset = Dataset.open(folder)
    split: Any = dataset.info.split
    table = dataset.read("queries")
    return repr((dataset.info, split.assign(table.to_batches()[0]) if split else None, table.to_pydict())).encode()


def _make_features(folder: Path) -> None:
    from ranking.rank_features import FeatureColumn

    folder.mkdir(parents=True, exist_ok=True)
    columns = [FeatureColumn(name, "float64", "drawn", "1") for name in FEATURES.column_names]
    described = json.dumps([column.as_json() for column in columns])
    # the metadata alone, as a file of its own, so that it is crafted like any other JSON
    (folder / "columns.json").write_text(json.dumps({"columns": described, "fingerprint": "f" * 64}), encoding="utf-8")


def _use_features(folder: Path) -> bytes:
    from omnifeat.data.artefacts import read_object
    from ranking.feature_table import features_in
    from ranking.features import FEATURES_KEY, FINGERPRINT_KEY, choose_features

    stored = read_object(folder / "columns.json")
    metadata = {FEATURES_KEY: _text(stored.get("columns")), FINGERPRINT_KEY: _text(stored.get("fingerprint"))}
    table = FEATURES.replace_schema_metadata(metadata)
    return repr((choose_features(table), features_in(table.schema))).encode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _make_state(folder: Path) -> None:
    from datetime import date

    from omnifeat.enrich.query_state import ListsMade, QueryState

    counts = pa.table({"entity_id": ["a"], "times": [1]})
    with QueryState.open(folder, None) as state:
        for content in ("0" * 32, "1" * 32):
            state.apply(
                content, lambda path: (pq.write_table(counts, path), (3, date(2026, 1, 1), date(2026, 1, 2)))[1]
            )
        made = ListsMade(first_day=date(2026, 1, 1), last_day=date(2026, 1, 2), top=5, weights={"click": 1})
        state.take_lists(made, lambda path: pq.write_table(counts, path))


def _use_state(folder: Path) -> bytes:
    from datetime import date

    from omnifeat.enrich.query_state import QueryState
    from omnifeat.enrich.window import Window

    with QueryState.open(folder, None) as state:
        counts = state.counts(Window(date(2026, 1, 1), date(2026, 1, 2)))
        return repr((state.last_day, state.rows, [path.name for path in counts], state.lists is None)).encode()


# studies


def _make_study(folder: Path) -> None:
    from evaluation.reproduction.rank_files import kept_ranks
    from evaluation.reproduction.results import Cell, Column, Estimate, Machine, Row, StudyResults, Table

    folder.mkdir(parents=True, exist_ok=True)
    cell = Cell(ours=Estimate(value=0.5, low=0.4, high=0.6), pairs=10, queries=5)
    table = Table(key="2", title="Recall", caption="Of pairs.", columns=[Column(key="save", label="Save", group="Pin")],
                  rows=[Row(key="one", label="One", cells={"save": cell})])  # fmt: skip
    machine = Machine(cores=1, threads=1, memory_gib=1.0, accelerator=None, system="Linux", versions={})
    StudyResults(
        title="A study", finished="2026-11-20T14:03:11Z", command="omnifeat reproduce", dataset="world", preset="tiny",
        seeds=[0], data={}, settings={}, tables=[table], claims=[], trained=[], machine=machine, seconds=1.0,
    ).save(folder / "results.json")  # fmt: skip
    kept_ranks(folder / "measures", "one", "key", lambda: {"save": np.arange(1, 6)})


def _use_study(folder: Path) -> bytes:
    from evaluation.reproduction.rank_files import kept_ranks
    from evaluation.reproduction.report_markdown import markdown_report
    from evaluation.reproduction.results import StudyResults

    ranks = kept_ranks(folder / "measures", "one", "key", lambda: {"save": np.arange(2, 7)})
    return repr((markdown_report(StudyResults.load(folder / "results.json")), dict(ranks))).encode()


KINDS: dict[str, Kind] = {
    "encoder": Kind(_make_encoder, _use_encoder, _seal_encoder),
    "encoder-of-blocks": Kind(_make_encoder_of_blocks, _use_encoder, _seal_encoder),
    "checkpoint": Kind(_make_checkpoint, _use_checkpoint),
    "ranker": _ranker("lambda-ranker"),
    "ranker-categories": _ranker("lambda-ranker", lightgbm_parameters={"categorical_feature": [0]}),
    "ranker-l1": _ranker("l1", keep=3),
    "ranker-l2": _ranker("l2"),
    "ranker-l2-actions": _ranker("l2", method="per-action"),
    "ranker-relevance": _ranker("relevance"),
    "ranker-relevance-softmax": _ranker("relevance", head="multiclass", calibration="isotonic"),
    "ranker-ads-engagement": _ranker("ads-engagement"),
    "ranker-ads-relevance": _ranker("ads-relevance"),
    "classifier": Kind(_make_interest, _use_interest, _seal_interest),
    "classifier-fasttext": _baseline("fasttext"),
    "classifier-tfidf": _baseline("tfidf-logistic"),
    "classifier-logistic": _baseline("embedding-logistic"),
    "index-graph": _index(exact=False),
    "index-exact": _index(exact=True),
    "embedding-table": Kind(_make_embeddings, _use_embeddings, summed=False),
    "dataset": Kind(_make_dataset, _use_dataset, summed=False),
    "feature-table": Kind(_make_features, _use_features, summed=False),
    "enrich-state": Kind(_make_state, _use_state, summed=False),
    "study": Kind(_make_study, _use_study, summed=False),
}
