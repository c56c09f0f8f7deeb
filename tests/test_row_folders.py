"""Folders of rows as people leave them: caches and copies beside the rows, names that say little, odd encodings."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, load_from_disk
from pyarrow import parquet
from real_rows import own_cache, turns, two, write_lines  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.data.pools import files, hub, local, reading


def test_of_a_saved_data_set_what_it_names_is_read(tmp_path):
    """Maps leave caches beside the rows, and a data set that is saved again leaves the files that it had before."""
    rows = Dataset.from_list([{"messages": turns(f"{i}", "a")} for i in range(8)])
    for domain in ("math", "code"):
        parts = DatasetDict({"train": rows, "test": rows.select(range(2))})
        parts.save_to_disk(str(tmp_path / domain), num_shards={"train": 2, "test": 1})
        parts.save_to_disk(str(tmp_path / domain))
    load_from_disk(str(tmp_path / "code/train")).map(lambda row: {"more": 1}).filter(lambda row: True)
    pool = local.load_pool(str(tmp_path), domain="file")
    assert sorted(pool["domain"]) == ["code"] * 8 + ["math"] * 8
    beside = {Path(line["file"]).name for line in hub.told(pool)[1][hub.LEFT_OUT] if "saved data set" in line["reason"]}
    assert {"data-00000-of-00002.arrow", "data-00001-of-00002.arrow"} < beside and "cache" in str(beside)
    found, others = files.find(tmp_path / "code")
    assert [file.name for file in found] == ["data-00000-of-00001.arrow"] and set(others.values()) == {files.BESIDE}


@pytest.mark.parametrize("name", ["state.json", "dataset_dict.json"])
def test_a_file_that_is_only_called_as_a_saved_data_sets_hides_no_rows(tmp_path, name):
    path = Path(write_lines(tmp_path / "rows.jsonl", two({"prompt": "q", "response": "a"})))
    (tmp_path / name).write_text('{"_data_files": 3}')
    assert files.find(tmp_path)[0] == [path]


def test_a_name_that_says_only_the_split_decides(tmp_path):
    for name in ("math/train", "test-writing/train", "code/validation", "dev_ops"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_lines(tmp_path / f"{name}.jsonl", [{"prompt": name, "response": "a"}])
    assert set(local.load_pool(str(tmp_path), domain="file")["domain"]) == {"math", "test-writing"}
    (tmp_path / "math/train.jsonl").unlink()
    with pytest.raises(InputError, match="needs two. code/validation.jsonl is of the split validation. dev_ops"):
        local.load_pool(str(tmp_path), domain="file")


def test_copies_are_told(tmp_path):
    """As of an archive beside its file: rows would count twice, and come again where none should."""
    path = write_lines(tmp_path / "rows.jsonl", [{"prompt": p, "response": "a", "domain": "one"} for p in "xy"])
    text = Path(path).read_bytes()
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text.replace(b"one", b"two")))
    told = hub.told(local.load_pool(str(tmp_path)))[0]
    assert told == ["2 rows are copies of others: row 1 of rows.jsonl.gz is row 1 of rows.jsonl again."]


def test_what_arrow_adds_to_make_rows_alike_is_no_part_of_them(tmp_path):
    """A call of one tool would have the arguments of all tools, as null, and be learnt so."""
    rows = two({})
    for row, name, what in zip(rows, ("tide", "sum"), ("place", "terms")):
        call = {"function": {"name": name, "arguments": {what: "x"}}}
        row["messages"] = [*turns("q"), {"role": "assistant", "content": None, "tool_calls": [call]}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    plain = write_lines(tmp_path / "rows.jsonl", rows)
    of_arrow, of_text = (local.load_pool(str(path)) for path in (tmp_path / "rows.parquet", plain))
    assert of_arrow["messages"][:] == of_text["messages"][:] and "null" not in str(of_arrow["messages"][:])


def test_what_is_thought_is_heard_by_all_its_names_and_what_is_not_heard_is_told(tmp_path):
    talk = lambda **more: [*turns("q"), {"role": "assistant", "content": "a"} | more]  # noqa: E731
    rows = [{"messages": talk(**{name: "Hm."})} for name in ("reasoning_content", "reasoning", "thinking")]
    rows += [{"messages": talk(reasoning={"effort": 1}, refusal=None, annotations=[1])}]
    pool = local.load_pool(write_lines(tmp_path / "rows.jsonl", [row for one in rows for row in two(one)]))
    said = [messages[-1]["content"] for messages in pool["messages"]]
    assert said == ["<think>\nHm.\n</think>\n\na"] * 6 + ["a"] * 2
    assert hub.told(pool)[1][hub.READ][0]["columns not used"] == "messages.annotations, messages.reasoning"


def test_a_line_ends_where_json_says_so(tmp_path):
    """A text may hold the signs by which other readers part lines; of UTF-16 without a mark it is said what it is."""
    rows = two({"prompt": "a\u2028b\x85c", "response": "a"})
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (path := tmp_path / "rows.jsonl").write_bytes(text.encode("utf-16"))
    assert len(local.load_pool(str(path))) == 2
    for name, content in (
        ("rows.jsonl", json.dumps(two({"prompt": "q"})[0])),
        ("rows.csv", "prompt,response,domain\nq,a,one\n"),
    ):
        (tmp_path / name).write_bytes(content.encode("utf-16-le"))
        with pytest.raises(InputError, match="UTF-16 without a mark"):
            local.load_pool(str(tmp_path / name))


def test_what_is_left_out_is_told_in_few_lines(tmp_path):
    """Hundreds of pictures beside the rows, lines that are broken each at its own place, roles that nobody knows."""
    for i in range(30):
        (tmp_path / f"{i:02d}.png").touch()
    rows = [json.dumps(row) for row in two({"prompt": "q", "response": "a"})]
    rows += ['{"domain": "one", "a' + "b" * i + '" oops}' for i in range(30)]
    rows += [json.dumps({"domain": "one", "messages": [{"role": f"r{i}", "content": "q"}]}) for i in range(50)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    left = hub.told(local.load_pool(str(tmp_path), on_bad="skip"))[1][hub.LEFT_OUT]
    assert left[0] == {"reason": "no file of rows", "file": "00.png and 29 more", "rows": "", "example": ""}
    assert left[1]["reason"].startswith("no JSON (") and left[1]["rows"] == "30" and "row 3: " in left[1]["example"]
    assert left[-1]["reason"] == "and for further reasons" and sum(int(one["rows"] or 0) for one in left) == 80
    assert len(left) <= reading.SHOWN + 1


def test_files_that_a_card_does_not_name_are_listed(tmp_path):
    for name in ("a", "b", "held"):
        write_lines(tmp_path / f"{name}.jsonl", two({"prompt": name, "response": "a"}))
    head = "configs:\n- config_name: default\n  data_files:\n  - {split: train, path: a.jsonl}"
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n")
    left = hub.told(local.load_pool(str(tmp_path)))[1][hub.LEFT_OUT]
    assert [line["file"] for line in left] == ["b.jsonl", "held.jsonl"] and "head of README.md" in left[0]["reason"]


@pytest.mark.parametrize("orient", ["columns", "list"])
def test_columns_in_place_of_rows_are_called_that(tmp_path, orient):
    """As pandas writes a table where nothing is said; a row whose values are lists of turns and tools is one."""
    table = {name: [f"{name} {i}" for i in range(3)] for name in ("domain", "prompt", "response")}
    found = table if orient == "list" else {name: dict(enumerate(values)) for name, values in table.items()}
    (tmp_path / "rows.json").write_text(json.dumps(found, indent=1))
    with pytest.raises(InputError, match=r"lists by column \(domain, prompt, response\); write a row a line"):
        local.load_pool(str(tmp_path / "rows.json"))
    row = {"messages": turns("q", "a"), "tools": [{"name": "tide"}, {"name": "sum"}]}
    (tmp_path / "rows.json").write_text(json.dumps(row, indent=1))
    assert [line.row for line in files.lines(tmp_path / "rows.json")] == [row]


def test_rows_beyond_those_that_are_asked_for_are_told(tmp_path):
    """As where rows were added to a folder since its study was written."""
    path = write_lines(
        tmp_path / "rows.jsonl", [row for i in range(6) for row in two({"prompt": f"{i}", "response": "a"})]
    )
    assert (
        hub.told(local.load_pool(path, max_rows=8))[0][0]
        == "8 of 12 rows were taken, for no more are asked for (pool_rows, --max-rows)."
    )
    assert "taken" not in local.load_pool(path, max_rows=12).info.description
