"""The emoji study of docs/results.md: real search words in 18 languages, split by the word's text.

    python scripts/study_emojibase.py EMOJIBASE_DIR E5_DIR OUT_DIR

EMOJIBASE_DIR is the npm package `emojibase-data`; E5_DIR a Hugging Face folder of multilingual-e5-small. Imports the
data, trains with the pretrained encoder as the query side and from scratch, measures test Recall@10 of both beside
token-based rows and the untrained encoder, and of a ranker over the first one's featurized columns. The ranker is
trained on the development part: a training query stands among its own entities' engaged queries, so its features are
not those of a query that was never seen. Every step is an `omnifeat` command but the choice of candidates.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.baselines import EngagedTexts, Row, cosine_row, largest_cosine_row
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import split_rows
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries

CANDIDATES = 200  # per query and retriever; two retrievers

# The transformer is not trained here, only the projection over it: its output is then computed once a query, not once
# an epoch. Whether training its upper layers gains more is not measured with this script.
PRETRAINED_SIDE = "--dim 384 --pooling mean --projection identity-init --trainable-layers 0"
ENTITY_SIDE = "--set entity.trigrams=0 --set entity.bigrams=0 --set entity.hidden=[512,512] --set entity.text_dim=256"
ENTITY_TEXT = "--set entity.text_pooling=sqrt --set entity.max_engaged_queries=200"
SCHEDULE = "--batch-size 1024 --random-negatives 2 --learning-rate 1e-3"


def omnifeat(command: str, *more: str) -> None:
    words = [*shlex.split(command), *more]
    print("$ omnifeat", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "omnifeat.cli", *words], check=True)


def candidates(data: Path, encoder_folder: Path, vectors: Path, part: str, out: Path) -> None:
    """Write (query, entity_id, entity_type, grade): each query's best by the learned and by the largest cosine."""
    dataset, encoder = Dataset.open(data), FrozenEncoder.from_pretrained(str(encoder_folder))
    pairs = split_rows(dataset.read("engagements", ["query", "entity_id"]), dataset.info.split, part)
    positives = set(zip(pairs["query"].to_pylist(), pairs["entity_id"].to_pylist(), strict=True))
    queries = sorted({query for query, _ in positives})
    pins = dataset.read("pins")
    ids = pins["id"].to_pylist()
    engaged = EngagedTexts.from_column(pins["engaged_queries"])
    tags = KnownQueries(encoder, [str(vectors)])
    queries_QD = tags.encode_queries(queries)
    retrievers: list[Row] = [
        cosine_row("cosine", "", queries_QD, encoder.encode_entities(pins, entity_type="pin")),
        largest_cosine_row("largest", "", queries_QD, tags.encode_queries(engaged.texts), engaged),
    ]
    chosen = np.zeros((len(queries), len(ids)), dtype=bool)
    for retriever in retrievers:
        for first, scores in retriever.blocks(len(queries)):
            best = np.argpartition(-scores, CANDIDATES, axis=1)[:, :CANDIDATES]
            np.put_along_axis(chosen[first : first + len(scores)], best, values=True, axis=1)
    query_rows, entity_rows = np.nonzero(chosen)
    names, entities = [queries[row] for row in query_rows], [ids[row] for row in entity_rows]
    grades = [int(pair in positives) for pair in zip(names, entities, strict=True)]
    table = {"query": names, "entity_id": entities, "entity_type": ["pin"] * len(names), "grade": grades}
    pq.write_table(pa.table(table), out)
    found = f"{sum(grades):,} of {len(positives):,} positives"
    print(f"{part}: {len(names):,} candidates of {len(queries):,} queries, with {found}")


def query_vectors(encoder: Path, out: Path) -> Path:
    """Where the embeddings of all tags lie, the engaged ones among them: encoded once."""
    return out / f"queries_{encoder.name}.parquet"


def embed_queries(data: Path, encoder: Path, out: Path) -> None:
    vectors = query_vectors(encoder, out)
    if not vectors.exists():
        omnifeat(f"embed --encoder {encoder} --queries {data / 'queries.parquet'} -o {vectors}")


def ranker_run(data: Path, encoder: Path, out: Path) -> Path:
    """Candidates -> cosine columns -> ranker, trained on development, applied to test."""
    vectors = query_vectors(encoder, out)
    for part in ("development", "test"):
        candidates(data, encoder, vectors, part, out / f"{part}_pairs.parquet")
        omnifeat(
            f"featurize {out / f'{part}_pairs.parquet'} --encoder {encoder} --entities {data} --embeddings {vectors} "
            f"-o {out / f'{part}_features.parquet'} --overwrite"
        )
    omnifeat(
        f"rank train {out / 'development_features.parquet'} --label grade --query-column query -o {out / 'ranker'} "
        "--features cosine,max_cosine_engaged_queries,mean_cosine_engaged_queries --increasing '*' --overwrite"
    )
    predictions = out / "test_predictions.parquet"
    omnifeat(f"rank predict {out / 'test_features.parquet'} --ranker {out / 'ranker'} -o {predictions} --overwrite")
    return predictions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("emojibase", type=Path)
    parser.add_argument("e5", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", default="6")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", choices=("pretrained", "scratch"), help="one of the two query sides")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data = out / "data"
    if not data.exists():  # what is there is kept, so that a study can be taken up again
        omnifeat(f"import emojibase {arguments.emojibase} -o {data}")
        omnifeat(f"validate {data} --leaks")
    for name in ("pretrained", "scratch"):
        if arguments.only not in (None, name):
            continue
        pretrained = name == "pretrained"
        if not (out / name).exists():
            query_side = f"--query-model {arguments.e5} {PRETRAINED_SIDE}" if pretrained else ""
            omnifeat(
                f"train {data} --preset small -o {out / name} {query_side} {ENTITY_SIDE} {ENTITY_TEXT} {SCHEDULE} "
                f"--epochs {arguments.epochs} --seed {arguments.seed}",
                *(["--prefix", "query: "] if pretrained else []),
            )
        embed_queries(data, out / name, out)
        run = ranker_run(data, out / name, out) if pretrained else None
        rows = ["random", "bm25-words", "bm25-trigrams", "tfidf"]
        rows += ["pretrained", "pretrained-engaged"] if pretrained else []
        rows += ["learned-engaged", "learned+learned-engaged"]
        untrained = ["--pretrained", str(arguments.e5), "--pretrained-prefix", "query: "] if pretrained else []
        omnifeat(
            f"evaluate recall {data} --encoder {out / name} --embeddings {query_vectors(out / name, out)} "
            f"--baselines {','.join(rows)} --reference learned,learned-engaged --by language --groups en,en-gb,fr,de "
            f"-o {out / f'recall_{name}'} --overwrite",
            *untrained,
            *(["--run", str(run), "--run-columns", "score"] if run is not None else []),
        )


if __name__ == "__main__":
    main()
