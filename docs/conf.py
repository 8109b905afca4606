"""
The site that `nox -s docs` makes of these pages, by Sphinx.

The pages are Markdown that reads as well without it: README links to the files themselves.
"""

from arrowetl import __version__

project = "arrowetl"
release = version = __version__
html_title = f"arrowetl {__version__}"
extensions = ["myst_parser"]
html_theme = "furo"
# Headings are what links point at, named as on a page of the files.
myst_heading_anchors = 3
# A page is read in whichever order: its first heading need not be the highest of all.
suppress_warnings = ["myst.header"]
