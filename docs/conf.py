"""Sphinx's settings; `make docs` builds with them.

The source folder is the repository, not this one: a link is a path from file to file, so the same
one leads to a page, the README or an example here and on a code host. A page of the site has the
path of its file, and `index.html` leads to `docs/index.html`.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]  # the package as it is here; our extensions

project = "distmatch"
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "examples/notebooks/*",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "**/.ipynb_checkpoints", "build", "runs"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "docstrings", "mathml", "reference"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as code hosts make them
nb_execution_mode = "off"  # the tests run them

autodoc_inherit_docstrings = False  # what is inherited is described once, with the base
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

# Names in signatures that other packages describe, and type variables
nitpick_ignore_regex = [
    ("py:class", r"(abc|collections|pathlib)\..+"),
    ("py:class", r"(datasets|gguf|huggingface_hub|jaxtyping|matplotlib|numpy|peft|torch)\..+"),
    ("py:class", r"transformers\..+|PreTrainedTokenizerBase|Tensor|ndarray"),
    ("py:class", r"distmatch\..+\._[A-Z]\w*"),
]
suppress_warnings = ["misc.highlighting_failure"]  # JSON with "..." in it

html_theme = "furo"
html_title = "distmatch"
html_math_renderer = "mathml"
html_static_path = ["site/static"]
html_css_files = ["style.css"]
templates_path = ["site/templates"]
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
html_show_copyright = False
