"""The one exception that stands for a user's mistake: every entry point prints its sentence and exits non-zero."""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class UsageError(Exception):
    """Something a user can mend; the message says what was wrong, where, and what to do."""


def print_anything() -> None:
    """Let what the locale's encoding lacks be printed as a question mark: a label, a path, a column's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def drop_output() -> None:
    """Send what is still to be printed nowhere: whoever read standard output has gone."""
    with suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class LastingOutput:
    """Standard output that may be closed while a sweep goes on, as by `make sweep | head`: the rest is dropped."""

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
    """Whether an error says that there was no memory left, of the machine or of a GPU, in torch's words or cuBLAS's."""
    words = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def exit_code(main: Callable[[], int]) -> int:
    """Run `main`; print a `UsageError` as one line on standard error and return 2 for it, 130 for Ctrl-C.

    Where standard output is closed, as by `head`, it ends without a word, as the shell's own commands do.
    """
    print_anything()
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would set it to DEBUG
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
