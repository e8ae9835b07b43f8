"""The one exception that stands for a user's mistake: every entry point prints its sentence and exits non-zero."""

import logging
import sys
from collections.abc import Callable


class UsageError(Exception):
    """Something a user can mend; the message says what was wrong, where, and what to do."""


def exit_code(main: Callable[[], int]) -> int:
    """Run `main`; print a `UsageError` as one line on standard error and return 2 for it, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would set it to DEBUG
    try:
        return main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
