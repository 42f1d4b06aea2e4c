"""A terminal to write to, and what is to be seen in it."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

COLUMNS = 120
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What was written to a pseudo-terminal."""

    def __init__(self) -> None:
        self.written = ""

    @property
    def lines(self) -> list[str]:
        """As they stand in the end, each with what was last written over it."""
        assert not _CONTROL.findall(self.written)  # of which the cursor's way up would be one
        shown = []
        for line in self.written.replace("\r\n", "\n").split("\n"):
            cells: list[str] = []
            for over in line.split("\r"):
                cells[: len(over)] = over
            shown.append("".join(cells).rstrip())
        return shown[:-1] if shown[-1] == "" else shown

    @property
    def bars(self) -> list[str]:
        """All that were drawn, one over the other."""
        drawn = re.split(r"[\r\n]+", self.written)
        return [text.strip() for text in drawn if "%" in text and "|" in text]


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Inside, what is printed goes to a terminal, whose text is complete afterwards."""
    theirs, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    found, chunks = Terminal(), list[bytes]()
    reader = Thread(target=_read, args=(theirs, chunks))
    reader.start()
    before = sys.stdout, sys.stderr
    try:
        with open(ours, "w", buffering=1, encoding="utf-8") as screen:
            sys.stdout = sys.stderr = screen
            yield found
    finally:
        sys.stdout, sys.stderr = before
        reader.join()
        os.close(theirs)
        found.written = b"".join(chunks).decode()


def _read(source: int, chunks: list[bytes]) -> None:
    """Up to the end, which on Linux is an error."""
    try:
        while chunk := os.read(source, 65536):
            chunks.append(chunk)
    except OSError:
        pass
