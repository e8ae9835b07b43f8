"""Measures the other rooms. It may import every room; no room imports it."""
