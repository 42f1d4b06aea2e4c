"""Headless Chromium: a page is opened, a script works on it, and what it has seen is read."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 240
_EARLY = """<script>
window.wrong = [];
addEventListener("error", (event) => wrong.push(String(event.message)), true);
addEventListener("securitypolicyviolation", (event) => wrong.push(event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...told) => wrong.push(told.join(" "));
</script>"""
_LATE = """<script>
{
  const seen = {};
  try { %s } catch (error) { wrong.push(String(error)); }
  seen.wrong = wrong;
  const told = document.createElement("pre");
  told.id = "seen";
  told.textContent = JSON.stringify(seen);
  document.body.append(told);
}
</script>"""


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
    watched = page.replace("<head>", f"<head>{_EARLY}", 1)
    file.write_text(watched.replace("</body>", f"{_LATE % script}</body>"), encoding="utf-8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [
            *(path, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", *scheme),
            *(f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900"),
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))
