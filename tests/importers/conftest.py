"""Small source folders in the exact published formats."""

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.validate import validate

Record = dict[str, Any]

PRODUCTS: list[list[Record]] = [
    [
        {
            "id": "3920564", "name": "006R90321", "title": "Xerox 006R90321 toner cartridge Original Black 6 pc(s)",
            "ean": ["0095205603217"], "short_description": "Toner (6 Per Box) for CopyCentre C65 Digital Copier",
            "img_high": "http://images.icecat.biz/img/gallery/a_1.jpg", "img_low": "http://images.icecat.biz/b.jpg",
            "img_500x500": "http://images.icecat.biz/c.jpg", "img_thumb": "http://images.icecat.biz/d.jpg",
            "date_released": "2009-12-10T00:00:00Z", "supplier": "Xerox", "price": 4995,
            "attr_t_type": "Original", "attr_t_printing_colours": "Black", "attr_n_quantity_per_pack": 6.0,
        },
        {  # HTML, a character reference, two colours
            "id": "832931", "name": "T5600", "title": "Intel T5600 processor 1.83 GHz 2 MB L2",
            "ean": ["00735858190046", "0735858190046"],
            "short_description": "Intel® Core™2 Duo &amp; Processor  T5600 <br />(2M Cache, 1.83 GHz)",
            "img_high": "", "img_low": "", "img_500x500": "", "img_thumb": "",
            "date_released": "2007-03-29T00:00:00Z", "supplier": "Intel", "price": 13494,
            "attr_t_product_colour": "Black,Silver", "attr_t_product_type": "Processor",
            "attr_t_storage_temperature__t_t_": "-20 - 60", "attr_b_box": False,
        },
    ],
    [
        {  # no description, no brand, no attributes
            "id": "4205239", "name": "Country Kit CH", "title": "Country Kit CH", "ean": [], "price": 3395,
        },
    ],
]  # fmt: skip

RATED = """query,docid,rating
laptop,3920564,0
"toner, black",3920564,3
processor,832931,2
"""

INDIVIDUAL = """query,docid,name,description,agent_1_rating,agent_2_rating,agent_3_rating,final_rating
"toner, black",3920564,006R90321,"Toner (6 Per Box), ""for"" copiers",2,3,3,3
"""


def write_zip(path: Path, records: object) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name.removesuffix(".zip"), json.dumps(records))


@pytest.fixture
def icecat_source(tmp_path: Path) -> Path:
    folder = tmp_path / "icecat"
    folder.mkdir()
    for number, records in enumerate(PRODUCTS, start=1):
        write_zip(folder / f"{number}.json.zip", records)
    (folder / "Broad_Query_Set_rated.csv").write_text(RATED, encoding="utf-8")
    (folder / "Broad_Query_Set_individual_ratings.csv").write_text(INDIVIDUAL, encoding="utf-8")
    return folder


GROUPS = {
    "groups": {"0": "smileys-emotion", "1": "people-body"},
    "subgroups": {"0": "face-smiling", "14": "heart", "16": "hand-fingers-open"},
    "hierarchy": {"0": [0, 14], "1": [16]},
}


def emoji(
    hexcode: str, character: str, label: str, tags: list[str] | None, group: int | None, sub: int | None
) -> Record:
    record: Record = {"label": label, "hexcode": hexcode, "emoji": character, "text": "", "type": 1, "version": 1}
    if tags is not None:
        record["tags"] = tags
    if group is not None:
        record |= {"order": 1, "group": group, "subgroup": sub}
    return record


# the order of the records differs between languages, as it does in no release but may
EMOJI: dict[str, list[Record]] = {
    "en": [
        emoji("1F1E6", "🇦", "regional indicator A", None, None, None),
        emoji("1F600", "😀", "grinning face", ["face", "Grin", " smile ", "smile"], 0, 0),
        emoji("2764-FE0F", "❤️", "red heart", ["heart", "love"], 0, 14) | {"skins": [{"label": "x", "hexcode": "Y"}]},
        emoji("1F44B", "👋", "waving hand", ["hello", "hand", "AC"], 1, 16),
    ],
    "fr": [
        emoji("2764-FE0F", "❤️", "cœur rouge", ["amour", "cœur"], 0, 14),
        emoji("1F1E6", "🇦", "symbole indicateur A", None, None, None),
        emoji("1F600", "😀", "visage rieur", ["face", "rire"], 0, 0),
        emoji("1F44B", "👋", "bonjour", ["main", "bonjour", "hello"], 1, 16),
    ],
    "ja": [
        emoji("1F1E6", "🇦", "A", None, None, None),
        emoji("1F600", "😀", "にっこり笑う", ["顔", "笑顔"], 0, 0),
        emoji("2764-FE0F", "❤️", "赤いハート", ["ハート", "ﾗﾌﾞ"], 0, 14),
        emoji("1F44B", "👋", "手を振る", ["手"], 1, 16),
    ],
}


@pytest.fixture
def write_emojibase(tmp_path: Path) -> Callable[[dict[str, list[Record]]], Path]:
    def write(languages: dict[str, list[Record]], groups: object = GROUPS) -> Path:
        folder = tmp_path / "emojibase"
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / "meta" / "groups.json").write_text(json.dumps(groups), encoding="utf-8")
        (folder / "LICENSE").write_text("MIT", encoding="utf-8")
        for language, records in languages.items():
            (folder / language).mkdir(exist_ok=True)
            with gzip.open(folder / language / "data.json.gz", "wb") as stream:
                stream.write(json.dumps(records, ensure_ascii=False).encode())
        return folder

    return write


@pytest.fixture
def emojibase_source(write_emojibase: Callable[[dict[str, list[Record]]], Path]) -> Path:
    return write_emojibase(EMOJI)


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; the test is skipped where there is none."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("OMNIFEAT_DATA", root.parent / "shared" / "data"))
    if not (folder / "emojibase").is_dir() or not (folder / "icecat").is_dir():
        pytest.skip("no real data: set OMNIFEAT_DATA to the folder that holds icecat/ and emojibase/")
    return folder


Imported = Callable[..., tuple[dict[str, Any], Dataset]]
Refused = Callable[..., str]


@pytest.fixture
def imported(tmp_path: Path) -> Imported:
    """Runs `omnifeat import NAME SOURCE ...`; gives what it prints and the folder, which must be valid."""

    def run(name: str, source: Path, *options: str, out: str = "out") -> tuple[dict[str, Any], Dataset]:
        target = tmp_path / out
        done = CliRunner().invoke(app, ["import", name, str(source), "-o", str(target), "--json", *options])
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert validate(target).ok, [problem.message for problem in validate(target).problems]
        dataset = Dataset.open(target)
        assert dataset.info.counts == result["counts"]
        assert dataset.info.notes == result["notes"]
        return result, dataset

    return run


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Runs a command that must end with one sentence, exit code 2 and nothing written; gives the sentence."""

    def run(name: str, source: Path, *options: str) -> str:
        before = set(tmp_path.rglob("*"))
        done = CliRunner().invoke(app, ["import", name, str(source), "-o", str(tmp_path / "refused"), *options])
        assert done.exit_code == 2, (done.output, done.exception)
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert set(tmp_path.rglob("*")) == before
        return done.stderr.removeprefix("error: ").strip()

    return run
