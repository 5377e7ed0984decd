from pathlib import Path

import pytest

from omnifeat.data.identity import content_of_path
from omnifeat.errors import DataError


def test_data_of_the_same_names_and_sizes_are_told_apart_and_moved_ones_are_not(tmp_path: Path) -> None:
    folders = []
    for name, content in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name / "parts").mkdir(parents=True)
        (tmp_path / name / "parts" / "t.csv").write_text(f"id\n{content}\n")
        folders.append(content_of_path(tmp_path / name))
    assert folders[0] != folders[1]
    assert folders[0] == folders[2]
    assert content_of_path(tmp_path / "a/parts/t.csv") == content_of_path(tmp_path / "c/parts/t.csv")
    (tmp_path / "c" / "parts" / "t.csv").rename(tmp_path / "c" / "parts" / "u.csv")
    assert content_of_path(tmp_path / "c") != folders[0]
    with pytest.raises(DataError, match=r"t\.csv"):
        content_of_path(tmp_path / "c/parts/t.csv")
