"""What imports say is one line, whatever a cell holds."""

from pathlib import Path

import pytest

from omnifeat.errors import DataError
from omnifeat.importers.tables import import_table


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\u2028b", "\x1b[31m"])
def test_a_value_with_line_ends_does_not_break_the_sentence(tmp_path: Path, value: str) -> None:
    row = f'mug,p1,"{value}",click,2024-03-01'
    (tmp_path / "log.csv").write_text(
        f'"query","entity_id","entity_type","action","timestamp"\n{row}\n', encoding="utf-8", newline=""
    )
    with pytest.raises(DataError, match="is not one of pin, product, query") as caught:
        import_table({"engagements": tmp_path / "log.csv"}, tmp_path / "out")
    assert str(caught.value).isprintable()
