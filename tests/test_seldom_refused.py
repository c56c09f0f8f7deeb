"""Refusals that no other test meets on its way, each in one sentence."""

import numpy as np
import pandas as pd
import pytest
from real_rows import turns, write_lines

from causalmix.core.errors import InputError
from causalmix.core.history import check_history
from causalmix.core.study_file import Study
from causalmix.data.recipes import Recipe
from causalmix.lm.conversations import _weighted
from causalmix.study.plan import needs

RUNS = pd.DataFrame({"run_id": range(20), "w_a": 0.5, "w_b": 0.5, "y_dev": np.arange(20), "adaptive": "maybe"})
TASK = {"name": "riddles", "axis": "riddles", "task": "riddles", "metric": "acc,none", "split": "dev"}


def pool(folder, *tasks):
    """A recipe of two rows whose models are asked these tasks."""
    rows = [{"domain": name, "messages": turns("q", "a")} for name in "ab"]
    options = {"path": write_lines(folder / "rows.jsonl", rows)}
    return {"loader": "local", "options": options, "evaluation": {"own": list(tasks)}}


REFUSED = {
    "true or false in the column adaptive of the history, found 'maybe' in row 1": lambda _: check_history(RUNS),
    "own names and an axis, found riddles": lambda at: Recipe.of(pool(at, TASK, TASK)).check_evaluation(),
    "2 turns of the assistant between the markers of the chat template, found 1": lambda _: _weighted(
        [0, 1, 1], [{"role": "assistant", "weight": weight} for weight in (0, 1)]
    ),
    "math and coding in the study own for the subject longcot, found none of": lambda at: needs.check(
        Study("own", {"pool": pool(at, TASK)}, {}, {}, {}), ["longcot"]
    ),
    "scored pool of the study own in the cache, found none and no GPU to score it": lambda at: needs.check(
        Study("own", {"pool": pool(at, TASK)}, {}, {}, {"gpus": 1}), ["featurize"], gpus_elsewhere=True
    ),
}


@pytest.mark.parametrize("told, refused", REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_seldom_wrong_is_told_in_one_sentence(tmp_path, monkeypatch, told, refused):
    monkeypatch.setattr(needs, "_gpus", lambda: 0)
    with pytest.raises(InputError, match=f"^Expected .*{told}.*; .+[.]$"):
        refused(tmp_path)
