"""Row files that nobody thought of: rows, or one sentence."""

import gzip
import json
import string

from fuzz import tries
from hypothesis import given, strategies as st
from real_rows import own_cache, write_lines  # noqa: F401 (a fixture)

from causalmix.core.errors import InputError
from causalmix.data.pools import hub, local
from causalmix.data.pools.forms import FORMS, USED
from causalmix.lm.turns import KEPT, ROLES

#: Text with half characters, marks of encodings and of tables.
TEXT = st.one_of(st.text(string.ascii_letters + " \n|<é\ufeff\x1b", max_size=6), st.sampled_from(["a", "\ud83d", "é"]))
COLUMNS = sorted({name for form in FORMS for name in form} | {*USED, "input", "domain", "source", "id"})
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
NESTED = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner))
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from([*ROLES, "robot"])},
    optional={"content": SCALAR, "from": TEXT, "value": TEXT, "reasoning_content": TEXT}
    | dict.fromkeys(KEPT, NESTED),
)  # fmt: skip
VALUE = st.one_of(SCALAR, st.lists(TURN, max_size=3), st.lists(SCALAR, max_size=2), TURN, st.lists(st.lists(TEXT)))
PLAIN = st.fixed_dictionaries({"domain": st.sampled_from("ab"), "prompt": TEXT, "response": TEXT})
ROW = st.one_of(
    PLAIN,
    st.fixed_dictionaries({"domain": st.sampled_from("ab"), "messages": st.lists(TURN)}),
    st.dictionaries(st.sampled_from(COLUMNS), VALUE, max_size=5),
    VALUE,
)
LINE = st.one_of(*[ROW.map(lambda row: json.dumps(row).encode())] * 9, st.binary(max_size=12))
LINES, LISTED = st.lists(LINE, max_size=6).map(b"\n".join), st.lists(ROW).map(lambda rows: json.dumps(rows).encode())
FILES = st.one_of(
    st.tuples(st.sampled_from([".jsonl", ".json", ".csv", ".tsv"]), st.one_of(LINES, LISTED)),
    st.tuples(st.just(".jsonl.gz"), LINES.map(gzip.compress)),
    st.tuples(st.sampled_from([".json.zst", ".parquet", ".arrow"]), st.binary(max_size=40)),
)
GOOD = [{"domain": domain, "prompt": "q", "response": "a"} for domain in "ab"]


@tries(100)
@given(file=FILES, domain=st.sampled_from(["column", "file"]), on_bad=st.sampled_from(["refuse", "skip", "skip"]))
def test_any_file_gives_rows_or_a_sentence(tmp_path_factory, file, domain, on_bad):
    """Beside a file of good rows, each row is read or counted among those that are left out."""
    folder = tmp_path_factory.mktemp("rows [1]")
    write_lines(folder / "good.jsonl", GOOD)
    (folder / f"any{file[0]}").write_bytes(file[1])
    try:
        pool = local.load_pool(str(folder), domain=domain, on_bad=on_bad)
    except InputError as error:
        assert str(error).startswith("Expected ") and "\n" not in str(error)
        return
    read, left_out = (sum(int(line["rows"]) for line in hub.told(pool)[1].get(name, [])) for name in hub.CAPTIONS)
    assert read == len(pool) + left_out
    for row in pool:
        assert row["domain"] and any(turn["role"] == "assistant" for turn in row["messages"])
