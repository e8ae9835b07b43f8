"""`python -m analysis` with figures that are composed but not drawn, as drawing takes most of its time."""

import sys
from pathlib import Path
from typing import Any
from unittest import mock

from matplotlib.figure import Figure

from analysis.__main__ import main
from foundation.errors import exit_code


def undrawn() -> Any:
    """Return a context in which a figure's file says that it is not drawn."""
    return mock.patch.object(Figure, "savefig", lambda self, path, **_: Path(path).write_text("not drawn"))


if __name__ == "__main__":
    with undrawn():
        code = exit_code(main)
    sys.exit(code)
