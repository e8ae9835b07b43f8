"""Read event files into one tidy table and make figures, tables and a summary from it. Nothing here trains."""
