"""Results as text and in a notebook's frame."""

from html.parser import HTMLParser

from rich.table import Table

from joulemark.notebook.showing import PIPE_COLUMNS, as_text, framed


def test_text_has_no_colours_and_no_markup_and_fits_a_pipe():
    table = Table("layer", "x" * 300)
    text = as_text(["[bold]kept[/bold]", table])
    assert text.splitlines()[0] == "[bold]kept[/bold]"
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= PIPE_COLUMNS


def test_a_frame_holds_the_very_page_and_lets_nothing_of_it_run():
    page = '<html><style>a{}</style><b title="x">\'&amp;</b><script>1</script></html>'
    seen = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append((tag, dict(attrs)))

    Parser().feed(framed(page))
    [(tag, attributes)] = seen  # one element: the page is inside its attribute
    assert tag == "iframe"
    assert attributes["srcdoc"] == page
    assert attributes["sandbox"] is None  # without a value nothing is allowed
