"""Read event files into one tidy table and make figures, tables and a summary from it. Nothing here trains."""

THRESHOLD = 70.0  # percent; the default test accuracy whose first step is compared
