"""A user's own rows as a pool: every form, every fault, and the way to a scored pool."""

import json

import numpy as np
import pytest
import yaml
from real_rows import own_cache, turns, write_lines  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.data import scored_pools
from causalmix.data.pools import hub, local
from causalmix.data.recipes import Recipe, read_recipe

GOOD = [
    {"domain": "math", "messages": turns("1+1 ?", "2")},
    {"domain": "chat", "messages": [{"role": "system", "content": "be kind"}, *turns("hi", "hello", "bye", "bye")]},
]


def test_numbers_are_domains(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [{"domain": i, "messages": turns("q", "a")} for i in (0, 1)])
    assert local.load_pool(path)["domain"][:] == ["0", "1"]


@pytest.mark.parametrize("as_file", [None, "map.yaml", "map.json"])
def test_sources_tell_the_domain_and_null_leaves_them_out(tmp_path, as_file):
    rows = [{"origin": s, "domain": "ignored", "messages": turns("q", s)} for s in ("gsm", "chat", "junk", "math")]
    rows[2]["messages"] = turns("q", "")  # what is left out is not looked at
    given = {"gsm": "math", "math": "math", "chat": "talk", "junk": None, "unused": "talk"}
    if as_file:
        dump = json.dumps if as_file.endswith("json") else yaml.safe_dump
        (tmp_path / as_file).write_text(dump(given))
    path = write_lines(tmp_path / "rows.jsonl", rows)
    mapping = str(tmp_path / as_file) if as_file else given
    pool = local.load_pool(path, source_to_domain=mapping, source_column="origin")
    assert list(zip(pool["source"], pool["domain"])) == [("gsm", "math"), ("chat", "talk"), ("math", "math")]


def test_sources_without_a_domain_are_listed(tmp_path):
    rows = [{"source": s, "messages": turns("q", "a")} for s in ("a", "b", "c", "b")]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputError, match="found none for b, c;"):
        local.load_pool(path, source_to_domain={"a": "math"})


@pytest.mark.parametrize(
    "ids, expected", [(["x", "y"], ["x", "y"]), ([7, 8], ["7", "8"]), (None, ["row-000000", "row-000001"])]
)
def test_ids_are_kept_or_made(tmp_path, ids, expected):
    rows = [row | ({"id": ids[i]} if ids else {}) for i, row in enumerate(GOOD)]
    assert local.load_pool(write_lines(tmp_path / "r.jsonl", rows))["row_id"][:] == expected


BAD = {
    "the role 'robot'": {"messages": [{"role": "robot", "content": "a"}]},
    "a turn of user without text": {"messages": [{"role": "user", "content": None}, *turns("q", "a")]},
    "no assistant turn": {"messages": turns("q")},
    "an empty assistant turn": {"messages": turns("q", " \n")},
    "no turns": {"messages": []},
    "a text instead of turns, which JSON lists": {"messages": str(turns("q", "a"))},
    "no domain": {"messages": turns("q", "a"), "domain": None},
    "the id 0 a second time": {"messages": turns("q", "a"), "id": "0"},
}


@pytest.mark.parametrize("problem", BAD)
def test_the_first_bad_row_is_named_or_skipped(tmp_path, problem):
    rows = [{"id": str(i)} | row for i, row in enumerate([*GOOD, {"domain": "math"} | BAD[problem], GOOD[0], GOOD[1]])]
    rows[4]["messages"] = turns("q")  # a second fault, further down
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputError) as error:
        local.load_pool(path)
    told = str(error.value)
    assert f"found {problem}" in told and "in row 3;" in told and "\n" not in told
    pool = local.load_pool(path, on_bad="skip")
    assert pool["row_id"][:] == ["0", "1", "3"]
    assert pool.info.description.startswith(f"2 of 5 rows were skipped, the first of them row 3: {problem}")


@pytest.mark.parametrize(
    "rows, options, told",
    [
        (
            [{"messages": turns("q", "a")}],
            {},
            "the domain in the column domain, .* with --domain-column, .* --domain file, or give --source-map",
        ),
        ([{"domain": "math", "text": "a"}], {}, "found the columns domain, text"),
        (GOOD, {"on_bad": "guess"}, "refuse, skip, found 'guess'"),
        (GOOD, {"id_column": "name"}, "column name"),
        (GOOD, {"messages_column": "mesages"}, "the column mesages in .*correct messages_column"),
        (GOOD, {"source_to_domain": {"a": "b"}}, "column source"),
        (GOOD[:1], {}, "two or more domains in .*found math"),
    ],
)
def test_what_makes_no_pool_is_told_in_one_sentence(tmp_path, rows, options, told):
    with pytest.raises(InputError, match=told) as error:
        local.load_pool(write_lines(tmp_path / "rows.jsonl", rows), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed", None])
def test_a_map_that_is_none_is_refused(tmp_path, text):
    path = write_lines(tmp_path / "rows.jsonl", [{"source": "a", "messages": turns("q", "a")}])
    if text:
        (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(InputError, match="map.yaml"):
        local.load_pool(path, source_to_domain=str(tmp_path / "map.yaml"))


def many(count):
    return [
        {"domain": ("math", "chat", "math")[i % 3], "messages": turns(f"compute {i} + 1", f"{i + 1}")}
        for i in range(count)
    ]


def test_a_part_keeps_the_shares(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", many(90))
    pool = local.load_pool(path, max_rows=9, seed=0)
    assert sorted(pool["domain"]) == ["chat"] * 3 + ["math"] * 6
    assert pool["row_id"][:] != local.load_pool(path, max_rows=9, seed=1)["row_id"][:]


def test_a_pool_is_what_its_files_hold_and_are_called_wherever_they_lie(tmp_path):
    """A folder that was moved is trained on by no run again; the name of a file may be that of a domain.

    Nor is one that scores rows, whatever it is called then.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "tasks").mkdir(parents=True)
    (tmp_path / "here-scorer").mkdir()
    (tmp_path / "here-scorer" / "config.json").write_text("{}")
    for name in ("math", "chat"):
        write_lines(here / f"{name}.jsonl", GOOD[:1])

    def digests(folder):
        asked = {"benchmarks": [], "include_path": str(folder / "tasks")}
        scorer = str(tmp_path / f"{folder.name}-scorer")
        recipe = Recipe("local", {"path": str(folder), "domain": "file"}, scorer, evaluation=asked)
        return recipe.rows_digest, recipe.questions_digest

    before = digests(here)
    scorer = (tmp_path / "here-scorer").rename(tmp_path / "there-scorer")
    assert digests(here.rename(there)) == before
    (scorer / "config.json").write_text('{"vocab_size": 2}')
    assert digests(there)[0] != before[0]
    (scorer / "config.json").write_text("{}")
    (there / "math.jsonl").rename(there / "mathematics.jsonl")
    assert digests(there)[0] != before[0]


def test_a_local_pool_becomes_a_scored_world(tmp_path, monkeypatch):
    """The way of a study: loaded, scored by a language model, split, and read again from the cache."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    path = write_lines(tmp_path / "rows.jsonl", [*many(66), {"domain": "math", "messages": turns("q")}])
    own = {"name": "mine", "axis": "math", "task": "mine", "metric": "acc,none"}
    options = {"path": path, "on_bad": "skip"}
    given = {"loader": "local", "options": options, "scorer": "proxy", "evaluation": {"own": [own]}}
    made = scored_pools.load_real(Recipe.of(given), 60, 2)
    assert len(made.pool) == 54 and len(made.validation()) == 6
    assert set(made.pool["row_id"]) & set(made.validation()["row_id"]) == set()
    assert np.isfinite([made.pool[name][:] for name in ("hes", "normalized_loss", "writing_style")]).all()
    assert min(made.pool["n_tokens"]) > 0
    monkeypatch.setattr("causalmix.data.pools.local.load_pool", None)
    again = scored_pools.load_real(Recipe.of(given), 60, 2)
    assert again.pool.info.description.startswith("1 of 67 rows was skipped")
    assert "6 rows are held out for losses by domain" in hub.told(again.pool)[0][-1]
    assert again.name == made.name and again.pool["row_id"][:] == made.pool["row_id"][:]
    quicker = given | {"evaluation": given["evaluation"] | {"batch_size": 2}}  # no part of the identity, and followed
    assert scored_pools.load_real(Recipe.of(quicker), 60, 2).name == made.name
    assert read_recipe(made.name.split("/")[-1])[0].settings == {"batch_size": 2}


def test_a_domain_that_is_called_as_unseen_rows_are_is_refused(tmp_path):
    """The loss on it would stand in the place of the loss on another domain's Unseen rows."""
    rows = [{"domain": d, "prompt": f"{i}", "response": "a"} for d in ("math", "math unseen") for i in range(20)]
    with pytest.raises(InputError, match="found 'math unseen'; map it"):
        scored_pools.held_out(local.load_pool(write_lines(tmp_path / "rows.jsonl", rows)), 0)
