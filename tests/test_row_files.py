"""Rows as people have them: forms side by side, files that differ, and whatever is no row."""

import errno
import gzip
import json
import os
import platform
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from language_models import chat_tokenizer
from real_rows import own_cache, turns, two, write_lines  # noqa: F401 (a fixture)

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.scratch import SCRATCH, scratch_folder
from causalmix.data import scored_pools
from causalmix.data.pools import forms, hub, local, reading
from causalmix.lm import conversations


def said(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


CALL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Hull"}'}}
CALLED = '<tool_call>\n{"name": "tide", "arguments": {"port": "Hull"}}\n</tool_call>'
FORMS = {
    "system column": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "Be brief."},
        said(("system", "Be brief."), ("user", "q"), ("assistant", "a")),
    ),
    "a system turn that the column repeats": (
        {"messages": said(("system", "s"), ("user", "q"), ("assistant", "a")), "system": "s"},
        said(("system", "s"), ("user", "q"), ("assistant", "a")),
    ),
    "history": (
        {"instruction": "And then?", "input": "", "output": "Tea.", "history": [["1?", "2."]], "system": "s"},
        said(("system", "s"), ("user", "1?"), ("assistant", "2."), ("user", "And then?"), ("assistant", "Tea.")),
    ),
    "developer": (
        {"messages": said(("developer", "d"), ("user", "q"), ("assistant", "a"))},
        said(("system", "d"), ("user", "q"), ("assistant", "a")),
    ),
    "sharegpt tools": (
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "tide"}'},
                {"from": "observation", "value": "high"},
                {"from": "gpt", "value": "High."},
            ]
        },
        said(
            ("user", "q"),
            ("assistant", '<tool_call>\n{"name": "tide"}\n</tool_call>'),
            ("tool", "high"),
            ("assistant", "High."),
        ),
    ),
    "openai tools": (
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "high"},
                {"role": "assistant", "content": "High."},
            ]
        },
        said(("user", "q"), ("assistant", CALLED), ("tool", "high"), ("assistant", "High.")),
    ),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
         + said(("assistant", "c"))},
        said(("user", "a\nb"), ("assistant", "c")),
    ),
    "thinking": (
        {"messages": [*said(("user", "q")), {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}]},
        said(("user", "q"), ("assistant", "<think>\n2 and 2\n</think>\n\n4")),
    ),
    "a chosen text": ({"prompt": "q", "chosen": "a", "rejected": "b"}, turns("q", "a")),
    "a chosen conversation": ({"prompt": "q", "chosen": turns("q", "a"), "rejected": turns("q", "b")}, turns("q", "a")),
    "a chosen turn": (
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}}, turns("q", "a"),
    ),
    "a dialogue in one text": ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "b"}, turns("q", "a")),
    "messages as text": ({"messages": json.dumps(turns("q", "a"))}, turns("q", "a")),
    "question": ({"question": "q", "answer": "a"}, turns("q", "a")),
    "inputs": ({"inputs": "q", "targets": "a"}, turns("q", "a")),
    "a problem": ({"problem": "q", "solution": "a"}, turns("q", "a")),
    "input alone": ({"input": "q", "output": "a"}, turns("q", "a")),
    "a conversation": ({"conversation": turns("q", "a")}, turns("q", "a")),
    "query": ({"query": "q", "response": "a"}, turns("q", "a")),
    "prompt and response": ({"prompt": "q", "response": "a"}, turns("q", "a")),
    "system prompt": (
        {"system_prompt": "s", "question": "q", "response": "a"},
        said(("system", "s"), ("user", "q"), ("assistant", "a")),
    ),
    "turns": ({"messages": turns("q", "a"), "prompt": "something else", "completion": "?"}, turns("q", "a")),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, turns("q", "a"),
    ),
    "prompt and completion": ({"prompt": "q", "completion": "a"}, turns("q", "a")),
    "turns as prompt": ({"prompt": turns("q"), "completion": said(("assistant", "a"))}, turns("q", "a")),
    "instruction": ({"instruction": "q", "input": "", "output": "a"}, turns("q", "a")),
    "input": ({"instruction": "translate", "input": "hola", "output": "hello"}, turns("translate\nhola", "hello")),
    "context": ({"instruction": "q", "context": "c", "response": "a"}, turns("q\nc", "a")),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_people_have(tmp_path, form):
    row, expected = FORMS[form]
    pool = local.load_pool(write_lines(tmp_path / "rows.jsonl", two(row)))
    assert pool["messages"][:] == [expected] * 2 and set(pool.features) >= set(hub.FEATURES)
    assert pool["domain"][:] == pool["source"][:] == ["one", "two"]


def test_plain_texts_only_when_they_are_asked_for(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", two({"text": "Once upon a time."}))
    with pytest.raises(InputError, match="messages_column"):
        local.load_pool(path)
    assert local.load_pool(path, messages_column="text")[0]["messages"] == said(("assistant", "Once upon a time."))
    path = write_lines(tmp_path / "talk.jsonl", two({"talk": turns("q", "a")}))
    assert local.load_pool(path, messages_column="talk")[0]["messages"] == turns("q", "a")


REFUSED = {
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "type image_url",
    ),
    "images": ({"prompt": "q <image>", "response": "a", "images": ["a.png"]}, "column images"),
    "two systems": ({"messages": said(("system", "s"), ("assistant", "a")), "system": "t"}, "of another text"),
    "a history": ({"instruction": "q", "output": "a", "history": ["q", "a"]}, "no list of pairs"),
    "a chosen text alone": ({"chosen": "a", "rejected": "b"}, "without its prompt"),
    "half a weight": (
        {"messages": [*turns("q"), {"role": "assistant", "content": "a", "weight": 0.5}]},
        "weight of 0.5",
    ),
    "nothing learnt": (
        {"messages": [*turns("q"), {"role": "assistant", "content": "a", "weight": 0}]},
        "with a weight",
    ),
    "tools without names": ({"messages": turns("q", "a"), "tools": [{"type": "function"}]}, "functions with names"),
    "half a character": ({"messages": turns("q", "\ud83d")}, "broken character"),
    "no text": ({"question": 3, "answer": "a"}, "a question without text"),
    "unwanted": ({"prompt": "q", "completion": "a", "label": False}, "label calls unwanted"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_by_name_or_listed(tmp_path, what):
    row, told = REFUSED[what]
    path = write_lines(tmp_path / "rows.jsonl", [*two({"messages": turns("q", "a")}), row | {"domain": "one"}])
    with pytest.raises(InputError, match=f"{told}.* in row 3;"):
        local.load_pool(path)
    pool = local.load_pool(path, on_bad="skip")
    (line,) = hub.told(pool)[1][hub.LEFT_OUT]
    assert len(pool) == 2 and told in line["reason"] and (line["rows"], line["file"]) == ("1", "rows.jsonl")
    assert line["example"].startswith("row 3: {")


def test_a_folder_of_every_form_and_format(tmp_path):
    """One table of all, whose account tells each file's form and what was not used of it."""
    folder = tmp_path / "fo [2]"
    folder.mkdir()
    rows = (
        {"messages": turns("q", "a"), "score": 3},
        {"instruction": "q", "output": "a"},
        {"prompt": "q", "response": "a"},
    )
    write_lines(folder / "talk [1].jsonl", rows[:1] * 2)
    (folder / "tasks.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[1]).encode()))
    (folder / "asked.csv").write_text("prompt;response\nq;a\n")
    (folder / "list.json").write_text(json.dumps([rows[2]], indent=1))
    with pa.output_stream(str(folder / "packed.jsonl.zst"), compression="zstd") as stream:
        stream.write(json.dumps(rows[1]).encode())
    (folder / "loader.py").write_text("raise SystemExit('executed')")
    write_lines(folder / "held_test.jsonl", rows[:1])
    (folder / "lost.jsonl").symlink_to(folder / "gone.jsonl")
    pool = local.load_pool(str(folder), domain="file")
    assert (
        sorted(pool["domain"]) == sorted(pool["source"]) == ["asked", "list", "packed", "talk [1]", "talk [1]", "tasks"]
    )
    assert pool["messages"][:] == [turns("q", "a")] * 6
    read, left = (hub.told(pool)[1][caption] for caption in hub.CAPTIONS)
    told = {line["file"]: (line["form"], line["encoding"], line["columns not used"]) for line in read}
    assert told["talk [1].jsonl"] == ("messages", "UTF-8", "score")
    assert told["asked.csv"] == ("prompt and response", "UTF-8, separator ';'", "")
    assert [(line["file"], line["reason"]) for line in left] == [
        ("held_test.jsonl", "of the split test"), ("loader.py", "no file of rows"),
        ("lost.jsonl", "a link to a folder, or to nothing"),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"prompt, response in asked.csv; .*; name another with --domain-column"):
        local.load_pool(str(folder))


def test_a_file_is_a_domain_by_its_own_name_or_its_folders(tmp_path):
    """A name such as train says nothing, and one that stands in two folders is not one domain."""
    names = (
        "math/train-00000-of-00002 math/train-00001-of-00002 code/train law/cases art/cases bio/part-1 bio/part_2 geo/7"
    )
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_lines(tmp_path / f"{name}.jsonl", [{"prompt": "q", "response": "a"}])
    pool = local.load_pool(str(tmp_path), domain="file")
    assert sorted(pool["domain"]) == ["art/cases", "bio", "bio", "code", "geo", "law/cases", "math", "math"]


def test_a_pool_without_a_row_that_can_be_used_tells_why(tmp_path):
    with pytest.raises(
        InputError, match="no row that can be used; .* 2 of 2 rows were skipped, .* a prompt without text"
    ):
        local.load_pool(write_lines(tmp_path / "rows.jsonl", two({"prompt": 3, "completion": "a"})), on_bad="skip")


def test_a_stray_file_is_skipped_by_name(tmp_path):
    write_lines(tmp_path / "rows.jsonl", two({"prompt": "q", "response": "a"}))
    (tmp_path / "settings.json").write_text('{"rate": 1}')
    with pytest.raises(InputError, match="found the columns rate in settings.json"):
        local.load_pool(str(tmp_path))
    (line,) = hub.told(local.load_pool(str(tmp_path), on_bad="skip"))[1][hub.LEFT_OUT]
    assert (line["reason"], line["file"]) == ("no conversation in rate", "settings.json")


def test_old_encodings_are_read_and_told(tmp_path):
    text = "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in two({"prompt": "Où ?", "response": "Là – ici"})
    )
    for name, encoding in (("a", "cp1252"), ("b", "utf-8"), ("c", "utf-16")):
        (tmp_path / f"{name}.jsonl").write_bytes(text.encode(encoding))
        pool = local.load_pool(str(tmp_path / f"{name}.jsonl"))
        assert pool[0]["messages"] == turns("Où ?", "Là – ici")
        told = {"cp1252": "Windows-1252", "utf-8": "UTF-8", "utf-16": "UTF-16"}[encoding]
        assert hub.told(pool)[1][hub.READ][0]["encoding"] == told


def test_changed_rows_are_read_whatever_the_clock_says(tmp_path):
    """As after `cp -p` or `tar`, where a file has another content and the time of the old one."""
    path = tmp_path / "rows.jsonl"
    for answer in ("first", "other"):
        write_lines(path, two({"prompt": "q", "response": answer}))
        os.utime(path, ns=(10**18, 10**18))
        assert local.load_pool(str(path))[0]["messages"] == turns("q", answer)


@pytest.mark.parametrize(
    "name, content",
    [
        ("only.json", b"null"),
        ("deep.json", b"[" * 5000 + b"]" * 5000),
        ("deep.jsonl", b'{"a": ' * 5000 + b"1" + b"}" * 5000),
        ("cut.jsonl.gz", gzip.compress(b'{"prompt": "q", "response": "a"}\n' * 9, mtime=0)[:-9]),
        ("none.jsonl.zst", b"no zstd"),
        ("none.parquet", b"no parquet"),
        ("rows.jsonl", b"[1, 2]\n"),
        ("blank.jsonl", b" \n\n"),
        ("bytes.csv", b"\x00\xff,\n\x00"),
    ],
)
def test_what_is_no_file_of_rows_is_named_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as error:
        local.load_pool(str(tmp_path / name))
    assert "\n" not in str(error.value) and len(str(error.value)) < 700


def test_the_card_of_a_folder_says_which_files_are_meant(tmp_path):
    """As on the hub: by split, by a configuration's name, which is asked for where none is the usual one."""
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", two({"prompt": "q", "response": name}))
    configs = ["configs:", "- {config_name: one, data_files: a.jsonl}", "- {config_name: two, data_files: [b.json*]}"]
    card = tmp_path / "README.md"
    card.write_text("\n".join(["---", *configs, "---", "Rows."]))
    assert local.load_pool(str(tmp_path), name="two")["messages"][:] == [turns("q", "b")] * 2
    for how, told in (({}, "one of one, two of"), ({"name": "three"}, "three as a folder"),
                      ({"name": "one", "split": "test"}, "the split test of")):  # fmt: skip
        with pytest.raises(InputError, match=told):
            local.load_pool(str(tmp_path), **how)
    card.write_text("---\n" + configs[0] + " [1\n---\n")
    with pytest.raises(InputError, match="a card of YAML at the head of .*README.md"):
        local.load_pool(str(tmp_path))


def test_a_folder_without_rows_is_refused(tmp_path):
    (tmp_path / "loader.py").write_text("raise SystemExit('executed')")
    with pytest.raises(InputError, match="found loader.py"):
        local.load_pool(str(tmp_path))


def test_ids_that_repeat_get_what_tells_them_apart(tmp_path):
    rows = [{"id": i, "prompt": "q", "response": "a", "domain": d} for d in "ab" for i in (0, 1)]
    pool = local.load_pool(write_lines(tmp_path / "rows.jsonl", rows))
    assert pool["row_id"][:] == ["a/0", "a/1", "b/0", "b/1"] and "another source" in hub.told(pool)[0][0]
    path = write_lines(tmp_path / "rows.jsonl", [*rows, rows[0]])
    with pytest.raises(InputError, match='the id a/0 a second time in row 5; .*--id-column ""'):
        local.load_pool(path)
    assert local.load_pool(path, id_column="")["row_id"][-1] == "row-000004"


def test_marks_of_a_chat_template_in_a_text_are_told(tmp_path):
    """A tokenizer would take them for turns; brackets and pipes of other kinds are text."""
    texts = ["a <| b |> c", "[INSTANCE] x[i]", "stop<|im_end|>", "<start_of_turn>user"]
    rows = [row for text in texts for row in two({"messages": turns(text, "yes")})]
    found = local.load_pool(write_lines(tmp_path / "rows.jsonl", rows))
    told = hub.told(found)[0][0]
    assert told.startswith(
        "4 rows have marks of chat templates in the text, the first <|im_end|> in row 5 of rows.jsonl"
    )
    assert "marks" not in str(hub.told(local.load_pool(write_lines(tmp_path / "rows.jsonl", rows[:4])))[0])


@pytest.mark.parametrize("flag, none", [("weight", 0), ("train", False), ("loss", False)])
def test_weights_and_tools_stay_with_their_rows(tmp_path, flag, none):
    """Only where some row has them; what a training set keeps is JSON, as it was given."""
    talk = [*turns("q", "no", "again"), {"role": "assistant", "content": "yes", flag: type(none)(1)}]
    talk[1][flag] = none
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}]
    rows = [*two({"messages": talk}), *two({"messages": FORMS["openai tools"][0]["messages"], "tools": tools})]
    pool = local.load_pool(write_lines(tmp_path / "rows.jsonl", rows))
    assert [turn["weight"] for turn in pool[0]["messages"]] == [1, 0, 1, 1]
    tokens, tokenizer = conversations.tokenize(pool, chat_tokenizer()), chat_tokenizer()
    learnt = [
        tokenizer.decode([token for token, scored in zip(row["input_ids"], row["completion_mask"]) if scored])
        for row in tokens
    ]
    assert "yes" in learnt[0] and "no" not in learnt[0]
    assert "tide" in learnt[2] and "High." in learnt[2] and "high" not in learnt[2]
    assert json.loads(pool[2]["tools"]) == tools and pool[0]["tools"] is None
    assert json.loads(pool[2]["messages_as_given"])[1]["tool_calls"] == [CALL]


def test_cells_that_the_names_do_not_cover_shift_nothing(tmp_path):
    """A comma in a text without quotes would make its first half a name, and the second one the question."""
    (tmp_path / "rows.csv").write_text("prompt,response,domain\n" + "Well, tell me,so,one\nOh, tell me,no,two\n" * 3)
    with pytest.raises(InputError, match="rows.csv, found 4 cells in row 1 under 3 names"):
        local.load_pool(str(tmp_path / "rows.csv"))


@pytest.mark.parametrize("separator, further", [(",", 3), ("\t", 1), (";", 4)])
def test_a_quote_that_is_not_closed_loses_no_rows_in_silence(tmp_path, separator, further):
    """It would close at the next one, some rows later, which all would be one row's text."""
    rows = [
        ["q, and", "a", "one"],
        ["Oh\nwell; so\tit, is\n", "a", "two"],
        *[["q", "a", "one"]] * further,
        ["q", "a", "two"],
    ]
    text = [separator.join(f'"{cell}"' for cell in row) for row in [["prompt", "response", "domain"], *rows]]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(text))
    assert len(local.load_pool(str(path))) == len(rows)
    text[3], text[-1] = text[3].replace('"', "").replace("q", '"q', 1), text[-1].replace('"', "").replace("q", 'q"', 1)
    path.write_text("\n".join(text[:4] + [line.replace('"', "") for line in text[4:-1]] + text[-1:]))
    with pytest.raises(InputError, match=f"a quote that takes {further} further lines .* in row 3"):
        local.load_pool(str(path))


@pytest.mark.parametrize(
    "text, encoding", [("问题是什么", "gbk"), ("Что это такое", "cp1251"), ("質問は何ですか", "shift_jis")]
)
def test_letters_of_another_writing_are_not_read_as_accents(tmp_path, text, encoding):
    """Each byte of them would be a letter, and nothing would look wrong but the rows."""
    row = {"prompt": text, "response": text}
    lines = "\n".join(json.dumps(one, ensure_ascii=False) for one in two(row))
    for name, content in (("rows.jsonl", lines), ("rows.csv", f"prompt,response,domain\n{text},a,one\nq,b,two\n")):
        (tmp_path / name).write_bytes(content.encode(encoding))
        with pytest.raises(InputError, match=f"{name}, found neither UTF-8 nor a Western"):
            local.load_pool(str(tmp_path / name))
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert text in str(local.load_pool(str(tmp_path / name))[0]["messages"])


def test_a_name_that_stands_twice_in_a_row_is_no_row(tmp_path):
    """The last would win, and what stands before it be lost."""
    twice = '{"domain": "one", "prompt": "q", "prompt": "p", "response": "a"}'
    for name, text, told in (("rows.jsonl", twice, r"no JSON \("), ("rows.json", f"[{twice}]", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=f"found {told}the name 'prompt' twice"):
            local.load_pool(str(tmp_path / name))


@pytest.mark.parametrize("code, named", {errno.ENOSPC: "cache", errno.ECONNRESET: None}.items())
def test_a_full_disk_is_named_by_where_the_folder_was(tmp_path, code, named):
    """What writes there raises an error that tells no place; others are not the disk's."""
    with pytest.raises(OSError) as told, scratch_folder(tmp_path / "cache"):
        raise OSError(code, "full")
    assert told.value.filename == (named and str(tmp_path / named))


@pytest.mark.parametrize("use", ["rows", "pool", "no cache"])
def test_what_a_killed_process_left_behind_goes_with_the_next(tmp_path, monkeypatch, use):
    """Rows that were read, a pool that was scored, a cache that nobody keeps: whoever lives holds a lock on its own."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{SCRATCH}dead" / "rows").mkdir(parents=True)
    (elsewhere := tmp_path / "causalmix-another.machine+dead").mkdir()
    with scratch_folder(tmp_path) as alive:
        assert Path(alive).name.startswith(f"causalmix-{platform.node()}+")  # whatever needs it
        (tmp_path / f"{SCRATCH}late").mkdir()
        if use == "rows":
            assert Path(reading._scratch.__wrapped__()).parent == tmp_path
        elif use == "pool":
            scored_pools._keep(tmp_path / "pool", lambda made: Path(made, "x").touch())
            assert (tmp_path / "pool" / "x").is_file()
        else:
            with paths.cache_for(kept=False):
                assert paths.cache_dir().parent == tmp_path
        assert Path(alive).is_dir()
        assert (
            not [name for name in ("dead", "late") if (tmp_path / f"{SCRATCH}{name}").exists()] and elsewhere.is_dir()
        )


def test_every_form_that_is_read_is_told_of():
    """What a user may call the columns of a conversation stands in the docstring, by name."""
    told = set(re.findall("``(.*?)``", local.load_pool.__doc__))
    assert {name for form in forms.FORMS for name in form} <= told and "label" in told
