"""Event files to one tidy table, then figures, tables and a summary. Nothing here trains."""
