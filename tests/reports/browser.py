"""Headless Chromium: a page is opened, a script works on it, and what it has seen is read.

It is driven by the DevTools protocol over a pipe (https://chromedevtools.github.io/devtools-protocol),
since a page that is merely dumped has the focus only when the window's comes before its scripts.
"""

import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 240
_EARLY = """
window.wrong = [];
addEventListener("error", (event) => wrong.push(String(event.message)), true);
addEventListener("securitypolicyviolation", (event) => wrong.push(event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...told) => wrong.push(told.join(" "));
"""
_LATE = """{
  const seen = {};
  try { %s } catch (error) { wrong.push(String(error)); }
  seen.wrong = wrong;
  JSON.stringify(seen);
}"""
_TO_PIPES = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null'
"""Chromium reads from descriptor 3 and writes to 4; what it prints besides is no message."""


def chromium() -> str | None:
    """Where it is."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def is_required() -> bool:
    """Whether tests that need it fail without it."""
    return os.environ.get("DISTMATCH_BROWSER") == "required"


def seen_by(page: str, script: str, folder: Path, *, dark: bool = False) -> dict:
    """What a script writes into `seen` once the page is there, and what went wrong meanwhile.

    Args:
        page: HTML.
        script: JavaScript.
        folder: Where files go.
        dark: Whether somebody prefers dark pages.
    """
    path = chromium()
    assert path, "chromium isn't installed, and DISTMATCH_BROWSER=required asks for it"
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900")
    log = folder / "chromium.log"
    with (
        log.open("wb") as told,
        subprocess.Popen(
            [
                *("sh", "-c", _TO_PIPES, path, *options, "--remote-debugging-pipe"),
                f"--user-data-dir={folder / 'profile'}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
        ) as browser,
    ):
        assert browser.stdin and browser.stdout
        late = threading.Timer(_SECONDS, browser.kill)
        late.start()
        try:
            return _seen(_Wire(browser.stdin, browser.stdout), file.as_uri(), script, dark=dark)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
        finally:
            late.cancel()
            browser.kill()


def _seen(wire: "_Wire", address: str, script: str, *, dark: bool) -> dict:
    target = wire.ask("Target.createTarget", url="about:blank")["targetId"]
    wire.session = wire.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    wire.ask("Emulation.setFocusEmulationEnabled", enabled=True)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    wire.ask("Emulation.setEmulatedMedia", features=[scheme])
    wire.ask("Page.enable")
    wire.ask("Page.addScriptToEvaluateOnNewDocument", source=_EARLY)
    wire.told.clear()  # of the page before
    went = wire.ask("Page.navigate", url=address)
    assert "errorText" not in went, went
    wire.wait_for("Page.loadEventFired")
    ran = wire.ask("Runtime.evaluate", expression=_LATE % script)
    assert "exceptionDetails" not in ran, ran
    return json.loads(ran["result"]["value"])


class _Wire:
    """Messages of JSON, each ended by a zero byte."""

    def __init__(self, to: IO[bytes], back: IO[bytes]) -> None:
        self._to, self._back = to, back
        self._numbers = itertools.count(1)
        self.told: set[str] = set()
        self.session: str | None = None

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command."""
        number = next(self._numbers)
        session = {"sessionId": self.session} if self.session else {}
        message = {"id": number, "method": method, "params": params} | session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (came := self._next()).get("id") != number:
            pass
        assert "error" not in came, (method, came)
        return came["result"]

    def wait_for(self, event: str) -> None:
        """Go on once an event has been told."""
        while event not in self.told:
            self._next()

    def _next(self) -> Mapping[str, Any]:
        letters = iter(lambda: self._back.read(1), b"\0")
        message = b"".join(itertools.takewhile(bool, letters))
        assert message, "the browser has ended"
        came = json.loads(message)
        self.told.add(came.get("method", ""))
        return came
