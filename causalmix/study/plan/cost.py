"""What a study costs, told before anything is spent: runs, tokens, operations, hours, memory, disk and money.

Training a token takes 6 N operations and reading one 2 N, N all parameters of the model; attention comes on top, as 6
and 2 times layers, width and the mean length of a row, or of a packed batch.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causalmix.core.study_file import Study
from causalmix.core.wording import counted, short
from causalmix.data.scored_pools import VALIDATION_ROWS
from causalmix.study.plan.hardware import Hardware
from causalmix.study.plan.memory import check_fit, described, disk_table, memory_table, shape_of
from causalmix.study.plan.workload import TO_MIXTURE, TRAIN, Line, Work, family_of

PAPER_FLOPS = 5.53e20  # of the proxy runs, as quoted by a secondary source
PAPER_MODEL, PAPER_PARAMETERS = "Qwen/Qwen2.5-0.5B", 0.5e9
NOT_COUNTED = "Fitting effects is not counted."
WHY = "\nThe quoted figure fits N rounded to 0.5e9 without attention; the model has 0.494e9, embeddings included."


@dataclass(frozen=True)
class Plan:
    """What a study costs, as tables; NaN is unknown."""

    study: str
    hardware: Hardware | None
    parts: pd.DataFrame  # part, chapter, role, model, kind, runs, rows, tokens, flops, attention_flops, hours, money
    memory: pd.DataFrame  # GiB by role on each GPU, or in each worker
    disk: pd.DataFrame  # what, gib
    paper: pd.DataFrame  # operations of the proxy runs, counted in several ways, beside the paper's
    assumptions: pd.DataFrame  # name, value, source
    note: str = ""  # what is left out, and why

    @property
    def totals(self) -> dict[str, float]:
        """Sums over the parts that are known; ``trained`` counts models, ``unknown`` the parts without a number."""
        known = self.parts[["tokens", "flops", "attention_flops", "hours", "money"]].sum().to_dict()
        trained = int(self.parts.loc[self.parts["kind"] == TRAIN, "runs"].sum())
        rest = {"disk_gib": float(self.disk["gib"].sum()), "unknown": int(self.parts["tokens"].isna().sum())}
        first = self.parts["chapter"].isin(TO_MIXTURE)
        rest["hours_to_mixture"] = float(self.parts.loc[first, "hours"].sum())
        return {"trained": trained} | known | rest

    def as_dict(self) -> dict[str, object]:
        """Everything in plain types; what is unknown is None."""
        told = {"study": self.study, "hardware": self.hardware.name if self.hardware else None, "totals": self.totals}
        told["note"] = self.note
        for name in ("parts", "memory", "disk", "paper", "assumptions"):
            told[name] = json.loads(getattr(self, name).to_json(orient="records", double_precision=15))
        return told


def plan(study: Study) -> Plan:
    """Count what a study costs; nothing is downloaded, read from its pools, or trained."""
    models = study.hardware.get("models")
    with described(models if isinstance(models, dict) else {}):
        work = Work.of(study)
        parts = pd.DataFrame([_costed(work, line) for line in work.lines()])
        memory, disk = memory_table(work), disk_table(work, parts)
        told_of = pd.DataFrame([{"name": name} | dict(found) for name, found in sorted(work.assumptions.items())])
        if work.hardware:
            check_fit(work, memory, disk)
        return Plan(study.name, work.hardware, parts, memory, disk, _beside_the_paper(parts), told_of, work.note)


def _costed(work: Work, line: Line) -> dict[str, object]:
    """A line with its tokens, operations, hours and money."""
    shape, family, hardware = shape_of(line.model), family_of(line.role), work.hardware
    length, utilisation = work.lengths[family], None
    times, attended, tokens = 2, length, line.rows * length
    if line.kind == TRAIN:
        settings = work.design.settings_of(line.role)
        times, tokens = 6, line.rows * min(length, settings.max_length)
        if settings.packing:  # packed bins of a batch are one sequence, whose attention is dense
            attended = settings.batch_size * settings.max_length
    elif line.limits:
        tokens = line.rows * sum(min(length, limit) for limit in line.limits)
    elif not line.rows:  # models are judged by their tasks, as far as they are told, and a real pool's held-out rows
        recipe, asked, pool = work.recipe(family), work.assumed("evaluation_tokens", family), work.pools[family]
        validation = min(VALIDATION_ROWS * len(pool.domains), pool.rows // 9) * length if recipe else 0
        tokens = line.runs * ((asked or (np.nan if recipe is None or recipe.benchmarks() else 0)) + validation)
        utilisation = work.assumptions.get("evaluation_utilisation")
        utilisation = utilisation and utilisation.value
    tokens = float(tokens)
    flops, attention = times * shape.parameters * tokens, times * shape.layers * shape.attention * attended * tokens
    hours = hardware.hours(flops + attention, utilisation) if hardware else np.nan
    if line.kind != TRAIN and not line.rows and (start := work.assumptions.get("start_seconds")):
        hours += line.runs * start.value / 3600 * int(work.design.launch_of(line.role).get("processes", 1))
    price = hardware.price_per_gpu_hour if hardware else None
    row = {name: getattr(line, name) for name in ("part", "chapter", "role", "model", "kind", "runs")}
    numbers = {"rows": float(line.rows), "tokens": tokens, "flops": flops, "attention_flops": attention, "hours": hours}
    return row | numbers | {"money": hours * price if price else np.nan}


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
    """A plan as text for the terminal (``table``), as JSON (``json``), or its parts as CSV (``csv``)."""
    if form == "json":
        return json.dumps(found.as_dict(), indent=1, ensure_ascii=False)
    if form == "csv":
        return found.parts.to_csv(index=False)
    hardware = found.hardware
    unit = hardware.unit if hardware else "GPU"
    where = "on each GPU" if unit == "GPU" else "for each core's worker"
    head = f"The study {found.study} names no hardware, so hours, money and whether it fits are not told."
    if hardware:
        units = f"{hardware.units} {unit}{'s' if hardware.units > 1 else ''}"
        speed = f"{hardware.peak_tflops:g} TFLOP/s each, {hardware.utilisation:.0%} of it used"
        head = f"The study {found.study} on {hardware.name}: {units}, {speed}."
    paper = found.paper.assign(N=found.paper["parameters"].map(_short), flops=found.paper["flops"].map(_short))
    paper["of the paper's"] = (100 * paper["of_the_paper"]).map("{:.3g}%".format)
    blocks = {
        head: _lines(_parts_shown(found.parts, f"{unit}-hours")),
        total_sentence(found): " ".join(filter(None, [NOT_COUNTED, found.note])),
        f"Memory {where}, GiB:": _lines(found.memory.drop(columns="model")),
        "Disk, GiB:": _lines(found.disk, 1),
        # The second line tells why two ways of counting differ, where there are two.
        "Operations of the proxy runs, 6 N D:": _lines(paper[["counted", "N", "flops", "of the paper's"]])
        + WHY * (len(paper) == 4),
        "It assumes:": "\n".join(f"  {a.name} {a.value:,.6g}: {a.source}" for a in found.assumptions.itertuples()),
    }
    return "\n".join(f"{head}\n{body}\n" for head, body in blocks.items())


def _parts_shown(parts: pd.DataFrame, hours: str) -> pd.DataFrame:
    kept = parts[["part", "model", "runs", "rows", "tokens", "flops", "attention_flops", "hours", "money"]].copy()
    for name in ("rows", "tokens", "flops", "attention_flops"):
        kept[name] = kept[name].map(_short)
    for name in ("hours", "money"):
        kept[name] = ["?" if np.isnan(v) else f"{v:,.2f}" if v < 100 else f"{v:,.0f}" for v in kept[name]]
    unpaid = parts["money"].isna().all()
    return kept.drop(columns="money" if unpaid else []).rename(columns={"hours": hours, "attention_flops": "attention"})


def _short(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:,.0f}" if value < 1e6 else f"{value:.3g}".replace("e+", "e")


def _lines(table: pd.DataFrame, digits: int = 2) -> str:
    return table.to_string(index=False, float_format=lambda value: f"{value:,.{digits}f}")


def total_sentence(found: Plan) -> str:
    """What a study costs in all."""
    total, unit = found.totals, found.hardware.unit if found.hardware else "GPU"
    text = f"In all at most {counted(total['trained'], 'model')} trained (mixtures that turn out alike share their "
    text += f"runs), {_short(total['flops'] + total['attention_flops'])} FLOPs"
    if found.hardware:
        days = total["hours"] / found.hardware.units / 24
        machines = f"{counted(found.hardware.units, unit)}: {found.hardware.name}"
        text += f", {short(total['hours'])} {unit}-hours, {short(days)} days if all are busy ({machines})"
        text += f", {short(total['hours_to_mixture'])} {unit}-hours of it up to the mixture"
    if found.parts["money"].notna().any():
        text += f", {short(total['money'])} to pay where an hour costs {found.hardware.price_per_gpu_hour:g}"
    unknown = f"; {counted(total['unknown'], 'part is', 'parts are')} unknown and not in it"
    return text + unknown * bool(total["unknown"]) + "."
