from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from lsn.report.html import Markup, count, figure, join, percent, table, tag, whole_percent


class TextOf(HTMLParser):
    """What a browser would show, and which elements it would make."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.elements = "", []
        self.feed(markup)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


PRINTABLE = st.text(st.characters(blacklist_categories=("Cs", "Cc")))


@given(PRINTABLE, PRINTABLE)
def test_text_and_attributes_come_back_as_they_were(text: str, attribute: str) -> None:
    page = TextOf(tag("p", text, title=attribute))
    assert page.text == text
    assert page.elements == [("p", {"title": attribute})]


def test_markup_is_not_escaped_twice_but_text_beside_it_is() -> None:
    assert tag("p", tag("b", "a&b"), "<i>", 3) == "<p><b>a&amp;b</b>&lt;i&gt;3</p>"
    assert isinstance(join(["<", None, [Markup("<br>")]]), Markup)
    assert join(["<", None, [Markup("<br>")]]) == "&lt;<br>"


def test_attributes() -> None:
    markup = tag("rect", x=1.0, y=2.3456, fill_opacity=0.5, class_="a", title=None, viewBox="0 0 1 1")
    assert markup == '<rect x="1" y="2.35" fill-opacity="0.5" class="a" viewBox="0 0 1 1"></rect>'
    assert tag("img", src="x") == '<img src="x">'


def test_a_table_sets_numbers_flush_right() -> None:
    page = TextOf(table(("a", "b"), [("<b>", 2)], numeric=[1]))
    assert [name for name, _ in page.elements] == ["div", "table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert [attributes for _, attributes in page.elements if attributes] == [
        {"class": "scroll"},
        {"class": "number"},
        {"class": "number"},
    ]
    assert page.text == "ab<b>2"


def test_a_figure_says_its_caption_and_legend() -> None:
    page = TextOf(figure("drawing", caption="see this", legend=[("good", "<right>")], title="T"))
    assert page.text == "T<right>drawingsee this"


def test_numbers_with_units() -> None:
    assert percent(0.12345) == "12.3%" and whole_percent(0.126) == "13%"
    assert count(1, "video") == "1 video" and count(2000, "class", "classes") == "2,000 classes"
