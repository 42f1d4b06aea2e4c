"""Formulas as MathML, which browsers draw themselves: no script, nothing from the network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_logger = logging.getLogger(__name__)

# TeX takes one digit where there are no braces, docutils the whole number
_HALF = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")
_INDEX = re.compile(r"([\^_])(\d)(?=\d)")
# What docutils writes of \setminus, which is in few fonts, and of \lvert and \rvert, of which
# browsers would stretch one
_MENDED = {
    "\u29f5": "\u2216",
    '<mo class="mathopen">|</mo>': '<mo form="prefix" stretchy="false">|</mo>',
    "<mo>|</mo>": '<mo form="postfix" stretchy="false">|</mo>',
}


def drawn(formula: str, *, is_block: bool) -> str:
    """A formula of TeX as MathML.

    Raises:
        MathError: A command that isn't known, or braces without another.
    """
    formula = _INDEX.sub(r"\1{\2}", _HALF.sub(r"\1{\2}{\3}", formula))
    written = tex2mathml(formula, as_block=is_block)
    for given, better in _MENDED.items():
        written = written.replace(given, better)
    return written


def _write(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    is_block = isinstance(node, nodes.math_block)
    try:
        formula = drawn(node.astext(), is_block=is_block)
    except MathError as error:
        _logger.warning("the formula %s can't be drawn: %s", node.astext(), error, location=node)
        formula = translator.encode(node.astext())
    translator.body.append(f'<div class="math">{formula}</div>' if is_block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Known to Sphinx as `mathml`."""
    app.add_html_math_renderer("mathml", (_write, None), (_write, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
