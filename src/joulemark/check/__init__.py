"""Checks: stored records judged again by the rules, and the words of texts held against what was measured."""
