"""Where aggregations run: this machine, or a cluster. An engine knows SQL and tables, and no model."""

from omnifeat.engines.engine import REFUSED, Engine, RefusedRowError, name_in_sql
from omnifeat.engines.local import LocalEngine
from omnifeat.engines.store import Store

__all__ = ["REFUSED", "Engine", "LocalEngine", "RefusedRowError", "Store", "name_in_sql"]
