"""Numbers of things in words: `1 run`, `1,284 texts`."""


def counted(n: int, thing: str, things: str | None = None) -> str:
    """Return `n` and the noun, in the plural unless `n` is 1; the plural takes an s, or is `things`."""
    return f"{n:,} {thing if n == 1 else things or f'{thing}s'}"
