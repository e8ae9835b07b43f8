"""Counts with their noun: `1 run`, `1,284 texts`."""


def counted(n: int, thing: str, things: str | None = None) -> str:
    """Return `n` and the noun, plural unless `n` is 1. The plural is `things`, or `thing` with an s."""
    return f"{n:,} {thing if n == 1 else things or f'{thing}s'}"
