"""What a study costs: counted as it will be trained, beside the paper, and refused where it does not fit."""

import io
import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from causalmix.core.errors import InputError
from causalmix.core.paths import RESULTS
from causalmix.core.study_file import Study, read_study
from causalmix.data.tiny.shapes import DOMAINS
from causalmix.methods import ask
from causalmix.study import campaign, longcot, parts
from causalmix.study.plan import cost, workload
from causalmix.study.plan.hardware import Hardware
from causalmix.study.plan.workload import Work
from causalmix.train.design import Design, noise_panel, specs_of

MACHINE = {"name": "a GPU", "gpus": 1, "gpu_memory_gib": 80, "peak_tflops": 100, "utilisation": 0.5, "disk_gib": 100}


def study(name: str) -> Study:
    return read_study(name)


def changed(name: str, hardware: dict | None = None, **parameters) -> Study:
    """A study with other parameters, and other fields of its hardware."""
    found = study(name)
    return replace(found, parameters=found.parameters | parameters, hardware=found.hardware | (hardware or {}))


@pytest.fixture(scope="module")
def plans():
    return {name: cost.plan(study(name)) for name in ("laptop", "quick", "gpu", "paper")}


def part(found: cost.Plan, name: str) -> pd.Series:
    (line,) = [line for _, line in found.parts.iterrows() if line["part"] == name]
    return line


def refused(pattern: str, what: Study) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        cost.plan(what)
    told = str(caught.value)
    assert told.startswith("Expected ") and "found " in told and "; " in told and "\n" not in told


def test_every_study_is_planned_and_told(plans):
    """Each has a part for each step, no number is missing, and the text says what is assumed and from where."""
    for name, found in plans.items():
        assert found.totals["unknown"] == 0 and found.parts[["tokens", "flops", "hours"]].gt(0).all().all(), name
        text = cost.told(found)
        assert all(source in text for source in found.assumptions["source"])
        assert "proxy runs" in text and "GiB" in text and "to pay" in text or name in ("laptop", "quick")


def test_the_papers_proxies_cost_what_is_quoted(plans):
    """Counted as the quoted figure is, with N = 0.5e9, to a thousandth; with the real N, 1.2% less."""
    table = plans["paper"].paper.set_index("counted")["of_the_paper"]
    assert table["this study's, N as the name says"] == pytest.approx(1, abs=1e-3)
    assert table["this study's, N as it is"] == pytest.approx(494_032_768 / 0.5e9, abs=1e-3)
    assert part(plans["paper"], "proxy runs")["flops"] == 6 * 494_032_768 * 512 * 100_000 * 1200 * 3
    assert "0.494e9" in cost.told(plans["paper"]) and "0.494e9" not in cost.told(plans["gpu"])


def test_runs_are_those_of_the_design(plans):
    """The proxy runs and the noise panel are counted as the design makes them."""
    design = Design.of_study("laptop")
    specs = specs_of(design, "w")
    assert part(plans["laptop"], "proxy runs")["runs"] == len(specs) == 512
    assert part(plans["laptop"], "noise panel")["runs"] == len(noise_panel(design, specs)) == 72
    assert [part(plans["laptop"], f"runs over sizes, {role}")["runs"] for role in ("proxy", "target")] == [128, 64]
    assert part(plans["laptop"], "proxy runs")["rows"] == sum(s.n_samples * s.epochs for s in specs)


def test_trials_are_those_of_the_campaign(plans, monkeypatch):
    """With the recorded mixtures in the place of equal ones, the campaign itself trains as many runs and rows."""
    world = lambda domains: SimpleNamespace(name="w/1/0/x", scored=SimpleNamespace(codes=[0], domains=domains))  # noqa: E731
    monkeypatch.setattr(longcot, "load", lambda *_: world(longcot.AXES))
    tables = {"mixtures": "methods", "longcot": "longcot_mixtures", "learning": "learning_mixtures"}
    sizes, longcot_sizes = (study("laptop").of(subject) for subject in ("target", "longcot"))
    read = {m: pd.read_csv(RESULTS / "laptop" / f"{f}.csv") for m, f in tables.items()}
    read |= {name: pd.read_csv(RESULTS / "laptop" / f"{name}.csv") for name in ("shifted", "variants", "refits")}
    cautious = pd.concat([read["mixtures"], read["shifted"]]).query("method == @ask.CAUTIOUS")
    rows = lambda scales: [("proxy", 1500 * scale) for scale in scales]  # noqa: E731
    largest = sizes.largest_scale
    whole = [*rows(parts.whole_scales(largest)), ("target", 1500 * largest)]
    each = {"whole": whole} | dict.fromkeys(parts.SHIFTS, rows(parts.shift_scales(largest)))
    read["sized"] = pd.DataFrame(
        row._asdict() | {"method": ask.WITH_SCALE, "model": model, "n_samples": n}
        for row in cautious.itertuples(index=False) for model, n in each[row.pool]
    )  # fmt: skip
    for method, table in read.items():
        monkeypatch.setattr(campaign.Campaign, method, lambda *_, table=table: table)
    runs = SimpleNamespace(axes=longcot.AXES)
    real = campaign.Campaign(RESULTS, Design.of_study("laptop"), world(DOMAINS), runs, None, None,
                             sizes=sizes, longcot_sizes=longcot_sizes)  # fmt: skip
    trained = list(real.everything())
    counted = plans["laptop"].parts.set_index("part")
    for made in trained:
        assert counted.loc[made.name, "runs"] == len(made.specs) > 0, made.name
        assert counted.loc[made.name, "rows"] == sum(s.n_samples * s.epochs for s in made.specs), made.name
    others = r"proxy runs|noise panel|runs over sizes|proxies that|recorded .* again"
    rest = counted[(counted["kind"] == "training") & ~counted.index.str.match(others)]
    assert set(rest.index) == {made.name for made in trained}
    costs = [max(spec.n_samples for spec in made.specs) for made in trained if made.role != "target"]
    assert costs == sorted(costs) and trained[-1].role == trained[-2].role == "target", "cheap parts come first"


def test_proxies_of_methods_are_those_on_record():
    """What methods asked for when the record was made: by size and by how the mixture changed."""
    asked = Counter((s.n_samples, s.mixing.get("method")) for s in Work.of(study("laptop")).proxies())
    recorded = Counter()
    for line in (RESULTS / "laptop" / "trials.jsonl").read_text().splitlines():
        spec = json.loads(line)["spec"]
        if 80_000 <= spec["seed"] < 90_000:
            recorded[spec["n_samples"], spec["training"].get("mixing_method")] += 1
    assert asked == recorded and sum(asked.values()) == 47


def test_twice_the_runs_cost_twice_and_nothing_else_changes(plans):
    """The proxy part is linear in the runs; rows of a sample scale what they are seen by."""
    moved = lambda found: found.parts[found.parts["part"].str.startswith("shifted")].sum(numeric_only=True)  # noqa: E731
    twice = cost.plan(changed("laptop", n_runs=1024))
    for name in ("runs", "rows", "tokens", "flops", "hours"):
        assert part(twice, "proxy runs")[name] == pytest.approx(2 * part(plans["laptop"], "proxy runs")[name])
        assert moved(twice)[name] == moved(plans["laptop"])[name]
    longer = cost.plan(changed("laptop", n_samples=3000))
    assert moved(longer)["flops"] == pytest.approx(2 * moved(plans["laptop"])["flops"])


def test_fewer_methods_try_fewer_mixtures():
    """Methods that are not asked train no proxies; those that know the state are always there, and Equal."""
    few = cost.plan(changed("laptop", methods="Equal"))
    assert "proxies that methods ask for" not in set(few.parts["part"])
    assert part(few, "long chains of thought")["runs"] == (1 + len(ask.ALWAYS)) * 5


def test_hours_and_money_follow_from_the_hardware():
    """One TFLOP/s at half of its peak does 1.8e15 operations an hour."""
    hardware = Hardware(**MACHINE | {"peak_tflops": 1, "price_per_gpu_hour": 2})
    assert hardware.hours(1.8e15) == pytest.approx(1) and hardware.hours(1.8e15, 0.25) == pytest.approx(2)
    found = cost.plan(study("gpu"))
    assert found.totals["money"] == pytest.approx(3 * found.totals["hours"])
    first = part(found, "proxy runs")
    assert first["hours"] == pytest.approx((first["flops"] + first["attention_flops"]) / (989e12 * 0.01) / 3600)


def test_a_study_without_hardware_is_counted_without_hours():
    """Runs and operations are there, hours are not, and the text says why."""
    found = cost.plan(replace(study("laptop"), hardware={}))
    assert part(found, "proxy runs")["runs"] == 512 and found.parts["hours"].isna().all()
    assert "names no hardware" in cost.told(found) and "are unknown" in cost.told(found)


def test_formats_hold_the_same(plans):
    """JSON and CSV can be read back; what is unknown is null."""
    found = plans["laptop"]
    plain = json.loads(cost.told(found, "json"))
    assert [p["part"] for p in plain["parts"]] == found.parts["part"].tolist()
    assert plain["parts"][0]["money"] is None and plain["totals"]["trained"] == found.totals["trained"]
    read = pd.read_csv(io.StringIO(cost.told(found, "csv")))
    assert read["flops"].tolist() == pytest.approx(found.parts["flops"].tolist())


def test_length_of_rows_is_measured_or_given_never_guessed(plans, monkeypatch):
    """From the record, else from rows that are made for it; a real pool has to say, with a source."""
    told = plans["laptop"].assumptions.set_index("name")
    assert told.loc["tokens_per_row", "value"] == pytest.approx(24.4, abs=0.5)
    assert "recorded runs" in told.loc["tokens_per_row", "source"]
    monkeypatch.setattr(workload, "RECORDED", "none")
    made = cost.plan(study("quick")).assumptions.set_index("name").loc["tokens_per_row"]
    assert made["value"] == pytest.approx(24.4, abs=1) and "made for it" in made["source"]
    bare = {k: v for k, v in study("paper").hardware.items() if k != "assumptions"}
    refused("Expected tokens_per_row .* paper", replace(study("paper"), hardware=bare))


@pytest.mark.parametrize(
    ("hardware", "pattern"),
    [
        ({"gpu": 1}, "setting of the hardware among .*found 'gpu'"),
        ({"peak_tflops": "fast"}, "peak_tflops of the hardware to be a number above zero, found 'fast'"),
        ({"peak_tflops": True}, "found True"),
        ({"disk_gib": 0}, "disk_gib .*found 0"),
        ({"gpus": 1.5}, "gpus of the hardware to be a whole number"),
        ({"utilisation": 1.1}, r"\(0, 1\], found 1.1"),
        ({"cores": 2}, "either gpus or cores .*found both"),
        ({"name": 3}, "found 3"),
        ({"assumptions": [1]}, r"numbers by name, each as .*found \[1\]"),
        ({"assumptions": {"rows": 3}}, "each as {value: …, source: …}, found 3"),
        ({"assumptions": {"rows": {"value": 3}}}, "Expected source among the settings of assumptions.rows"),
        ({"assumptions": {"tokens": {"value": 1, "source": "x"}}}, "assumption among .*found 'tokens'"),
        ({"assumptions": {"evaluation_utilisation": {"value": 2, "source": "x"}}}, r"\(0, 1\], found 2"),
    ],
)
def test_hardware_that_cannot_be_is_refused(hardware, pattern):
    refused(pattern, replace(study("laptop"), hardware=MACHINE | hardware))


@pytest.mark.parametrize("left_out", ["name", "peak_tflops", "utilisation", "disk_gib", "gpus", "gpu_memory_gib"])
def test_hardware_needs_its_fields(left_out):
    refused("found", replace(study("laptop"), hardware={k: v for k, v in MACHINE.items() if k != left_out}))


def target(**settings) -> dict:
    return {"target": {"name": "Qwen/Qwen3-4B-Base"} | settings}


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        (changed("paper", {"gpus": 4}), "Expected 8 GPUs for the target .*found 4 .*lower processes"),
        (
            changed("paper", {"gpu_memory_gib": 16}),
            r"GiB on each GPU for the scorer, pool .*name a smaller scorer in pool",
        ),
        (
            changed("paper", {"gpu_memory_gib": 32}, batch_size=4),
            "GiB on each GPU for the proxy of .*set activation_checkpointing for models.proxy",
        ),
        (
            changed("gpu", {"gpu_memory_gib": 48}, models=target()),
            "GiB on each GPU for the target .*found 48 GiB; shard it",
        ),
        (
            changed("gpu", models=target(batch_size=256)),
            "GiB on each GPU for the target .*set activation_checkpointing",
        ),
        (
            changed("gpu", models=target(batch_size=2048, activation_checkpointing=True)),
            "lower batch_size or max_length",
        ),
        (changed("paper", {"disk_gib": 500}), r"GiB of disk .*\(most of it: launched runs.* found 500 GiB"),
        (changed("laptop", {"memory_gib": 1}), "for each core's worker .*found 0.5 GiB"),
        (
            changed("gpu", models=target(launch={"config": "fsdp3", "processes": 1})),
            "launch config among .*found 'fsdp3'",
        ),
        (changed("laptop", n_samples=5), "n_samples to be int in .*found 5"),
        (changed("laptop", methods="Luck"), "method among .*found 'Luck'"),
    ],
)
def test_a_study_that_does_not_fit_is_refused_with_a_remedy(what, pattern):
    refused(pattern, what)


def test_a_model_that_nobody_knows_is_one_sentence(monkeypatch):
    """Neither a known shape, nor a folder, nor in the cache or on the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    refused("Expected the model nobody/none", changed("gpu", models={"proxy": "nobody/none"}))


def own_rows(**more) -> dict:
    """Parameters of rows of one's own, which a plan does not read."""
    recipe = {"loader": "local", "options": {"path": "rows"}, "domains": ["a", "b"], "evaluation": {"benchmarks": []}}
    return {"pool": recipe | more}


def test_own_rows_are_planned_up_to_the_mixture_until_a_target_is_named():
    """Nothing of the embedded world stands in for a target; a sentence says what to add."""
    assumed = {"assumptions": {"tokens_per_row": {"value": 40, "source": "ours"}}}
    found = cost.plan(changed("laptop", assumed, **own_rows()))
    assert set(found.parts["chapter"]) == {"featurize", "proxy_sft"} and set(found.parts["role"]) == {"proxy"}
    assert "names no target model" in cost.told(found) and found.totals["unknown"] == 0
    assert found.totals["hours"] == pytest.approx(found.totals["hours_to_mixture"])
    named = own_rows(evaluation={"benchmarks": ["gsm8k"]}) | {"models": {"target": "smollm2"}}
    more = cost.plan(changed("laptop", assumed | {"memory_gib": 50}, training={"max_length": 128}, **named))
    assert not more.note and "whole pool, target model" in set(more.parts["part"])
    assert "longcot" not in set(more.parts["role"])
    assert more.totals["hours_to_mixture"] < more.totals["hours"]


def test_a_model_is_described_by_its_sizes():
    """As its config.json has them, where no hub is at hand; other studies do not see them."""
    sizes = {"model_type": "llama", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    described = {"models": {"nobody/none": sizes}}
    found = cost.plan(changed("gpu", described, models={"target": "nobody/none"}))
    attention = 64 * 64 * 2 + 64 * 32 * 2
    each = attention + 3 * 64 * 128 + 2 * 64
    assert found.memory.set_index("role").loc["target", "parameters"] == 1000 * 64 + 2 * each + 64
    refused("sizes of the model nobody/none", changed("gpu", {"models": {"nobody/none": {"layers": 2}}},
                                                     models={"target": "nobody/none"}))  # fmt: skip


def test_starting_runs_takes_time(plans):
    """So many seconds for each model that is judged, on every GPU that it trains on; none in the embedded world."""
    started = {
        "assumptions": {"start_seconds": {"value": 3600, "source": "ours"}} | study("gpu").hardware["assumptions"]
    }
    for name in ("starting and judging these runs", "starting and judging, target"):
        slow, usual = part(cost.plan(changed("gpu", started)), name), part(plans["gpu"], name)
        assert slow["hours"] - usual["hours"] == pytest.approx(slow["runs"] * (1 - workload.START_SECONDS / 3600))
    assert "start_seconds" not in set(plans["laptop"].assumptions["name"])


@pytest.mark.parametrize("n_runs", [2, 4, 19, 24, 31])
def test_a_study_of_few_runs_is_planned(n_runs):
    """Fewer runs than the learning curve begins with."""
    found = cost.plan(changed("quick", n_runs=n_runs))
    assert part(found, "proxy runs")["runs"] == n_runs and "learning curve" not in set(found.parts["part"])
