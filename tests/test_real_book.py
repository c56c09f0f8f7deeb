"""The repository's own book: rendered once, without a finding, and open to readers without a network."""

import pytest
from test_book import assert_offline, needs_chromium

from causalmix.book import build, gates


@pytest.fixture(scope="module")
def real_book():
    """The book, rendered from its committed pages."""
    if not any(page.exists() for page in gates.chapters()):
        pytest.skip("no executed chapters yet; run `make book`")
    return build.build().parent


def test_the_real_book_has_no_findings(real_book):
    """What is committed may be published: findings would have ended its building."""
    assert (real_book / "index.html").is_file()


@needs_chromium
@pytest.mark.timeout(900)
def test_the_real_book_opens_offline(real_book):
    """Every page, opened as a file."""
    assert_offline(real_book, real_book.as_uri())
