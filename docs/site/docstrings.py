"""Docstrings of Google sections and Markdown, as the reStructuredText that autodoc wants."""

import re
from itertools import cycle

from sphinx.application import Sphinx
from sphinx.ext import napoleon

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_FORMULA = re.compile(r"^( *)\$\$(.+?)\$\$$", re.MULTILINE | re.DOTALL)
_REFERENCE = re.compile(r"(?<=\w)_(?!\w)")
_WITHOUT_SECTIONS = ("attribute", "data", "property")


class _Docstring(napoleon.GoogleDocstring):
    """Types are annotations, so what stands before a colon is no type."""

    def _consume_returns_section(
        self, preprocess_types: bool = False
    ) -> list[tuple[str, str, list[str]]]:
        return [("", "", self._dedent(self._consume_to_next_section()))]


def as_restructured(text: str) -> str:
    """Code and formulas as reStructuredText marks them; a `_` behind a word refers to nothing."""
    texts_and_codes = _CODE.split(_FORMULA.sub(_formula, text))
    return "".join(
        f"``{part}``" if is_code else _REFERENCE.sub(r"\\_", part)
        for is_code, part in zip(cycle((False, True)), texts_and_codes, strict=False)
    )


def _formula(found: re.Match[str]) -> str:
    indent, formula = found.groups()
    return f"{indent}.. math::\n\n{indent}    {' '.join(formula.split())}\n"


def _read(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    text = as_restructured("\n".join(lines))
    if text.startswith("Alias for field number"):  # what a named tuple says of any field
        text = ""
    elif what not in _WITHOUT_SECTIONS:
        settings = napoleon.Config(napoleon_use_rtype=False)
        text = str(_Docstring(text, settings, app, what, name, value, options))
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Known to Sphinx as `docstrings`."""
    app.connect("autodoc-process-docstring", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
