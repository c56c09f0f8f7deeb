"""What a study costs, told before anything is spent: runs, tokens, operations, hours, memory, disk and money.

Training a token takes 6 N floating-point operations and reading one 2 N, N all parameters of the model; attention
between tokens comes on top, as 6 and 2 times layers, width and the mean length of a row (each token attends to
half of its row), or of a packed batch.  Hours are all of it at the utilisation that the study's hardware states.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from causalmix.core import paths
from causalmix.core.errors import InputError
from causalmix.core.study_file import Study
from causalmix.data.named_models import is_own
from causalmix.data.scored_pools import VALIDATION_ROWS
from causalmix.study.plan.hardware import Assumption, Hardware
from causalmix.study.plan.memory import check_fit, disk_table, memory_table, shape_of
from causalmix.study.plan.workload import TRAIN, Part, Work, family_of
from causalmix.train.ledger import Ledger

PAPER_FLOPS = 5.53e20  # of the proxy runs, as quoted by a secondary source
PAPER_MODEL, PAPER_PARAMETERS = "Qwen/Qwen2.5-0.5B", 0.5e9
RECORDED = "laptop"  # the study whose record tells the length of the embedded world's rows
SAMPLE = 500  # rows of the embedded world that are tokenised where no record tells
NOT_COUNTED = "Starting runs, loading models and rows, and fitting effects are not counted."
FORMATS = ("table", "json", "csv")


@dataclass(frozen=True)
class Plan:
    """What a study costs.

    Attributes
    ----------
    study : str
    hardware : Hardware or None
    parts : DataFrame
        ``part, chapter, role, model, kind, runs, rows, tokens, flops, attention_flops, hours, money``; NaN is unknown.
    memory : DataFrame
        GiB by role on each GPU, or in each worker.
    disk : DataFrame
        ``what, gib``.
    paper : DataFrame
        Operations of the proxy runs, counted in several ways, beside the paper's.
    assumptions : DataFrame
        ``name, value, source``.
    """

    study: str
    hardware: Hardware | None
    parts: pd.DataFrame
    memory: pd.DataFrame
    disk: pd.DataFrame
    paper: pd.DataFrame
    assumptions: pd.DataFrame

    @property
    def totals(self) -> dict[str, float]:
        """Sums over the parts that are known; ``trained`` counts models, ``unknown`` the parts without a number."""
        known = self.parts[["tokens", "flops", "attention_flops", "hours", "money"]].sum().to_dict()
        trained = int(self.parts.loc[self.parts["kind"] == TRAIN, "runs"].sum())
        return (
            {"trained": trained}
            | known
            | {"disk_gib": float(self.disk["gib"].sum()), "unknown": int(self.parts["tokens"].isna().sum())}
        )

    def as_dict(self) -> dict[str, object]:
        """Everything in plain types; what is unknown is None."""
        tables = {name: getattr(self, name) for name in ("parts", "memory", "disk", "paper", "assumptions")}
        plain = {
            name: json.loads(table.to_json(orient="records", double_precision=15)) for name, table in tables.items()
        }
        return {
            "study": self.study,
            "hardware": self.hardware.name if self.hardware else None,
            "totals": self.totals,
        } | plain


def plan(study: Study) -> Plan:
    """Count what a study costs; nothing is downloaded, read from its pools, or trained.

    Parameters
    ----------
    study : Study
        Without a section ``hardware`` hours and money are unknown, and whether it fits is not checked.

    Raises
    ------
    InputError
        When a value is not allowed, a number is needed that nobody gave (``hardware.ASSUMPTIONS``),
        a model's shape cannot be had, or the study does not fit the hardware.
    """
    hardware = Hardware.of(study.hardware) if study.hardware else None
    work, given = Work.of(study), hardware.assumptions if hardware else {}
    asked = {"pool": work.design.pool_rows, "longcot": work.values["longcot"]["longcot_rows"]}
    rows = {"pool": given.get("rows"), "longcot": given.get("longcot_rows")}
    rows = {name: min(asked[name], int(found.value)) if (found := rows[name]) else asked[name] for name in asked}
    lengths = {family: _tokens_per_row(study, work, family, given) for family in ("pool", "longcot")}
    parts = pd.DataFrame(
        [_costed(part, work, lengths, given, hardware) for part in work.parts(rows["pool"], rows["longcot"])]
    )
    means = {family: length.value for family, length in lengths.items()}
    memory, disk = memory_table(work, means, given, hardware), disk_table(work, parts, means, rows, hardware)
    names = {"pool": "tokens_per_row", "longcot": "longcot_tokens_per_row"}
    assumed = given | {names[family]: found for family, found in lengths.items()}
    told_of = pd.DataFrame(
        [{"name": name, "value": a.value, "source": a.source} for name, a in sorted(assumed.items())]
    )
    found = Plan(study.name, hardware, parts, memory, disk, _beside_the_paper(parts), told_of)
    if hardware:
        check_fit(study.name, work, hardware, memory, disk)
    return found


def _tokens_per_row(study: Study, work: Work, family: str, given: dict[str, Assumption]) -> Assumption:
    """Mean tokens of a row: from the study's record, its assumption, or the embedded world's record or rows."""
    role, kind = ("longcot", "longcot") if family == "longcot" else ("proxy", "tiny")
    recipe, model = (work.design.longcot_pool if family == "longcot" else work.design.pool), work.design.model_of(role)
    prefix = "real/" if recipe else f"{kind}/"
    name = "longcot_tokens_per_row" if family == "longcot" else "tokens_per_row"
    if found := _recorded(study.name, model, prefix):
        return found
    if name in given:
        return given[name]
    if recipe or not is_own(model):
        raise InputError(
            f"Expected {name} among the assumptions of the study {study.name}, for it reads no rows yet, found none; "
            f"add assumptions: {{{name}: {{value: …, source: …}}}} to its section hardware."
        )
    return _recorded(RECORDED, model, prefix) or _sampled(kind)


def _recorded(study: str, model: str, prefix: str) -> Assumption | None:
    """Tokens of a row as finished runs of a study have counted them; None without such a run."""
    counted = []
    for name in ("runs.jsonl", "trials.jsonl"):
        path = paths.results_dir(study) / name
        for record in Ledger(path).finished().values():
            spec, training = record["spec"], record["training"]
            if spec["model"] == model and spec["world"].startswith(prefix) and training.get("rows"):
                # A run that mixes while it trains counts every row that it was handed, in all epochs.
                passes = 1 if "mixing" in training else spec["epochs"]
                counted.append(training["tokens"] / (training["rows"] * passes))
    return (
        Assumption(float(np.mean(counted)), f"measured: {len(counted)} recorded runs of the study {study}")
        if counted
        else None
    )


@cache
def _sampled(kind: str) -> Assumption:
    """Tokens of a row in a small sample of the embedded world's pool."""
    from causalmix.data.families import KINDS
    from causalmix.data.tiny import models
    from causalmix.lm import conversations

    tokens = conversations.tokenize(KINDS[kind].make_pool(SAMPLE, 0), models.world_tokenizer())["input_ids"]
    return Assumption(
        float(np.mean([len(ids) for ids in tokens])), f"measured: {SAMPLE} rows of the embedded world, made for it"
    )


def _costed(
    part: Part, work: Work, lengths: dict[str, Assumption], given: dict[str, Assumption], hardware: Hardware | None
) -> dict[str, object]:
    """A part with its tokens, operations, hours and money."""
    shape, length, family = shape_of(part.model), lengths[family_of(part.role)].value, family_of(part.role)
    utilisation, tokens, attended = None, part.rows * length, length
    if part.kind == TRAIN:
        settings = work.design.settings_of(part.role)
        tokens = part.rows * min(length, settings.max_length)
        if settings.packing:  # packed bins of a batch are one sequence, whose attention is dense
            attended = settings.batch_size * settings.max_length
    elif part.limits:
        tokens = part.rows * sum(min(length, limit) for limit in part.limits)
    elif not part.rows:
        tokens = part.runs * _judging(work, family, length, given)
        utilisation = given["evaluation_utilisation"].value if "evaluation_utilisation" in given else None
    times = 6 if part.kind == TRAIN else 2
    tokens = float(tokens)
    flops, attention = times * shape.parameters * tokens, times * shape.layers * shape.attention * attended * tokens
    hours = hardware.hours(flops + attention, utilisation) if hardware else np.nan
    price = hardware.price_per_gpu_hour if hardware else None
    row = {name: getattr(part, name) for name in ("part", "chapter", "role", "model", "kind", "runs")}
    numbers = {"rows": float(part.rows), "tokens": tokens, "flops": flops, "attention_flops": attention, "hours": hours}
    return row | numbers | {"money": hours * price if price else np.nan}


def _judging(work: Work, family: str, length: float, given: dict[str, Assumption]) -> float:
    """Tokens for judging one model: its tasks, as far as they are told, and a real pool's validation rows."""
    found = given.get("longcot_evaluation_tokens" if family == "longcot" else "evaluation_tokens")
    recipe, domains = (
        (work.design.longcot_pool, work.longcot_domains) if family == "longcot" else (work.design.pool, work.domains)
    )
    return (found.value if found else np.nan) + (VALIDATION_ROWS * len(domains) * length if recipe else 0)


def _beside_the_paper(parts: pd.DataFrame) -> pd.DataFrame:
    """Operations of the proxy runs, 6 N D, beside what the paper is quoted with."""
    own = parts[parts["part"] == "proxy runs"].iloc[0]
    rows = [{"counted": "the paper, as quoted by a secondary source", "parameters": np.nan, "flops": PAPER_FLOPS}]
    if own["model"] == PAPER_MODEL:
        flops = 6 * PAPER_PARAMETERS * own["tokens"]
        rows.append({"counted": "this study's, N as the name says", "parameters": PAPER_PARAMETERS, "flops": flops})
    n = shape_of(own["model"]).parameters
    rows.append({"counted": "this study's, N as it is", "parameters": n, "flops": own["flops"]})
    rows.append({"counted": "the same with attention", "parameters": n, "flops": own["flops"] + own["attention_flops"]})
    return pd.DataFrame(rows).assign(of_the_paper=lambda table: table["flops"] / PAPER_FLOPS)


def told(found: Plan, form: str = "table") -> str:
    """A plan as text for the terminal, as JSON, or its parts as CSV.

    Parameters
    ----------
    found : Plan
    form : {"table", "json", "csv"}
    """
    if form not in FORMATS:
        raise InputError(f"Expected a format among {', '.join(FORMATS)}, found {form!r}; choose one of these.")
    if form == "json":
        return json.dumps(found.as_dict(), indent=1, ensure_ascii=False)
    if form == "csv":
        return found.parts.to_csv(index=False)
    unit = found.hardware.unit if found.hardware else "GPU"
    where = "on each GPU" if unit == "GPU" else "for each core's worker"
    blocks = {
        _head_line(found): _lines(_shown(found.parts, f"{unit}-hours")),
        total_sentence(found): NOT_COUNTED,
        f"Memory {where}, GiB:": _lines(found.memory.drop(columns="model")),
        "Disk, GiB:": _lines(found.disk, 1),
        "Operations of the proxy runs, 6 N D:": "\n".join([_lines(_paper_shown(found.paper)), *_why(found)]),
        "It assumes:": "\n".join(f"  {a.name} {a.value:,.6g}: {a.source}" for a in found.assumptions.itertuples()),
    }
    return "\n".join(f"{head}\n{body}\n" for head, body in blocks.items())


def _head_line(found: Plan) -> str:
    if not (hardware := found.hardware):
        return f"The study {found.study} names no hardware, so hours, money and whether it fits are not told."
    plural = "s" if hardware.units > 1 else ""
    speed = f"{hardware.peak_tflops:g} TFLOP/s each, {hardware.utilisation:.0%} of it used"
    return f"The study {found.study} on {hardware.name}: {hardware.units} {hardware.unit}{plural}, {speed}."


def _shown(parts: pd.DataFrame, hours: str) -> pd.DataFrame:
    """The parts as the terminal shows them."""
    kept = parts[["part", "model", "runs", "rows", "tokens", "flops", "attention_flops", "hours", "money"]].copy()
    for name in ("rows", "tokens", "flops", "attention_flops"):
        kept[name] = [_short(value) for value in kept[name]]
    for name in ("hours", "money"):
        kept[name] = ["?" if np.isnan(v) else f"{v:,.2f}" if v < 100 else f"{v:,.0f}" for v in kept[name]]
    unpaid = parts["money"].isna().all()
    return kept.drop(columns="money" if unpaid else []).rename(columns={"hours": hours, "attention_flops": "attention"})


def _short(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:,.0f}" if value < 1e6 else f"{value:.3g}".replace("e+", "e")


def total_sentence(found: Plan) -> str:
    """What a study costs in all."""
    total, unit = found.totals, found.hardware.unit if found.hardware else "GPU"
    text = f"In all at most {total['trained']:,} models trained (mixtures that turn out alike share their runs), "
    text += f"{_short(total['flops'] + total['attention_flops'])} FLOPs"
    if found.hardware:
        days = total["hours"] / found.hardware.units / 24
        text += f", {total['hours']:,.1f} {unit}-hours, {days:,.2f} days if all are busy"
    text += f", {total['money']:,.0f} to pay" if found.parts["money"].notna().any() else ""
    return text + (f"; {total['unknown']} parts are not known and not in it." if total["unknown"] else ".")


def _paper_shown(paper: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({
        "counted": paper["counted"], "N": [_short(n) for n in paper["parameters"]],
        "flops": [_short(f) for f in paper["flops"]],
        "of the paper's": [f"{100 * r:.3g}%" for r in paper["of_the_paper"]],
    })  # fmt: skip


def _why(found: Plan) -> list[str]:
    """Why the ways of counting differ; only where there are two."""
    why = "The quoted figure fits N rounded to 0.5e9 without attention; the model has 0.494e9, embeddings included."
    return [why] if len(found.paper) == 4 else []


def _lines(table: pd.DataFrame, digits: int = 2) -> str:
    return table.to_string(index=False, float_format=lambda value: f"{value:,.{digits}f}")
