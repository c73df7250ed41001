"""An audit as one page: a file that needs no network and runs no script."""

from __future__ import annotations

from joulemark.auditing.audit import Audit
from joulemark.auditing.audit_text import cells, joules_line, layer_sums
from joulemark.report.template import page_environment
from joulemark.report.words import with_prefix


def render_audit(audit: Audit) -> str:
    """Draw the page; every text is escaped, and the page's own policy forbids scripts and requests."""
    environment = page_environment("joulemark.auditing")
    environment.filters["prefix"] = with_prefix
    return environment.get_template("audit.html").render(
        audit=audit,
        layers=layer_sums(audit),
        ways=[(cells(one, random=audit.random), one) for one in audit.tried],
        joules=joules_line(audit),
    )
