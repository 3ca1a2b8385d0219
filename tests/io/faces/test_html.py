"""HTML of faces, read back by Python's own parser: nothing of a name is obeyed, and all of it is shown."""

from html.parser import HTMLParser

import pytest

from modelflow.io.faces import html
from modelflow.io.faces.face import Face
from modelflow.io.faces.table import Table
from modelflow.text import shown
from report_studies import HOSTILE

OURS = {"div", "style", "p", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption"}
ATTRIBUTES = {"class", "scope", "src", "alt", "width"}


class Read(HTMLParser):
    """Elements, attributes and texts of a piece of HTML."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.texts = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        self.texts.append(data)


class OfNames(Face):
    def __init__(self, names):
        self.names = names

    def _headline(self):
        return self.names[0]

    def _tables(self):
        return [Table(("name", *self.names[:1]), [(name, "1") for name in self.names], 1, self.names[2])]

    def _notes(self):
        return self.names

    def _rows(self):
        return [{"name": name} for name in self.names]


def test_hostile_names_are_shown_and_obeyed_nowhere():
    read = Read(OfNames(HOSTILE)._repr_html_())
    assert set(read.elements) <= OURS
    assert set(read.attributes) <= ATTRIBUTES
    assert [name for name in HOSTILE if shown(name) not in read.texts] == []


def test_a_picture_stands_within_the_page_and_its_words_are_escaped():
    read = Read(html.picture(b"<svg onload=alert(1)>", "image/svg+xml", HOSTILE[6], 900, HOSTILE[0]))
    assert read.elements == ["figure", "img", "figcaption"]
    assert set(read.attributes) == {"src", "alt", "width"}
    assert read.attributes["src"].startswith("data:image/svg+xml;base64,")
    assert "<" not in read.attributes["src"]
    assert read.attributes["alt"] == shown(HOSTILE[6])


def test_figures_stand_to_the_right_and_long_text_is_broken():
    table = Table(("name", "words", "n"), [("a", "word " * 20, "1")], 2)
    assert Read(html.table(table)).elements.count("td") == 3
    assert '<td class="text">a</td><td class="long">' in html.table(table)
    assert "<td>1</td>" in html.table(table)


def test_nothing_is_loaded_from_anywhere():
    text = OfNames(["a", "b", "c"])._repr_html_()
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_markdown_shows_names_as_they_stand():
    text = OfNames(HOSTILE).to_markdown()
    assert "<" not in text
    assert repr(OfNames(HOSTILE)) == text.rstrip()


def test_a_frame_has_a_row_each():
    pandas = pytest.importorskip("pandas")
    frame = OfNames(HOSTILE).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["name"]) == HOSTILE


def test_without_pandas_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(Exception, match=r"to_frame: pandas is not installed\. Run pip install pandas, or use to_mark"):
        OfNames(["a"]).to_frame()
