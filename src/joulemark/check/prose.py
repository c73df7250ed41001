"""The words that a person reads in a file: of Markdown without its code, of a page, of a program.

What is only mentioned (code, comments, quotation marks) is blanked with as many spaces, so that lines stay in place.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

FENCE = re.compile(
    r"^[ \t]*(?:(?P<ticks>`{3,})[^`\n]*|(?P<tildes>~{3,})[^\n]*)$.*?"
    r"(?:^[ \t]*(?:(?P=ticks)`*|(?P=tildes)~*)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
CODE = re.compile(r"(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
QUOTE = re.compile(r"(?<![\w\"])\"(?=\S)[^\"]*(?<=\S)\"(?!\w)|“[^”]*”|«[^»]*»")
"""Quotation marks around words; the mark of an inch stands behind a figure and opens nothing."""

BLOCK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+]|#{1,6}|\d+[.)])[ \t])|\n(?=[ \t]*\|)")
CELL = re.compile(r"(?<!\\)\|")
UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
"""Soft hyphens, joiners and marks of direction, which nobody sees inside a word."""


def seen(text: str) -> str:
    """The text in one form of each letter, without those that nobody sees; as many lines."""
    return UNSEEN.sub("", unicodedata.normalize("NFKC", text)).replace("\u2010", "-")


def blank(match: re.Match[str]) -> str:
    """As many spaces as the match is long; lines stay where they are."""
    return re.sub(r"[^\n]", " ", match[0])


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, list items and cells of a Markdown text with their places, each with its code blanked."""
    text = re.sub(r"^[ \t]*(?:>[ \t]?)+", blank, text, flags=re.MULTILINE)
    for start, block in _pieces(BLOCK, text):
        row = block.lstrip().startswith("|")  # a cell ends at its bar, even where a back tick is open
        for place, cell in _pieces(CELL, block if row else CODE.sub(blank, block)):
            yield start + place, CODE.sub(blank, cell)


def read_words(path: Path) -> str:
    """What is read of a file, by its ending: a page, a program in Python or JavaScript, or else Markdown.

    Raises ``ValueError`` for a file that is no text in UTF-8, or no Python though it is called so.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8") from error
    read: Callable[[str], str] = {
        ".html": visible_words,
        ".htm": visible_words,
        ".xhtml": visible_words,
        ".py": shown_strings,
        ".js": script_strings,
    }.get(path.suffix.lower(), str)
    try:
        return read(text)
    except SyntaxError as error:
        raise ValueError(f"{path} is no Python: {error.msg}, line {error.lineno}") from error


def visible_words(page: str) -> str:
    """What a reader of an HTML page can see, one block a paragraph: text, titles, and words of its data blocks.

    Code is left out, as are scripts.
    """
    reader = _Page()
    reader.feed(page)
    reader.close()
    return "".join(reader.words)


def shown_strings(source: str) -> str:
    """Strings of a Python file, one a paragraph; of docstrings those of techniques, which ``explain`` shows.

    What is joined by ``+`` or filled in is one string, with a 7 for each value.
    """
    tree = ast.parse(source)
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
        and not any(_name(one) == "technique" for one in getattr(node, "decorator_list", ()))
    }
    return "\n\n".join(_strings_of(tree, told))


def script_strings(source: str) -> str:
    """Strings of a JavaScript file, one a paragraph, without its comments."""
    literal = r"//[^\n]*|/\*.*?\*/|\"((?:\\.|[^\"\\\n])*)\"|'((?:\\.|[^'\\\n])*)'|`((?:\\.|[^`\\])*)`"
    found = (next(filter(None, match.groups()), "") for match in re.finditer(literal, source, re.DOTALL))
    return "\n\n".join(re.sub(r"\$\{[^}]*\}", "7", text) for text in found)


def _pieces(separator: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for match in separator.finditer(text):
        yield start, text[start : match.start()]
        start = match.end() if match[0] == "|" else match.start()
    yield start, text[start:]


def _name(decorator: ast.expr) -> str:
    """The last name of a decorator, called or not."""
    plain = decorator.func if isinstance(decorator, ast.Call) else decorator
    return plain.attr if isinstance(plain, ast.Attribute) else getattr(plain, "id", "")


def _strings_of(node: ast.AST, told: set[int]) -> Iterator[str]:
    """The strings in a piece of a program, outermost first."""
    if id(node) in told:
        return
    whole = _joined(node)
    if whole is not None:
        yield whole
        inner = list(_filled_in(node))
    else:
        inner = list(ast.iter_child_nodes(node))
    for part in inner:
        yield from _strings_of(part, told)


def _joined(node: ast.AST) -> str | None:
    """The text of a string, of one with values in it, or of a sum of such; ``None`` of anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_joined(part) or "7" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _joined(node.left), _joined(node.right)
        return None if left is None and right is None else (left or "7") + (right or "7")
    return None


def _filled_in(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a string, or in a sum of strings, that is none itself."""
    if isinstance(node, ast.JoinedStr):
        yield from (part.value for part in node.values if isinstance(part, ast.FormattedValue))
    elif isinstance(node, ast.BinOp):
        for side in (node.left, node.right):
            if _joined(side) is None:
                yield side
            else:
                yield from _filled_in(side)


class _Page(HTMLParser):
    """Collects the words of a page; every tag that is not part of a line of text ends a paragraph."""

    INLINE = frozenset(("a", "abbr", "b", "em", "i", "mark", "s", "small", "span", "strong", "sub", "sup", "u"))
    CODE = frozenset(("code", "kbd", "pre", "samp"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.inside: tuple[str, str | None] | None = None  # script, style or code, and its type

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a paragraph; titles and labels are words too."""
        given = dict(attrs)
        shown = [text for name in ("alt", "title", "aria-label", "content") if (text := given.get(name))]
        self.words += [f"\n\n{_plain(words)}\n\n" for words in shown]
        if self.inside is None and tag in ("script", "style", *self.CODE):
            self.inside = tag, given.get("type")
        self._edge(tag, "“")

    def handle_endtag(self, tag: str) -> None:
        """Close a paragraph."""
        if self.inside is not None and tag == self.inside[0]:
            self.inside = None
        self._edge(tag, "”")

    def handle_data(self, data: str) -> None:
        """Keep text; of a script only the strings of a JSON data block."""
        if self.inside is None:
            self.words.append(_plain(data))
        elif self.inside == ("script", "application/json"):
            try:
                found = list(_strings(msgspec.json.decode(data)))
            except msgspec.DecodeError:
                found = [data]  # a template's placeholder
            self.words += [f"\n\n{_plain(re.sub(r'<[^>]*>', ' ', words))}" for words in found]

    def handle_comment(self, data: str) -> None:
        """Keep comments: a backing is one."""
        self.words.append(f"<!--{data}-->")

    def _edge(self, tag: str, mark: str) -> None:
        if tag == "q":
            self.words.append(mark)
        elif tag in self.CODE - {"pre"}:
            self.words.append(" ")
        elif tag not in self.INLINE:
            self.words.append("\n\n")


def _plain(words: str) -> str:
    """Words of a page as Markdown that means only them: no code, comments, tables or lines of its own."""
    return re.sub(r"\s+", " ", words).translate(str.maketrans("`<~|", "'\u2039 /"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
