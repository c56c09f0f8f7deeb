"""Published data sets as pools: Tulu 3, AM-Thinking and published scores; and what is told where they are missing."""

from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from real_rows import own_cache, thought, tulu_rows, turns, write_lines  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.data.pools import am_thinking, hub, published_scores, tulu
from causalmix.lm.available import available
from causalmix.methods.policy import domain_caps

CODE, FLAN = "ai2-adapt-dev/personahub_code_v2_34999", "ai2-adapt-dev/flan_v2_converted"
WILDGUARD = "ai2-adapt-dev/tulu_v3.9_synthetic_finalresp_wildguardmixtrain_decontaminated_50k"
AYA = "ai2-adapt-dev/tulu_v3.9_aya_100k"


def one_sentence(error):
    told = str(error.value)
    return told.startswith("Expected ") and ", found" in told and "; " in told and "\n" not in told


# Opening


def test_the_same_rows_from_every_kind_of_place(tmp_path):
    rows = Dataset.from_list(tulu_rows({CODE: 2, FLAN: 1}))
    rows.to_json(tmp_path / "rows.jsonl")
    rows.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "folder" / "small").mkdir(parents=True)
    rows.to_parquet(tmp_path / "folder" / "small" / "train-00000-of-00001.parquet")
    rows.save_to_disk(tmp_path / "saved")
    DatasetDict(sft=rows).save_to_disk(tmp_path / "splits")
    for place, how in {
        "rows.jsonl": {}, "rows.parquet": {}, "folder": {"name": "small"}, "saved": {}, "splits": {"split": "sft"},
    }.items():  # fmt: skip
        assert hub.open_rows(tmp_path / place, **how).to_list() == rows.to_list(), place


def test_csv_and_a_choice_of_files(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion\none,two\n")
    (tmp_path / "b.csv").write_text("prompt,completion\nthree,four\n")
    assert hub.open_rows(tmp_path / "a.csv").to_list() == [{"prompt": "one", "completion": "two"}]
    assert hub.open_rows(tmp_path, data_files="b.csv")["prompt"][:] == ["three"]


def test_a_folder_of_csv_is_read_as_its_files_are(tmp_path):
    """As text: an answer may be 007 or None, and True is no truth value."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text("prompt,completion\none,007\ntwo,None\n")
    (folder / "test.csv").write_text("prompt,completion\nthree,True\n")
    assert hub.open_rows(folder).to_list() == hub.open_rows(folder / "train.csv").to_list()
    assert hub.open_rows(folder)["completion"][:] == ["007", "None"]
    assert hub.open_rows(folder, split="test")["completion"][:] == ["True"]
    with pytest.raises(InputError, match="the split dev of") as error:
        hub.open_rows(folder, split="dev")
    assert one_sentence(error)
    (tmp_path / "tabs").mkdir()
    (tmp_path / "tabs" / "rows.tsv").write_text("prompt\tcompletion\none, two\t007\n")
    assert hub.open_rows(tmp_path / "tabs").to_list() == [{"prompt": "one, two", "completion": "007"}]


def test_nothing_is_written_beside_the_rows(tmp_path):
    """A pool's identity covers the files of its folder, so a cache among them would change it."""
    Dataset.from_list(tulu_rows({CODE: 3, FLAN: 3})).save_to_disk(tmp_path / "saved")
    before = sorted(path.name for path in (tmp_path / "saved").rglob("*"))
    assert len(tulu.load_pool(str(tmp_path / "saved"))) == 6
    assert sorted(path.name for path in (tmp_path / "saved").rglob("*")) == before


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    for answer in ("first", "other"):  # of one length, so that only the content tells them apart
        write_lines(path, [{"a": answer}])
        assert hub.open_rows(path)["a"][:] == [answer]


@pytest.mark.parametrize(
    "name, text", [("rows.txt", "a"), ("rows.jsonl", "{not json"), ("rows.jsonl", ""), ("folder", None)]
)
def test_what_is_no_table_is_told_in_one_sentence(tmp_path, name, text):
    path = tmp_path / name
    path.mkdir() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=name) as error:
        hub.open_rows(path)
    assert one_sentence(error)


def test_the_broken_line_is_told(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n{"a": 2\n{"a": 3}\n')
    with pytest.raises(InputError, match="found no JSON .* in row 3; ") as error:
        hub.open_rows(tmp_path / "rows.jsonl")
    assert one_sentence(error)


def test_a_data_set_that_cannot_be_had_is_told_in_one_sentence(monkeypatch):
    with pytest.raises(InputError, match="allenai/tulu-3.*HF_HUB_OFFLINE.*`laptop` runs without it") as offline:
        available("allenai/tulu-3-sft-mixture", "dataset")
    assert one_sentence(offline)
    for load in (tulu.load_pool, am_thinking.load_pool):
        with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
            load()
    with pytest.raises(InputError, match="name on the hub"):
        available("no/such/folder", "dataset")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = Mock(side_effect=OSError("no route"), return_value=Mock(gated=False))
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", asked)
    with pytest.raises(InputError, match="the hub could not give it: OSError"):
        available("allenai/tulu-3-sft-mixture", "dataset")
    asked.side_effect = None
    available("allenai/tulu-3-sft-mixture", "dataset")
    assert asked.call_args.kwargs["timeout"] <= 10
    asked.return_value.gated = "manual"  # its page is there for everyone, its rows are not
    monkeypatch.setattr("huggingface_hub.HfApi.auth_check", Mock(side_effect=PermissionError))
    with pytest.raises(InputError, match="the hub could not give it: PermissionError"):
        available("allenai/tulu-3-sft-mixture", "dataset")


@pytest.mark.parametrize("kind", ["prepared", "files"])
def test_a_data_set_in_the_cache_needs_no_hub(own_cache, kind):  # noqa: F811
    if kind == "prepared":
        made = own_cache / "datasets" / "allenai___tulu-3-sft-mixture" / "default" / "0.0.0" / "abc"
        made.mkdir(parents=True)
        (made / "dataset_info.json").write_text("{}")
    else:
        made = own_cache / "hub" / "datasets--allenai--tulu-3-sft-mixture"
        (made / "refs").mkdir(parents=True)
        (made / "refs" / "main").write_text("abc")
        (made / "snapshots" / "abc").mkdir(parents=True)
    available("allenai/tulu-3-sft-mixture", "dataset")


# Taking a part


def test_a_part_keeps_the_shares_and_follows_the_seed():
    groups = ["a"] * 700 + ["b"] * 200 + ["c"] * 100
    part = hub.stratified(groups, 99, 3)
    assert pd.Series(groups)[part].value_counts().to_dict() == {"a": 69, "b": 20, "c": 10}
    assert (np.diff(part) > 0).all()
    assert np.array_equal(part, hub.stratified(groups, 99, 3))
    assert not np.array_equal(part, hub.stratified(groups, 99, 4))
    assert np.array_equal(hub.stratified(groups, 0, 3), np.arange(1000))
    assert np.array_equal(hub.stratified(groups, 5000, 3), np.arange(1000))


def test_a_part_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="found none of c among 3"):
        hub.stratified(["a"] * 60 + ["b"] * 35 + ["c"] * 5, 3, 0)


# Tulu 3


def test_the_table_of_sources_sums_as_published():
    assert len(tulu.SOURCES) == 19
    assert [name for name, about in tulu.SOURCES.items() if tulu.DOMAIN_OF[about["group"]] is None] == [AYA]
    assert sum(about["rows"] for about in tulu.SOURCES.values()) == 939_344
    assert tulu.expected_counts()["rows"].to_dict() == {
        "coding": 142_275, "instruction": 146_852, "math": 334_252, "knowledge": 104_982, "safety": 110_983,
    }  # fmt: skip
    assert tulu.expected_counts()["rows"].sum() == 839_344


def test_caps_are_those_that_a_mixture_is_held_to():
    expected = tulu.expected_counts()
    for size in (100_000, 400_000, 800_000):
        assert np.allclose(expected[f"cap_{size}"], domain_caps(expected["rows"].to_numpy(), size))
    assert (expected["cap_100000"] == 1).all()
    assert expected["cap_800000"].round(3).tolist() == [0.178, 0.184, 0.418, 0.131, 0.139]
    assert (expected["cap_800000"] < 0.2).sum() == 4  # equal shares repeat rows in four of five domains


def test_tulu_sorts_its_sources_and_leaves_out_what_it_should(tmp_path):
    path = tmp_path / "tulu.parquet"
    Dataset.from_list(tulu_rows(dict.fromkeys(tulu.SOURCES, 2), empty=[WILDGUARD])).to_parquet(path)
    pool = tulu.load_pool(str(path))
    assert pool.features == hub.FEATURES
    assert pd.Series(pool["domain"][:]).value_counts().to_dict() == {
        "instruction": 10, "math": 10, "knowledge": 6, "coding": 4, "safety": 5,
    }  # fmt: skip
    assert AYA not in pool["source"][:]
    assert sum(source == WILDGUARD for source in pool["source"]) == 1
    assert all(turn["content"] for messages in pool["messages"] for turn in messages)
    told, tables = hub.told(pool)
    assert told == ["1 of 36 rows was skipped, row 35: an empty assistant turn."]
    assert [(line["reason"], line["rows"]) for line in tables[hub.LEFT_OUT]] == [
        ("an empty assistant turn", "1"), ("a source that the map leaves out", "2")
    ]  # fmt: skip
    assert len(set(pool["row_id"])) == 35


def test_rows_that_tulu_repeats_on_purpose_are_kept(tmp_path):
    """tulu_hard_coded_repeated_10 holds each of its rows ten times."""
    rows = tulu_rows({FLAN: 2}) + 10 * tulu_rows({"ai2-adapt-dev/tulu_hard_coded_repeated_10": 1})
    assert len(tulu.load_pool(write_lines(tmp_path / "t.jsonl", rows))) == 12


def test_a_source_that_tulu_does_not_know_is_named(tmp_path):
    path = write_lines(tmp_path / "t.jsonl", tulu_rows({FLAN: 1, "someone/new_data": 1}))
    with pytest.raises(InputError, match="found none for someone/new_data;"):
        tulu.load_pool(path)


def test_a_part_of_tulu(tmp_path):
    path = write_lines(tmp_path / "t.jsonl", tulu_rows({CODE: 30, FLAN: 70}))
    pool = tulu.load_pool(path, max_rows=10, seed=1)
    assert sorted(pool["domain"]) == ["coding"] * 3 + ["knowledge"] * 7
    assert pool["row_id"][:] == tulu.load_pool(path, max_rows=10, seed=1)["row_id"][:]
    assert pool["row_id"][:] != tulu.load_pool(path, max_rows=10, seed=2)["row_id"][:]


# AM-Thinking


def am_folder(tmp_path, math, code):
    write_lines(tmp_path / "math.jsonl", math)
    write_lines(tmp_path / "code.jsonl", code)
    return str(tmp_path)


def test_am_thinking_reads_files_whose_info_differs(tmp_path):
    math = [thought("1+1 ?", "one and one", "2", test_case=None, source="mathsource", ground_truth="2")]
    code = [
        thought("sort", "steps", "`sorted`", test_case=["assert"], source=None, ground_truth={"a": 1}),
        thought("más", "pasos", "sí", info="x", ppl="high", test_case={"in": [1]}),
    ]
    code[1]["conversations"][1]["info"] = "a text, not a struct"
    pool = am_thinking.load_pool(am_folder(tmp_path, math, code))
    assert pool.features == hub.FEATURES
    assert pool["domain"][:] == ["math", "coding", "coding"]
    assert pool["source"][:] == ["mathsource", "code", "code"]
    assert pool["row_id"][:] == ["math-000000", "code-000000", "code-000001"]
    assert pool[0]["messages"] == turns("1+1 ?", "<think>\none and one\n</think>\n\n2")
    assert pool[2]["messages"] == turns("más", "<think>\npasos\n</think>\n\nsí")


def test_am_thinking_leaves_out_and_counts_what_lacks_a_part(tmp_path):
    whole = thought("q", "t", "a")
    bad = [
        thought("q", "", "a"),
        thought("q", "t", "", value="<think>t</think><answer></answer>"),
        thought("q", None, None, value="only an answer"),
        {"system": "", "conversations": whole["conversations"][:1]},
        {"system": "", "conversations": None},
    ]
    apart = thought("q", "from info", "too", value="")
    pool = am_thinking.load_pool(am_folder(tmp_path, [*bad, whole], [apart]))
    assert pool["row_id"][:] == ["math-000005", "code-000000"]
    assert pool[1]["messages"][1]["content"] == "<think>\nfrom info\n</think>\n\ntoo"
    told, tables = hub.told(pool)
    why = "no chain of thought or no answer"
    assert told == [f"5 of 7 rows were skipped, the first of them row 1 of math.jsonl: {why}."]
    assert [(line["reason"], line["file"], line["rows"]) for line in tables[hub.LEFT_OUT]] == [(why, "math.jsonl", "5")]


def test_a_part_of_am_thinking_and_a_choice_of_files(tmp_path):
    path = am_folder(tmp_path, *([thought(f"{d} {i}", "t", "a") for i in range(n)] for d, n in (("m", 60), ("c", 40))))
    pool = am_thinking.load_pool(path, max_rows=10, seed=5)
    assert pool["domain"][:] == ["math"] * 6 + ["coding"] * 4
    assert [m[0]["content"] for m in pool["messages"]] == [
        f"{row_id[0]} {int(row_id.split('-')[1])}" for row_id in pool["row_id"]
    ]
    assert pool["row_id"][:] != am_thinking.load_pool(path, max_rows=10, seed=6)["row_id"][:]
    one = am_thinking.load_pool(path, files={"code.jsonl": "programs"})
    assert set(one["domain"]) == {"programs"} and len(one) == 40


def test_a_part_without_rows_of_a_file_is_a_part(tmp_path):
    """Where two files have one domain, so few rows may all come from one of them."""
    path = am_folder(tmp_path, [thought(f"m {i}", "t", "a") for i in range(60)], [thought("c", "t", "a")])
    pool = am_thinking.load_pool(path, {"math.jsonl": "math", "code.jsonl": "math"}, max_rows=1)
    assert len(pool) == 1 and pool.features == hub.FEATURES and pool["row_id"][0].startswith("math")


def test_am_thinking_reads_a_changed_file_again(tmp_path):
    for answer in ("a", "b"):
        pool = am_thinking.load_pool(am_folder(tmp_path, [thought("q", "t", answer)], [thought("q", "t", "a")]))
        assert pool[0]["messages"][1]["content"].endswith(answer)


def test_am_thinking_tells_of_a_missing_file_a_broken_line_and_no_rows(tmp_path):
    with pytest.raises(InputError, match="file math.jsonl in"):
        am_thinking.load_pool(str(tmp_path))
    am_folder(tmp_path, [thought("q", "t", "a")], [thought("q", "", "")])
    with pytest.raises(InputError, match="found none; check"):
        am_thinking.load_pool(str(tmp_path))
    (tmp_path / "code.jsonl").write_text('{"system": "", \n')
    with pytest.raises(InputError, match="code.jsonl, found no JSON .* in line 1; fetch it again"):
        am_thinking.load_pool(str(tmp_path))


# Published scores


def scored_row(instruction, output, hes, loss=2.0, style=3.0):
    """A row of OpenDataArena-scored-data-2603; a few of its thirty metrics."""
    raw = {"HES": hes, "Normalized_Loss": loss, "Writing_Style": style, "MTLD": 50.0, "IFD": 0.5}
    return {"id": 1, "instruction": instruction, "output": output, "raw_scores": raw,
            "processed_scores": dict.fromkeys(raw, 0.5)}  # fmt: skip


def pool_of(*conversations):
    return Dataset.from_list(
        [{"row_id": str(i), "domain": "d", "source": "s", "messages": turns(*c)} for i, c in enumerate(conversations)]
    )


def published(tmp_path, rows):
    path = tmp_path / "train-00000-of-00001.parquet"
    Dataset.from_list(rows).to_parquet(path)
    return hub.open_rows(path)


def test_scores_are_found_by_text(tmp_path):
    pool = pool_of(("a", "b"), ("one", "two", "three", "four"), ("not", "there"), ("x", "<think>\ny\n</think>\n\nz"))
    rows = published(tmp_path, [
        scored_row("a ", "b\n", 11.0), scored_row("a", "b", 99.0), scored_row("one\ntwo\nthree", "four", 22.0),
        scored_row("x", "<think>y</think><answer>z</answer>", 33.0), scored_row("a", "c", 44.0),
    ])  # fmt: skip
    found = published_scores.attach(pool, rows)
    assert found["hes"][:] == [11.0, 22.0, None, 33.0]  # raw, not scaled; the first of two with the same text
    assert found["normalized_loss"][:] == [2.0, 2.0, None, 2.0]
    assert found.remove_columns(published_scores.SCORES).to_list() == pool.to_list()


def test_a_row_without_all_scores_is_not_found(tmp_path):
    rows = published(tmp_path, [scored_row("a", "b", 11.0, loss=None), scored_row("c", "d", 12.0)])
    found = published_scores.attach(pool_of(("a", "b"), ("c", "d")), rows)
    assert [found[name][:] for name in published_scores.SCORES] == [[None, 12.0], [None, 2.0], [None, 3.0]]


def test_only_rows_without_scores_are_computed(tmp_path):
    pool = pool_of(("a", "b"), ("new", "row"), ("c", "d"), ("newer", "row"))
    found = published_scores.attach(pool, published(tmp_path, [scored_row("c", "d", 3.0), scored_row("a", "b", 1.0)]))
    asked = []

    def compute(rows):
        asked.extend(rows["row_id"])
        lengths = [float(len(messages[0]["content"])) for messages in rows["messages"]]
        return pd.DataFrame({"writing_style": -1.0, "hes": lengths, "normalized_loss": 0.5}, index=range(len(rows)))

    done = published_scores.complete(found, compute)
    assert asked == ["1", "3"]
    assert done["hes"][:] == [1.0, 3.0, 3.0, 5.0]
    assert done["writing_style"][:] == [3.0, -1.0, 3.0, -1.0]
    assert done["row_id"][:] == pool["row_id"][:]
    assert "Scores of 2 of 4 rows are published ones" in done.info.description
    assert published_scores.complete(done, Mock(side_effect=AssertionError)).to_list() == done.to_list()


@pytest.mark.parametrize(
    "columns, told",
    [
        (
            {"instruction": ["a"], "output": ["b"], "Q_scores": [{"HES": 1.0}], "QA_scores": [{"IFD": 1.0}]},
            "release 2603",
        ),
        ({"instruction": ["a"], "output": ["b"]}, "raw_scores in published scores, found instruction, output"),
        ({"instruction": ["a"], "output": ["b"], "raw_scores": [{"HES": 1.0}]}, "Normalized_Loss, Writing_Style in"),
        ({"instruction": ["a"], "output": ["b"], "raw_scores": ['{"HES": 1.0}']}, "found values of the type string"),
    ],
)
def test_another_schema_of_scores_is_refused(columns, told):
    with pytest.raises(InputError, match=told) as error:
        published_scores.attach(pool_of(("a", "b")), Dataset.from_dict(columns))
    assert one_sentence(error)


def test_scores_of_other_models_are_not_mixed_with_published_ones():
    published_scores.check_scorers("Qwen/Qwen3-8B", "copies/QuRater-1.3B/")
    for scorer, rater in (("proxy", "princeton-nlp/QuRater-1.3B"), ("Qwen/Qwen3-8B", ""), ("Qwen/Qwen3-8B-Base", "x")):
        with pytest.raises(InputError, match="beside published scores") as error:
            published_scores.check_scorers(scorer, rater)
        assert one_sentence(error)
