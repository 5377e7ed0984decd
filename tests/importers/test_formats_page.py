"""The examples of docs/formats.md run as they stand, on small files of their names."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnifeat.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
FILES = {
    "products_export.csv": "Handle,Title,Body (HTML),Variant SKU,Variant Price\na,A,<p>x</p>,S1,3.00\na,,,,\n",
    "events.csv": "event_timestamp,event_name,search_term,item_id\n1709294400123456,purchase,mug,1\n",
    "feed.tsv": "id\ttitle\tprice\n1\tA\t3.00 USD\n",
    "catalog_product.csv": "sku,product_type,categories,name,price\n1,simple,Gear,A,3.0\n",
    "meta_Kitchen.jsonl": '{"title": "Mug", "price": "from 3", "parent_asin": "B1"}\n',
    "Kitchen.jsonl": '{"title": "Good", "parent_asin": "B1", "timestamp": 1588687728923}\n',
    "movies.csv": "movieId,title,genres\n31,A,Drama\n",
    "tags.csv": "userId,movieId,tag,timestamp\n3,31,teachers,1260759144\n",
    "ratings.csv": "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
    "log.ndjson": '{"query_id": "s", "user_query": "mug", "timestamp": 1709294400000, "query_response_hit_ids": [1]}\n',
    "qrels.txt": "q1 0 d1 2\n",
    "topics.tsv": "q1\tred mug\n",
    "test.tsv": "query-id\tcorpus-id\tscore\n1\td1\t2\n",
    "queries.jsonl": '{"_id": "1", "text": "red mug"}\n',
    "katalog.csv": "Artikelnummer;Bezeichnung;Preis\n00017;Schraube;1,25\n",
    "log.csv": "q,entity_id,action,timestamp\nmug,1,buy,2024-03-01\n,2,click,2024-03-01\n",
    "taxonomy-with-ids.txt": "1 - Animals\n2 - Animals > Birds\n",
    "export.csv": "Artikelnummer;Bezeichnung;price\n1;Schraube;1,25\n",
    "bm25.run": "q1 Q0 d1 1 2.5 bm25\n",
}


def _page() -> str:
    return PAGE.read_text(encoding="utf-8")


def _commands() -> list[str]:
    return re.findall(r"^    (omnifeat .*)$|`(omnifeat (?:import|classify) [^`]* [^`]*)` \|", _page(), re.MULTILINE)


@pytest.mark.parametrize("command", [one or two for one, two in _commands()])
def test_every_command_of_the_page_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "shop.toml").write_text(re.findall(r"```toml\n(.*?)```", _page(), re.DOTALL)[0], encoding="utf-8")
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output


def test_the_page_has_all_its_commands() -> None:
    assert len(_commands()) == 16


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bm25.run").write_text(FILES["bm25.run"])
    code = re.findall(r"```python\n(.*?)```", _page(), re.DOTALL)[0]
    exec(compile(code, str(PAGE), "exec"), {})
    assert (tmp_path / "again.run").read_text() == FILES["bm25.run"]
