"""Turns texts into binarised data (fetch, verify, parse, de-duplicate, split, encode), checkpoints into folders."""
