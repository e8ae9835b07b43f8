"""The exception for a user's mistake. Every entry point prints its message as one line and exits non-zero."""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class UsageError(Exception):
    """A mistake that the user can correct. The message says what is wrong, where, and what to do."""


def print_anything() -> None:
    """Print a question mark for each character that the locale's encoding lacks, as in a label, path or column name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def drop_output() -> None:
    """Discard all further output. The reader of standard output has closed it."""
    with suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class LastingOutput:
    """Standard output that may close while a sweep runs, as with `make sweep | head`. Later output is dropped."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with suppress(BrokenPipeError):
            return int(self.stream.write(text))
        drop_output()
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            drop_output()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the machine or a GPU ran out of memory, in torch's or cuBLAS's words."""
    words = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def exit_code(main: Callable[[], int]) -> int:
    """Run `main` and return its exit code.

    For a `UsageError`, print one line on standard error and return 2. For Ctrl-C, return 130. When standard output is
    closed, as by `head`, return 141 and print nothing, as shell commands do.
    """
    print_anything()
    logging.basicConfig(level=logging.WARNING)  # before the import of fairseq, which would set DEBUG
    try:
        return main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        drop_output()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
