"""Public datasets and tables of one's own, turned into dataset folders."""

from omnifeat.importers.emojibase import import_emojibase
from omnifeat.importers.icecat import import_icecat
from omnifeat.importers.tables import import_table

__all__ = ["import_emojibase", "import_icecat", "import_table"]
