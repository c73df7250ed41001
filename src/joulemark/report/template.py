"""The template engine of all our pages: everything is escaped, an unknown name is an error.

Every page extends ``base.html``, whose policy forbids requests and all scripts but those that a page names by their
hash.
"""

from __future__ import annotations

import jinja2


def page_environment(package: str) -> jinja2.Environment:
    """An engine for the templates of one package; the base of all pages is there too."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "."), jinja2.PackageLoader("joulemark.report", ".")],
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
