"""One short module per file format. Each turns a file into examples."""
