"""Tables 2 and 4 of the paper, as far as Icecat's products, pseudo-queries and human ratings allow, with a report.

    python scripts/study_paper_icecat.py ICECAT_DIR MINILM_DIR OUT_DIR

An untrained MiniLM's vectors of a product's title and description stand for the embeddings that a team has already:
they are named `itemsage`, SearchSage is the query encoder trained against them alone. Relevance is that of the ratings.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from study_icecat import omnifeat, with_vectors

from omnifeat.pretrained import PretrainedEncoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("icecat", type=Path)
    parser.add_argument("minilm", type=Path)
    parser.add_argument("out", type=Path)
    arguments, further = parser.parse_known_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "data").exists():  # what is there is kept, so that a study can be taken up again
        omnifeat("import", "icecat", str(arguments.icecat), "-o", str(out / "published"), "--overwrite")
        encoder = PretrainedEncoder.load(str(arguments.minilm), max_length=64)
        with_vectors(out / "published", encoder, out / "data", {"itemsage": ("title", "description")})
    settings = [
        "query.pooling=mean", "query.projection=identity-init", "query.trainable_layers=0", "dim=384",
        "entity.text_pooling=sqrt", "entity.hidden=[512,512]",
    ]  # fmt: skip
    try:
        omnifeat(
            *("reproduce", "--data", str(out / "data"), "--tables", "2,4", "--preset", "small"),
            *("-o", str(out / "study"), "--query-model", str(arguments.minilm)),
            *(word for setting in settings for word in ("--set", setting)),
            *("--steps", "300", "--batch-size", "1024", "--random-negatives", "2", "--learning-rate", "5e-4"),
            *("--pretrained", str(arguments.minilm), *further),
        )
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
