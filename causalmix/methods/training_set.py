"""What a recommendation looks like."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from causalmix.core.direction import called
from causalmix.core.wording import counted, signed_as
from causalmix.data.pools import hub
from causalmix.methods.request import BY_LETTER, Recommendation
from causalmix.methods.target import scale_of, scale_told, sized

EQUAL, POOL = "equal shares", "the pool as it is"  # what a mixture may have to beat
ALIKE = 1e-3  # shares that differ by no more are told as the same
#: Prefixes of columns, and how numbers are shown that are not whole.
BY_DOMAIN = {"share": "w", "rows": "n", "repeats": "repeats", "epochs": "epochs", "tokens": "tokens"}
SHOWN = {"share": "{:.4f}", "epochs": "{:.2f}"}
GAINS = {"gain_over_equal": ("predicted_gain", "gain")}
GAINS |= {name: (name, name) for name in ("gain_over_pool", "gain_over_reference")}


def shown(found: Recommendation, form: str = "table") -> str:
    """A recommendation as text: a table for reading, one JSON object, or CSV with a line for each method."""
    if form == "json":
        return as_json(as_dict(found))
    if form == "csv":
        return found.table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return _text(found)


def _text(found: Recommendation) -> str:
    table, lines = found.table, found.table.set_index("method")
    shares = pd.DataFrame({"domain": found.domains, "pool rows": [f"{n:,}" for n in found.target.rows]})
    letters = {short: method for short, method in BY_LETTER.items() if method in lines.index}
    for short, method in letters.items():
        many = method == BY_LETTER[found.request.method]
        for what, prefix in BY_DOMAIN.items() if many else list(BY_DOMAIN.items())[:2]:
            values = [lines.loc[method, f"{prefix}_{d}"] for d in found.domains]
            shares[f"{short} {what}"] = [SHOWN.get(what, "{:,.0f}").format(v) for v in values]
    gains = pd.DataFrame({"method": table["method"]})
    for what, (estimate, ends) in GAINS.items() if not found.withheld else ():
        columns = table[[estimate, f"{ends}_ci_low", f"{ends}_ci_high"]].to_numpy()
        gains[what.replace("_", " ")] = [_interval(signed_as(columns.flat), gain) for gain in columns]
    gains["in support"] = ["yes" if inside else "no" for inside in table["in_support"]]
    state = found.target.table(found.history).head(len(found.target.x))
    sizes = f"{counted(found.target.n_samples, 'row')} of {found.target.pool} ({len(found.pool):,} rows)"
    told = f"{', '.join(letters.values())}; an epoch is all rows of a domain, a token about four bytes of text:"
    parts = ["\n".join(f"! {warning}." for warning in found.warnings)] * bool(found.warnings)
    parts += [f"{sizes}, mixed by the returns of {len(found.history)} runs.", told, shares.to_string(index=False)]
    rows, model, inside = scale_of(found.target.x, found.history)
    aim = f"{outcome_told(found)}, for {sized(rows, model)}{'' if inside else ' (extrapolated)'}"
    over = "over Equal, the pool's own proportions and the reference of Cautious"
    parts.append(f"Gains in {aim}, are withheld:" if found.withheld else f"Predicted gain in {aim}, {over}:")
    parts.append(gains.to_string(index=False))
    if found.checks:
        names = [called(c["outcome"], c["lower_is_better"]) for c in found.checks]
        ends = ([c["estimate"], c["low"], c["high"]] for c in found.checks)
        gains = [_interval(signed_as(gain), gain) for gain in ends]
        parts += [checks_told(found), pd.DataFrame({"outcome": names, "gain": gains}).to_string(index=False)]
    if len(state):
        lines = state.to_string(index=False, float_format="{:.6g}".format)
        parts += ["State of the pool, and the share of the runs below it:", lines]
    for caption, records in hub.told(found.pool)[1].items():
        parts += [caption, pd.DataFrame(records).to_string(index=False)]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in _notes(found))]) + "\n"


def _interval(form: str, gain: Sequence[float]) -> str:
    """An estimate and the ends of its interval."""
    return f"{form} [{form}, {form}]".format(*gain)


def _notes(found: Recommendation) -> tuple[str, ...]:
    """What a reader has to know: where the state comes from, where it leaves the history, what is drawn again."""
    history, target = found.history, found.target
    told = [*found.asked.sweep.told, _of_state(found), *hub.told(found.pool)[0]]
    told += [found.asked.objective.told(found.asked.lower), _taken(found), _judged(found)]
    shares = ", ".join(f"{d} {share:.4f}" for d, share in zip(found.history.domains, found.reference))
    told.append(f"The reference of Cautious is {reference_told(found)}: {shares}.")
    for name, value, column in zip(history.measured, target.x, history.X.T):
        if not column.min() <= value <= column.max():
            told.append(
                f"x_{name} at {value:.4g} lies outside of the history, whose runs range from {column.min():.4g} to "
                f"{column.max():.4g}: returns are not known there, or other models scored the history's pools."
            )
    told.append(scale_told(target.x, target.n_samples, history))
    for line in found.table[found.table["method"].isin(BY_LETTER.values())].to_dict("records"):
        if again := [f"{line[f'repeats_{d}']} of {d}" for d in found.domains if line[f"repeats_{d}"]]:
            told.append(f"{line['method']} draws rows again ({', '.join(again)}), which its predicted gain ignores.")
        told += [f"{line['method']}: {line['note']}."] * bool(line["note"])
    return tuple(filter(None, told))


def checks_told(found: Recommendation) -> str:
    """What the gains by Unseen outcomes are."""
    method = BY_LETTER[found.request.method]
    return f"Gain of {method} over its reference by outcomes of the same runs that chose nothing:"


def reference_told(found: Recommendation) -> str:
    """What Cautious has to beat, in words: what it is, whoever named it, and whether limits or rows have moved it."""
    domains, asked = found.history.domains, found.request.reference
    rows = dict(zip(found.domains, map(float, found.target.rows)))
    own = np.array([rows.get(d, 0.0) for d in domains])
    for name, mixture in ((EQUAL, own > 0), (POOL, own)):
        if np.abs(found.reference - mixture / mixture.sum()).max() <= ALIKE:
            return name
    named = {"": EQUAL, "equal": EQUAL, "pool": POOL}.get(asked, "the given reference")
    if named not in (EQUAL, POOL):
        given = np.array(found.asked.caution.reference) * (own > 0)
        if np.abs(found.reference * given.sum() - given).max() <= ALIKE:
            return named
    return f"the mixture nearest to {named} that rows and limits allow"


def outcome_told(found: Recommendation) -> str:
    """What is raised, and which way it is better."""
    return called(found.effects.outcome, found.effects.outcome in found.asked.lower)


def _taken(found: Recommendation) -> str:
    """What nobody has said: which way outcomes are better, and how many rows."""
    down = [name for name in found.asked.objective.outcomes if name in found.asked.lower]
    up = [name for name in found.asked.objective.outcomes if name not in down]
    told = [f"lower {', '.join(down)}"] * bool(down) + [f"higher {', '.join(up)}"] * bool(up)
    rows = "" if found.request.n_samples or "n_samples" in found.history.frame else (
        f" The training set has {found.target.n_samples} rows, for neither --n-samples nor the history says how many."
    )  # fmt: skip
    least = "" if found.asked.floor is not None else (
        " No share is below the 5th percentile of the runs' (or 0.01) or, where that is less, the pool's own, an even "
        "one or the reference's; --floor says otherwise."
    )  # fmt: skip
    return f"Taken for better: {' and '.join(told)}.{least}{rows}"


def _judged(found: Recommendation) -> str:
    """Whose gains the table has, and which returns CausalMix-A and CausalMix-S follow."""
    names, stages = (
        {"bayesian": "the Bayesian stage", "forest": "the forest"},
        filter(None, (found.effects, found.paper)),
    )
    judge, *paper = (names.get(one.stage, f"the {one.stage} stage") for one in stages)
    follow = "".join(f"; CausalMix-A and CausalMix-S follow {stage}" for stage in paper)
    told = f"All gains are predicted by {judge}, which Cautious follows{follow}."
    return " ".join(filter(None, dict.fromkeys([told, found.effects.note, found.paper.note if paper else ""])))


def _of_state(found: Recommendation) -> str:
    if not found.history.measured:
        return "The history has no covariates: the pool's state is not used, and nothing was scored."
    if found.request.state is not None:
        return f"The state was given in {Path(found.request.state).name}; nothing was scored."
    if found.scored_by:
        by = " and ".join(model["name"] for model in found.scored_by.values())
        return f"The pool was scored by {by}, which must be the models that scored the history's pools."
    return "The state is the mean of the pool's own columns, which the models of the history's pools must have made."


def as_dict(found: Recommendation) -> dict:
    """A recommendation as plain values: what JSON shows and recommended.json keeps."""
    domains, first = found.domains, found.table.iloc[0]
    tables = hub.told(found.pool)[1]
    state = {
        c: {"value": float(first[f"x_{c}"]), "share_of_runs_below": float(first[f"share_of_runs_below_x_{c}"])}
        for c in found.history.covariates
    }
    told = {
        "warnings": list(found.warnings), "withheld": found.withheld, "outcome": found.effects.outcome,
        "lower_is_better": found.effects.outcome in found.asked.lower, "n_samples": found.target.n_samples,
        "repeats_allowed": found.request.repeats_allowed, "max_repeats": found.request.max_repeats,
        "reference": dict(zip(found.history.domains, map(float, found.reference))),
    }  # fmt: skip
    return told | {
        "runs": len(found.history),
        "pool": {"name": found.target.pool, "rows": dict(zip(domains, map(int, found.target.rows)))},
        "state": state,
        "scored_by": found.scored_by,
        "checks": list(found.checks),
        "methods": [_method(line, domains) for line in found.table.to_dict("records")],
        "read": tables.get(hub.READ, []),
        "left_out": tables.get(hub.LEFT_OUT, []),
        "notes": list(_notes(found)),
    }


def _method(line: dict, domains: tuple[str, ...]) -> dict:
    """One line of the table, its columns grouped."""
    grouped = {what: {d: line[f"{prefix}_{d}"] for d in domains} for what, prefix in BY_DOMAIN.items()}
    for what, (estimate, ends) in GAINS.items():
        values = (line[estimate], line[f"{ends}_ci_low"], line[f"{ends}_ci_high"])
        grouped[what] = {name: None if v != v else v for name, v in zip(("estimate", "low", "high"), values)}
    plain = ("in_support", "support_quantile", "gain_rows", "gain_model", "extrapolated", "note")
    return {"method": line["method"]} | grouped | {c: line[c] for c in plain}


def as_json(values: dict) -> str:
    """Plain values as the text of a file."""
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
