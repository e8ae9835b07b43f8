"""From an address or a package to a verified file."""
