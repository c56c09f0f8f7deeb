"""Tables as a page shows them: a quantity beside its interval or its spread, and nothing lost."""

import re

import pandas as pd

from causalmix.book import report

NAN = float("nan")


def test_an_interval_stands_beside_its_quantity():
    """Bounds are folded in by name; where there is none, the quantity stands alone, and what is unknown is a dash."""
    frame = pd.DataFrame(
        {"method": ["a", "b"], "mean": [0.5123, 0.4], "ci_low": [0.1, NAN], "ci_high": [0.7, NAN]}
        | {"difference": [NAN, 0.02], "difference_low": [NAN, -0.01], "difference_high": [NAN, 0.05], "seeds": [5, 1]}
    )
    shown = report.folded(frame)
    assert list(shown) == ["method", "mean [95%]", "difference [95%]", "seeds"]
    assert list(shown["mean [95%]"]) == ["0.512 [0.100, 0.700]", "0.400"]
    assert list(shown["difference [95%]"]) == ["–", "0.0200 [-0.0100, 0.0500]"]


def test_a_spread_stands_beside_its_mean():
    """Both ways in which tables name a standard deviation."""
    frame = pd.DataFrame({"hes_mean": [1.0], "hes_sd": [0.5], "spearman": [0.75], "spearman_sd": [0.1], "sd": [2]})
    shown = report.folded(frame)
    assert shown.to_dict("list") == {"hes_mean ± sd": ["1.00 ± 0.500"], "spearman ± sd": ["0.750 ± 0.100"], "sd": [2]}


def test_a_table_without_bounds_stays_as_it_is():
    """Half an interval is none, and the table that was given is not touched."""
    frame = pd.DataFrame({"mean": [1.0], "ci_low": [0.5]}, index=pd.Index(["x"], name="row"))
    pd.testing.assert_frame_equal(report.folded(frame), frame)


def test_a_table_has_its_caption_and_no_spread_breaks(monkeypatch):
    """The caption is plain text, and the sign of a spread keeps the line with both of its numbers."""
    shown = []
    monkeypatch.setattr(report, "display", shown.append)
    report.show(pd.DataFrame({"r2": [0.75], "r2_sd": [0.1]}), caption="R² of a & b")
    (text,) = (html.data for html in shown)
    assert text.startswith("<table") and text.split(">", 1)[1].startswith("<caption>R² of a &amp; b</caption>")
    assert "0.750\xa0±\xa00.100" in text and " ± " not in text


def test_flags_counts_and_small_chances_are_words(monkeypatch):
    """Yes and no, thousands apart, no p-value nearer to nought than known; a seed is a name; what is negative stays."""
    shown = []
    monkeypatch.setattr(report, "display", shown.append)
    row = {"met": True, "n": 21373443, "p": 3e-57, "seed": 90001, "theta": 0.5, "ci_low": 0.4, "ci_high": 1.0}
    report.show(pd.DataFrame([row | {"rest": "x", "bias": -0.25}]))
    cells = re.findall("<td>(.*?)</td>", shown[0].data)
    assert cells == ["yes", "21,373,443", "&lt;0.001", "90001", "0.500 [0.400, 1.00]", "x", "-0.250"]


def test_a_notebook_that_was_taken_away_names_subjects(monkeypatch, tmp_path):
    """Beside the book a subject is the chapter of that name; without it the name stays."""
    frame = pd.DataFrame({"chapter": ["mixture, later", "sweep --trials"]})
    assert list(report.in_chapters(frame)["chapter"]) == ["05_mixture, later", "sweep --trials"]
    monkeypatch.setattr(report.stamps, "NOTEBOOKS", tmp_path)
    assert report.in_chapters(frame).equals(frame)
