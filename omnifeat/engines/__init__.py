"""Where aggregations run: this machine, or a cluster. An engine knows SQL and tables, and no model."""

from omnifeat.engines.engine import REFUSED, Engine, RefusedRowError, blank_in_sql, name_in_sql
from omnifeat.engines.local import LocalEngine
from omnifeat.engines.store import Store

__all__ = ["REFUSED", "Engine", "LocalEngine", "RefusedRowError", "Store", "blank_in_sql", "name_in_sql"]
