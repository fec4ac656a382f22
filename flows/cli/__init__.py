"""The command line `p2p`. Exit 0 done; 1 the data or the result is bad, and the message says which item and why; 2 wrong usage.

Commands import what they need when they run, so that `p2p --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys

from flows.cli.commands import app
from p2p_core.errors import P2PError

__all__ = ["app", "main", "run"]

_SYSTEM_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENAMETOOLONG}
_INTERRUPTED = 130


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. What a user can cause ends in one message, never in a traceback."""
    try:
        app(arguments, prog_name="p2p")
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("Interrupted. What was done is kept: run the same command again (p2p train: with --resume).", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except P2PError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in _SYSTEM_REFUSALS:
            raise
        place = f" {error.filename}" if error.filename else ""
        print(f"Error: The system refused{place}: {error.strerror}. Free space or choose another place.", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:
        named = [argument for argument in arguments if any(map(_is_no_text, argument))]
        if not named:
            raise
        shown = os.fsencode(named[0]).decode(errors="backslashreplace")
        print(f"Error: {shown} is not UTF-8: {error.reason}. Rename it, or choose another place.", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # pathlib's, until Python 3.13 makes it an OSError
            raise
        print(f"Error: {error}. Remove the link or choose another place.", file=sys.stderr)
        return 1
    return 0


def _is_no_text(character: str) -> bool:
    """Whether it stands for a byte of a file name that is not UTF-8 (PEP 383)."""
    return "\udc80" <= character <= "\udcff"
