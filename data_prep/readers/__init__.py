"""One short module a file format: from a file to examples."""
