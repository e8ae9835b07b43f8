"""The one exception that stands for a user's mistake: every entry point prints its sentence and exits non-zero."""

import io
import logging
import sys
from collections.abc import Callable


class UsageError(Exception):
    """Something a user can mend; the message says what was wrong, where, and what to do."""


def print_anything() -> None:
    """Let what the locale's encoding lacks be printed as a question mark: a label, a path, a column's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, of the machine or of a GPU, in torch's words or cuBLAS's."""
    words = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def exit_code(main: Callable[[], int]) -> int:
    """Run `main`; print a `UsageError` as one line on standard error and return 2 for it, 130 for Ctrl-C."""
    print_anything()
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would set it to DEBUG
    try:
        return main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
