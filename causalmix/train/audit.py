"""How far a record can be trusted: reliability of its outcomes, and agreement when runs are done again."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution

from causalmix.core.errors import InputError
from causalmix.core.wording import counted
from causalmix.train.design import Design, noise_panel
from causalmix.train.ledger import Ledger
from causalmix.train.records import history
from causalmix.train.spec import RunSpec


def reliability(groups: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Share of an outcome's variance that is not seed noise: ICC(1) of groups of equally many runs that differ in seed.

    The interval is exact under normal errors (Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420).
    """
    frame = pd.DataFrame({"group": groups, "value": np.asarray(values, float)})
    sizes = frame.groupby("group").size()
    if len(sizes) < 2 or sizes.nunique() != 1 or sizes.iloc[0] < 2:
        raise InputError(
            "Expected at least 2 specifications with equally many (2 or more) seeds each, found sizes "
            f"{sorted(set(sizes))}; finish the noise panel."
        )
    n, k = len(sizes), int(sizes.iloc[0])
    means = frame.groupby("group")["value"].transform("mean")
    between = float(((means - frame["value"].mean()) ** 2).sum()) / (n - 1)
    within = float(((frame["value"] - means) ** 2).sum()) / (n * (k - 1))
    ratio = between / within if within > 0 else np.inf
    low = ratio / f_distribution.ppf(0.975, n - 1, n * (k - 1))
    high = ratio * f_distribution.ppf(0.975, n * (k - 1), n - 1)
    shares = [(r - 1) / (r + k - 1) if np.isfinite(r) else 1.0 for r in (ratio, low, high)]
    return dict(zip(("reliability", "ci_low", "ci_high"), shares)) | {
        "seed_sd": within**0.5, "n_specs": n, "n_seeds": k,
    }  # fmt: skip


def movement(history: pd.DataFrame, outcomes: list[str]) -> pd.DataFrame:
    """How far each outcome moves over the runs: 10th, 50th and 90th percentile and their spread."""
    quantiles = history[outcomes].quantile([0.1, 0.5, 0.9]).T
    quantiles.columns = ["p10", "median", "p90"]
    quantiles["spread"] = quantiles["p90"] - quantiles["p10"]
    return quantiles.rename_axis("outcome").reset_index()


def choose_runs(records: list[dict], count: int, seed: int) -> list[dict]:
    """Runs to train again: a random choice among the finished records."""
    finished = [record for record in records if record["status"] == "finished"]
    if not finished:
        error = " ".join(str(records[0]["error"]).split()) if records else "none was asked for"
        raise InputError(
            f"Expected a finished run to train again, found {len(records)} that failed ({error}); mend the cause and "
            "run causalmix sweep --retry-failed."
        )
    chosen = np.random.default_rng([seed, 30]).choice(len(finished), min(count, len(finished)), replace=False)
    return [finished[i] for i in sorted(chosen)]


def train_again(records: list[dict], train: Callable[[dict], dict]) -> pd.DataFrame:
    """Train recorded runs from scratch: mean accuracies (or losses), and the largest difference of a task."""
    rows = []
    for record in records:
        told = lambda run: run["scores"] or run["training"]["validation_loss"]  # noqa: E731
        recorded, scores = told(record), told(train(record["spec"]))
        again = {task: scores[task] for task in recorded}
        means = (float(np.mean(list(values.values()))) for values in (recorded, again))
        rows.append((record["run_id"], *means, float(max(abs(again[task] - recorded[task]) for task in recorded))))
    return pd.DataFrame(rows, columns=["run_id", "recorded", "again", "largest_difference"])


def reliability_table(panel: pd.DataFrame, outcomes: list[str]) -> pd.DataFrame:
    """Reliability of each outcome with its 95% interval; ``panel`` numbers specifications in ``spec``."""
    return pd.DataFrame([{"outcome": name} | reliability(panel["spec"], panel[name]) for name in outcomes])


def agreement_sentence(again: pd.DataFrame) -> str:
    """Whether the runs that were trained again agree with the record, in one sentence."""
    same, n = int((again["largest_difference"] == 0).sum()), len(again)
    if same == n:
        few = {1: "The run that was trained again agrees", 2: "Both runs that were trained again agree"}
        who = few.get(n, f"All {n} runs that were trained again agree")
        return f"{who} with the record on every item of every task."
    worst = again["largest_difference"].max()
    mean = (again["again"] - again["recorded"]).abs().max()
    return (
        f"Of {counted(n, 'run')} trained again, {counted(same, 'agrees', 'agree')} with the record on every item of "
        f"every task; of the others the largest difference on one task is {worst:.4f}, and in a "
        f"run's mean accuracy {mean:.4f}."
    )


def allowed(threshold: str) -> tuple[float, float]:
    """The least and the largest value that keep a threshold, as ``>=.15``, ``<=.95`` or ``between .30 and .95``."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", threshold)]
    return (
        -np.inf if threshold.startswith("<=") else numbers[0],
        np.inf if threshold.startswith(">=") else numbers[-1],
    )


def settings_table(settings: object) -> pd.DataFrame:
    """The fields of a dataclass with their values and the comment beside each in its source, where it comes from."""
    source = inspect.getsource(type(settings))
    rows = []
    for field in fields(settings):
        comment = re.search(rf"^ +{field.name}: [^#\n]*# (.*)$", source, re.MULTILINE)
        value, source_of = getattr(settings, field.name), comment[1] if comment else "–"
        if value != field.default:
            source_of = f"set by this study; without it {field.default} ({source_of})"
        rows.append({"setting": field.name, "value": str(value), "where it comes from": source_of})
    return pd.DataFrame(rows)


def panel_history(ledger: Ledger, design: Design, specs: list[RunSpec]) -> pd.DataFrame:
    """The noise panel: one row per run, with ``spec`` numbering the specifications."""
    finished, parts = ledger.finished(), []
    for number, spec in enumerate(specs[: design.noise_specs]):
        group = [spec, *noise_panel(design, [spec])]
        records = [s.recorded(finished) for s in group if s.run_id in finished]
        if len(records) == design.noise_seeds:
            parts.append(history(records).assign(spec=number))
    if len(parts) < 2:
        raise InputError("Expected 2 or more specifications with all seeds in the noise panel, found fewer; train it.")
    return pd.concat(parts, ignore_index=True)
