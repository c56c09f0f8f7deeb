"""Whether a model or a data set can be had: told within seconds, with nothing downloaded."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from causalmix.core.errors import InputError

HUB_SECONDS = 5.0  # to find out whether the hub answers
LAPTOP = "the study `laptop` runs without it"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")

#: Reader of a file of rows by its ending; text may be compressed besides.
READERS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "csv"}
READERS |= {".parquet": "parquet", ".arrow": "arrow"}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def reader_of(file: Path) -> str:
    """Which reader a file of rows takes; empty for any other file."""
    *before, last = ["", *map(str.lower, file.suffixes)]
    if last not in COMPRESSED:
        return READERS.get(last, "")
    reader = READERS.get(before[-1], "")
    return reader if reader in ("json", "csv") else ""


def available(name: str | Path, kind: str) -> None:
    """Raise InputError unless a ``model`` or a ``dataset`` is on this machine, in the hub's caches, or on the hub."""
    path = Path(name)
    if path.suffix == ".gguf" and kind == "model":
        if not path.is_file():
            raise InputError(f"Expected a GGUF file at {path}, found none; correct the path ({LAPTOP}).")
    elif path.is_dir() and kind == "model":
        _check_model(path)
    elif path.is_file() and kind == "dataset":
        _check_rows(path)
    elif not (path.is_dir() or _is_cached(str(name), kind)):
        what = {"model": "the model", "dataset": "the data set"}[kind]
        with quiet():
            found = hub_refusal(lambda: ask_hub(str(name), kind))
        if found:
            raise InputError(
                f"Expected {what} {name} in a file or folder, in the Hugging Face cache or on the hub, found none "
                f"({found}); download it where there is a network and give its folder ({LAPTOP})."
            )


@contextmanager
def quiet(*names: str, level: int = logging.CRITICAL) -> Iterator[None]:
    """Keep the remarks of libraries, by default of those that fetch data, off the page; what fails is raised."""
    loggers = [logging.getLogger(name) for name in names or ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels):
            logger.setLevel(before)


def hub_refusal(ask: Callable[[], object]) -> str:
    """Why a question to the Hugging Face hub has no answer, in a few words; empty where it has one."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        ask()
    except Exception as error:  # whatever keeps us from the hub, the remedy is the same
        return f"the hub could not give it: {type(error).__name__}"
    return ""


def ask_hub(name: str, kind: str) -> None:
    """Raise what the hub raises unless it has a model or a data set that may be read from here."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    if kind == "model":  # of a file in it, for the page of a gated model shows itself to everyone
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)
    elif HfApi().dataset_info(name, timeout=HUB_SECONDS).gated:
        HfApi().auth_check(name, repo_type="dataset")


def _is_cached(name: str, kind: str) -> bool:
    """Whether the hub's caches on this machine hold a model's safetensors, or files or a prepared table of rows."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, repo_type=kind, local_files_only=True))
        return kind == "dataset" or ((folder / "config.json").is_file() and any(folder.glob("*.safetensors")))
    except LocalEntryNotFoundError:
        *owner, last = name.split("/")
        prepared = "___".join([*owner, camelcase_to_snakecase(last)])
        found = Path(config.HF_DATASETS_CACHE).glob(f"{prepared}/*/*/*/dataset_info.json")
        return kind == "dataset" and any(found)
    except HFValidationError:
        raise InputError(
            f"Expected a file, a folder or a name on the hub, found {name!r}; correct it ({LAPTOP})."
        ) from None


def _check_model(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(f"Expected a model in {folder}, found no config.json; save it there with save_pretrained.")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"Expected weights as safetensors in {folder}, found none; convert them with "
            "save_pretrained where they may be trusted (pickled weights can run code and are never read)."
        )
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):  # transformers would make up an empty one
        raise InputError(f"Expected a tokenizer in {folder}, found none of {list(TOKENIZER_FILES)}; save it there too.")


def _check_rows(file: Path) -> None:
    if not reader_of(file):
        raise InputError(
            f"Expected a data set as {', '.join(READERS)} (text also as {', '.join(COMPRESSED)}) or a folder, found "
            f"{file}; convert it to one of these."
        )
    if not file.stat().st_size:
        raise InputError(f"Expected rows in {file}, found an empty file; write it again.")
