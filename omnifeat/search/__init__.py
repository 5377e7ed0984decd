"""Exact search over corpora that do not fit in memory."""
