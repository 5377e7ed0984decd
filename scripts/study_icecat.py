"""The Icecat study of docs/results.md: do trained cosines help a ranker of rated products?

    python scripts/study_icecat.py ICECAT_DIR MINILM_DIR OUT_DIR

ICECAT_DIR holds the products and ratings that the Chorus stack publishes; MINILM_DIR a Hugging Face folder of
all-MiniLM-L6-v2. Icecat has no query log: the training pairs are pseudo-queries made from the catalogue's own words
(docs/datasets/icecat.md), never from the rated queries or the ratings.

The untrained encoder's vectors of a product's title and of its title with description stand for the embeddings that a
team has already (ItemSage in the paper): they are inputs of the entity encoder, and the queries are trained to stay
compatible with them (section 3.4.3). The untrained columns are the untrained encoder's cosines to the same vectors.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.baselines import entity_texts
from omnifeat.data.dataset import Dataset
from omnifeat.data.dataset_writer import DatasetWriter
from omnifeat.pretrained import PretrainedEncoder

FIELDS = {"title_vector": ("title",), "text_vector": ("title", "description")}


def omnifeat(*words: str) -> None:
    print("$ omnifeat", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "omnifeat.cli", *words], check=True)


def with_vectors(
    published: Path, encoder: PretrainedEncoder, out: Path, columns: Mapping[str, Sequence[str]] = FIELDS
) -> None:
    """The dataset again, its products with the untrained encoder's vectors of the text fields of each new column."""
    dataset = Dataset.open(published)
    products = dataset.read("products")
    for name, fields in columns.items():
        vectors = encoder.encode(entity_texts(products, fields))
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        products = products.append_column(name, column)
    with DatasetWriter(out, dataset.info, overwrite=True) as writer:
        writer.write("products", products)
        for table in dataset.tables():
            if table != "products":
                writer.write(table, dataset.read(table))


def with_untrained_cosines(data: Path, encoder: PretrainedEncoder, table: Path, out: Path) -> None:
    """The table of pairs with the untrained encoder's cosines beside."""
    pairs, products = pq.read_table(table), Dataset.open(data).read("products", ["id", *FIELDS])
    row = {entity_id: index for index, entity_id in enumerate(products["id"].to_pylist())}
    rows = [row[entity_id] for entity_id in pairs["entity_id"].to_pylist()]
    queries = encoder.encode(pairs["query"].to_pylist())
    for name in FIELDS:
        vectors = np.stack(products[name].to_numpy()[rows])
        pairs = pairs.append_column(f"untrained_{name}", pa.array(np.einsum("pd,pd->p", queries, vectors)))
    pq.write_table(pairs, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("icecat", type=Path)
    parser.add_argument("minilm", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", default="2")
    parser.add_argument("--trainable-layers", default="0")
    parser.add_argument("--query-learning-rate", default="1e-4")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data, trained = out / "data", out / "encoder"
    encoder = PretrainedEncoder.load(str(arguments.minilm), max_length=64)
    if not data.exists():
        omnifeat("import", "icecat", str(arguments.icecat), "-o", str(out / "published"), "--overwrite")
        with_vectors(out / "published", encoder, data)
    model = ["--query-model", str(arguments.minilm), "--pooling", "mean", "--projection", "identity-init"]
    model += ["--trainable-layers", arguments.trainable_layers, "--dim", "384"]
    model += ["--query-learning-rate", arguments.query_learning_rate]
    for setting in (
        'compatibility=["title_vector","text_vector"]',
        'entity.continuous={"title_vector":384,"text_vector":384}',
        "entity.text_pooling=sqrt",
        "entity.hidden=[512,512]",
    ):
        model += ["--set", setting]
    schedule = ["--batch-size", "512", "--learning-rate", "5e-4", "--epochs", arguments.epochs]
    schedule += ["--random-negatives", "2", "--seed", arguments.seed]
    if not trained.exists():  # what is there is kept, so that a study can be taken up again
        omnifeat("train", str(data), "--preset", "small", "-o", str(trained), *model, *schedule, "--overwrite")

    lexical, cosines, features = (out / f"{name}.parquet" for name in ("lexical", "cosines", "features"))
    omnifeat("rank", "features", str(data), "-o", str(lexical), "--overwrite")
    omnifeat(
        "featurize", str(lexical), "--encoder", str(trained), "--entities", str(data), "-o", str(cosines), "--overwrite"
    )
    with_untrained_cosines(data, encoder, cosines, features)
    lexical_columns = "bm25_*,tfidf_*,matched_*,*_length,price"
    untrained, learned = "untrained_*", "cosine,cosine_title_vector,cosine_text_vector"
    omnifeat(
        *("rank", "cross-validate", str(features), "-o", str(out / "ranking"), "--overwrite"),
        *("--folds", "5", "--seeds", "5", "--seed", arguments.seed),
        *("--feature-set", f"lexical={lexical_columns}"),
        *("--feature-set", f"untrained-title={lexical_columns},untrained_title_vector"),
        *("--feature-set", f"untrained={lexical_columns},{untrained}"),
        *("--feature-set", f"trained={lexical_columns},{learned}"),
        *("--feature-set", f"both={lexical_columns},{untrained},{learned}"),
    )
    against = [
        f"{name}={lexical_columns},{columns}" for name, columns in (("untrained", untrained), ("trained", learned))
    ]
    omnifeat(  # the same, with differences from the untrained encoder's columns
        *("rank", "cross-validate", str(features), "-o", str(out / "against_untrained"), "--overwrite"),
        *("--folds", "5", "--seeds", "5", "--seed", arguments.seed),
        *(word for text in against for word in ("--feature-set", text)),
        *("--feature-set", f"both={lexical_columns},{untrained},{learned}"),
    )
    columns = f"untrained_text_vector,untrained_title_vector,{learned},bm25_text,tfidf_cosine_text"
    omnifeat(
        *("evaluate", "relevance", str(data), "--run", str(features), "--columns", columns),
        *("-o", str(out / "single_columns"), "--overwrite"),
    )


if __name__ == "__main__":
    main()
