"""A recommendation on one page: a file for a browser that needs nothing else; no model is fitted again for it."""

from collections.abc import Callable
from itertools import chain

import numpy as np
from jinja2 import Environment, StrictUndefined

from causalmix.core.direction import called
from causalmix.core.paths import ASSETS
from causalmix.core.wording import counted, signed_as
from causalmix.effects.interface import normal_quantile
from causalmix.methods.next_runs import replicate_noise
from causalmix.methods.request import BY_LETTER, Recommendation
from causalmix.methods.target import scale_of, sized
from causalmix.methods.training_set import EQUAL, POOL, as_dict, checks_told, outcome_told, reference_told

ENDS = ("estimate", "low", "high")  # of a gain
STEP = 0.05  # of share, by which near alternatives differ
FURTHER = (0, 4, 16, 64)  # repeats whose worth is told
MOST_RUNS, MOST_DOMAINS = 240, 40  # that are drawn


def _axis(*values: float) -> Callable[[float], float]:
    """Where values stand on a line that holds all of these, in percent of its width."""
    room = 0.06 * (max(values) - min(values)) or 1.0
    low, high = min(values) - room, max(values) + room
    return lambda value: round(100 * (value - low) / (high - low), 2)


def page(found: Recommendation, manifest: dict) -> str:
    """The HTML of a recommendation whose folder has this manifest."""
    told = as_dict(found)
    chosen = next(m for m in told["methods"] if m["method"] == BY_LETTER[found.request.method])
    reference = reference_told(found)
    outcome, (rows, model, _) = outcome_told(found), scale_of(found.target.x, found.history)
    beyond = _cautions(chosen, found)
    kept = _half(chosen) == 0
    said = chosen["note"].casefold() if kept else ""  # below the headline, and not once more
    gains = {EQUAL: chosen["gain_over_equal"], POOL: chosen["gain_over_pool"]}
    gains |= {reference: chosen["gain_over_reference"]}
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    over = (m[f"gain_over_{what}"].values() for m in told["methods"] for what in ("reference", "pool"))
    made.filters |= {
        "signed": signed_as(chain(*over)).format,
        "percent": "{:.1%}".format,
        "short": "{:.4g}".format,
        "counted": counted,
    }
    return made.from_string((ASSETS / "report.html.jinja").read_text(encoding="utf-8")).render(
        told=told, chosen=chosen, manifest=manifest, reference=reference, outcome=outcome, size=sized(rows, model),
        cautions=[*(f"{warning}." for warning in found.warnings if warning.casefold() != said), *beyond],
        headline=headline(chosen["gain_over_reference"], reference, outcome, bool(beyond)),
        mixture=_mixture(chosen, told), state=_state(found), near=_near(found, chosen), step=STEP, most_runs=MOST_RUNS,
        gains=_intervals({f"over {name}": gain for name, gain in gains.items()}),
        further=_further(found, told, chosen), checks_told=checks_told(found),
        checks=_intervals({called(c["outcome"], c["lower_is_better"]): {end: c[end] for end in ENDS}
                           for c in told["checks"] if not kept}),
    )  # fmt: skip


def headline(gain: dict, reference: str, outcome: str, beyond: bool) -> str:
    """The answer in one sentence, which promises nothing where the interval holds zero or the runs do not reach."""
    form = signed_as(gain.values())
    gained, lost = form.format(gain["estimate"]), form.format(-gain["estimate"]).lstrip("+")
    if gain["low"] == gain["high"] == 0:
        return f"Keep {reference}: of no other mixture that is allowed is a gain sure enough."
    if gain["low"] <= 0 <= gain["high"]:
        return f"There is no evidence that this mixture gains over {reference}."
    if gain["high"] < 0:
        return f"This mixture is predicted to lose {lost} in {outcome} against {reference}."
    if beyond:
        return f"Beyond what its runs have seen, the sweep extrapolates a gain of {gained} in {outcome}."
    return f"This mixture is predicted to gain {gained} in {outcome} over {reference}."


def _cautions(chosen: dict, found: Recommendation) -> list[str]:
    """Why the gain is no promise."""
    known = zip(found.history.measured, found.target.x, found.history.X.T)
    off = [name for name, value, column in known if not column.min() <= value <= column.max()]
    reasons = {
        "The mixture lies outside the support of the runs.": not chosen["in_support"],
        f"The pool's {', '.join(off)} lies outside of the runs.": bool(off),
        "No run has this size.": chosen["extrapolated"],
    }
    true = [why for why, holds in reasons.items() if holds]
    return true and [*true, "The returns are not known there."]


def _mixture(chosen: dict, told: dict) -> list[dict]:
    """Shares beside the pool's own, those that change most first where there are many."""
    rows, total = told["pool"]["rows"], sum(told["pool"]["rows"].values())
    lines = [{"domain": d, "share": share, "own": rows[d] / total, "rows": chosen["rows"][d],
              "repeats": chosen["repeats"][d]} for d, share in chosen["share"].items()]  # fmt: skip
    most = max(max(line["share"], line["own"]) for line in lines)
    lines = [line | {"bar": 100 * line["share"] / most, "own_bar": 100 * line["own"] / most} for line in lines]
    if len(lines) > MOST_DOMAINS:
        lines.sort(key=lambda line: -abs(line["share"] - line["own"]))
    return lines[:MOST_DOMAINS]


def _intervals(named: dict[str, dict]) -> dict:
    """Estimates with intervals on one axis that holds zero."""
    axis = _axis(0.0, *(value for one in named.values() for value in one.values()))
    form = signed_as(value for one in named.values() for value in one.values())
    lines = [
        {"name": name, **one, "at": {end: axis(value) for end, value in one.items()},
         "told": {end: form.format(value) for end, value in one.items()}} for name, one in named.items()
    ]  # fmt: skip
    return {"lines": lines, "zero": axis(0.0)}


def _state(found: Recommendation) -> list[dict]:
    """Each covariate of the pool among those of the runs."""
    history, lines = found.history, []
    for name, value, column in zip(history.covariates, found.target.x, history.X.T):
        axis = _axis(value, *column)
        runs = np.sort(column)[np.linspace(0, len(column) - 1, min(len(column), MOST_RUNS)).astype(int)]
        lines.append({"name": name, "value": float(value), "at": axis(value), "runs": sorted({axis(v) for v in runs}),
                      "low": float(column.min()), "high": float(column.max()),
                      "below": float((column < value).mean())})  # fmt: skip
    return lines


def _near(found: Recommendation, chosen: dict) -> dict:
    """What a little more of one domain, the others in proportion, would change against the mixture."""
    w = np.array([chosen["share"].get(d, 0.0) for d in found.history.domains])  # of what the history knows
    w, here = w / w.sum(), [k for k, d in enumerate(found.history.domains) if d in chosen["share"]]
    domains, more = [found.history.domains[k] for k in here], np.eye(len(w))[here]
    gains = found.effects.gain(found.target.x, w, (1 - STEP) * w + STEP * more)
    named = {d: dict(zip(("estimate", "low", "high"), map(float, one))) for d, *one in zip(domains, *gains)}
    largest = sorted(named, key=lambda d: -abs(named[d]["estimate"]))[:MOST_DOMAINS]
    return _intervals({d: named[d] for d in domains if d in largest})


def _further(found: Recommendation, told: dict, chosen: dict) -> dict:
    """What repeats of the mixture (or the most promising one) and the reference would do: precisions add up."""
    history, outcome = found.history, found.effects.outcome
    one = chosen if _half(chosen) else max(told["methods"], key=lambda m: m["gain_over_reference"]["estimate"])
    if not (half := _half(one)):
        return {"lines": []}
    again = replicate_noise(history, outcome)
    noise = again[0] if again else float(np.std(found.effects.y - found.effects.predict(history.X, history.T)))
    z = normal_quantile(0.95)
    halves = {n: z / np.sqrt((z / half) ** 2 + n / (2 * noise**2)) if noise else half * (n == 0) for n in FURTHER}
    lines = [{"runs": n, "half": float(h), "bar": 48 * float(h) / half} for n, h in halves.items()]
    return {"lines": lines, "noise": noise, "method": one["method"]}


def _half(method: dict) -> float:
    return (method["gain_over_reference"]["high"] - method["gain_over_reference"]["low"]) / 2
