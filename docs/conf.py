"""How Sphinx makes a site of the repository's Markdown: `make site`. The pages are written for GitHub alone.

The source folder is the repository and not docs/, so that a link from there to benchmarks/ or to an example means the
same in both places.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from edgecost import __version__

REPOSITORY = Path(__file__).resolve().parent.parent
INDEX = REPOSITORY / "docs" / "README.md"
DECISIONS = "docs/decisions/README"
_LINK = re.compile(r"\]\(([^)#\s]+)\.md\)")

project = "edgecost"
author = "The edgecost developers"
version = release = __version__
html_title = f"edgecost {__version__}"

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**", "examples/*.md", "benchmarks/*.md"]
exclude_patterns = [".*", "build", "dist", "requirements", "tests"]
nitpicky = True
#: Two hyphens are two hyphens: they begin options.
smartquotes = False
#: Headings get the anchors that GitHub gives them.
myst_heading_anchors = 4

html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_use_index = False
#: Found pages would be fetched for their first lines, which a browser refuses to pages that it reads from a disk.
html_show_search_summary = False


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the front page the sections of the index as navigation, and the list of decisions its records."""
    if page == root_doc:
        source[0] += _navigation("", ["/docs/README"])
        for section, pages in sections().items():
            source[0] += _navigation(section, pages)
    elif page == DECISIONS:
        source[0] += _navigation("", ["/docs/decisions/[0-9]*"])


def sections() -> dict[str, list[str]]:
    """The headings of the index, each with the pages that are named below it and below no heading before."""
    found: dict[str, list[str]] = {}
    placed: set[str] = set()
    for part in re.split(r"^## ", INDEX.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        pages = [f"/{(INDEX.parent / link).resolve().relative_to(REPOSITORY)}" for link in _LINK.findall(body)]
        found[title] = [page for page in dict.fromkeys(pages) if page not in placed]
        placed.update(pages)
    return {title: pages for title, pages in found.items() if pages}


def _navigation(caption: str, pages: list[str]) -> str:
    options = [":hidden:", ":glob:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def add_front_door(app: Sphinx, error: Exception | None) -> None:
    """The address of a folder shows its index.html: there the front page stands once more."""
    if error is None:
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this first."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
