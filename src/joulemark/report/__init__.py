"""Boards, verdicts, figures and the page: drawn from records alone, on any laptop."""
