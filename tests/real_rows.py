"""Small files of the exact schemas of published data sets."""

import json

import pytest


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """The libraries' caches in a folder of the test, and no hub."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "datasets")
    for module in ("huggingface_hub.constants", "huggingface_hub._snapshot_download.constants"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setattr(f"{module}.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    return folder


def turns(*contents):
    """A conversation whose turns alternate between user and assistant."""
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


def two(row):
    """The row in two domains, for a pool needs two."""
    return [row | {"domain": domain} for domain in ("one", "two")]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def tulu_rows(counts, empty=()):
    """Rows of tulu-3-sft-mixture by source; ``empty`` names sources whose first answer is empty."""
    return [
        {
            "id": f"{source}_{i}",
            "messages": turns(f"question {i} of {source}", "" if source in empty and i == 0 else f"answer {i}"),
            "source": source,
        }
        for source, count in counts.items()
        for i in range(count)
    ]


def thought(question, think, answer, value=None, **info):
    """A row of AM-Thinking-v1-Distilled."""
    told = f"<think>{think}</think><answer>{answer}</answer>" if value is None else value
    info = {"think_content": think, "answer_content": answer, "verify_score": 1.0, "model_name": "m", "ppl": 2.5} | info
    return {
        "system": "",
        "conversations": [
            {"from": "human", "value": question, "info": None},
            {"from": "assistant", "value": told, "info": info},
        ],
    }
