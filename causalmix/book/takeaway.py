"""The boxed answer to a chapter's question: it stands at the top of the page and is worked out further down."""

import re
from html import escape

from IPython.display import HTML, display

__all__ = ["Takeaway", "place"]

OPEN = "The answer will stand here when this notebook has run to its end."


class Takeaway:
    """An empty box on the page, here, to be answered by a later cell."""

    def __init__(self) -> None:
        self._shown = display(_box(OPEN), display_id=True)

    def answer(self, *sentences: str) -> None:
        """Fill the box, wherever on the page this is called; sentences that are empty are left out.

        Each is plain text; what is **bold** or code is marked as in Markdown, and nothing else is.
        """
        self._shown.update(_box(" ".join(filter(None, sentences))))


place = Takeaway  # what chapters call


def _box(text: str) -> HTML:
    """The box as HTML, with the classes that the book's theme draws as an admonition."""
    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text, quote=False))
    marked = re.sub(r"`(.+?)`", r"<code>\1</code>", marked)
    title = '<p class="admonition-title"><strong>In short</strong></p>'
    return HTML(f'<div class="admonition tip takeaway">{title}<p>{marked}</p></div>')
