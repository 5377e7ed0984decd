"""One module a command; each parses, calls the library and reports."""
