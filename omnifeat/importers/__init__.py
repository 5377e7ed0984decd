"""Public datasets and tables of one's own, turned into dataset folders."""

from omnifeat.importers.clinc150 import import_clinc150
from omnifeat.importers.emojibase import import_emojibase
from omnifeat.importers.esci import import_esci
from omnifeat.importers.icecat import import_icecat
from omnifeat.importers.tables import import_table
from omnifeat.importers.ubi import import_ubi
from omnifeat.importers.unsplash import import_unsplash
from omnifeat.importers.wands import import_wands

__all__ = [
    "import_clinc150",
    "import_emojibase",
    "import_esci",
    "import_icecat",
    "import_table",
    "import_ubi",
    "import_unsplash",
    "import_wands",
]
