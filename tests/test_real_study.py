"""A study of somebody's own rows, models and benchmarks, by the same notebooks: nothing of the embedded world in it."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from chapters import command, page_text
from datasets import Dataset
from language_models import chat_tokenizer, row, tiny_model

from causalmix.book.stamps import NOTEBOOKS
from causalmix.core.errors import InputError
from causalmix.core.history import read_history
from causalmix.core.study_file import Study, read_study
from causalmix.data import fingerprints, named_models, recipes
from causalmix.data.scored_pools import load_named
from causalmix.lm import conversations
from causalmix.study.plan import needs
from causalmix.train import design as designs, launch, one_run, sft
from causalmix.train.design import Design, spec_of
from causalmix.train.ledger import Ledger
from causalmix.train.spec import RunSpec

pytest.importorskip("lm_eval")

DOMAINS = ("coding", "math", "safety")
WORDS = "hot light large late dry cold dark small early wet".split()


def rows(n=120):
    """Conversations of three domains, of different lengths; a domain has words of its own."""
    rng = np.random.default_rng(0)
    for k, domain in enumerate(DOMAINS):
        for i in range(n):
            words = " ".join(rng.choice(WORDS[k::3], int(rng.integers(1, 12))))
            before = "cold " * 40 if i % 5 == 0 else ""
            yield row(f"{before}what is the opposite of {rng.choice(WORDS)} {i} ?", words) | {"domain": domain}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with a study of its own: a file of rows, a checkpoint on disk, and two tasks with their items."""
    folder = tmp_path_factory.mktemp("root")
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows()))
    tiny_model().save_pretrained(folder / "base")
    chat_tokenizer().save_pretrained(folder / "base")
    tasks = folder / "tasks"
    tasks.mkdir()
    rng = np.random.default_rng(1)
    for name, n in (("first", 24), ("second", 16)):
        choices = [rng.choice(WORDS, 4, replace=False).tolist() for _ in range(n)]
        items = [
            {"question": f"{WORDS[i % 10]} ?", "choices": four, "gold": int(rng.integers(4))}
            for i, four in enumerate(choices)
        ]
        (tasks / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        task = {
            "task": f"own_{name}", "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice",
            "dataset_kwargs": {"data_files": {"test": str(tasks / f"{name}.jsonl")}},
            "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}", "doc_to_target": "gold",
        }  # fmt: skip
        (tasks / f"{name}.yaml").write_text(yaml.safe_dump(task))
    (folder / "own.yaml").write_text(yaml.safe_dump(study(folder)))
    return folder


def study(folder):
    own = [
        {"name": "first", "axis": "math", "split": "dev", "task": "own_first"},
        {"name": "second", "axis": "coding", "split": "dev", "task": "own_second"},
        {"name": "again", "axis": "math", "split": "unseen", "task": "own_second", "shots": 1},
    ]
    evaluation = {"own": own, "include_path": str(folder / "tasks"), "batch_size": 8, "max_new_tokens": 12}
    base = str(folder / "base")
    target = {"name": base, "launch": {"config": "cpu_two_processes", "processes": 2}, "batch_size": 4}
    return {
        "parameters": {
            "pool": {
                "loader": "local",
                "options": {"path": str(folder / "rows.jsonl")},
                "scorer": base,
                "evaluation": evaluation,
            },
            "models": {"proxy": base, "target": target},
            "training": {"packing": True, "max_length": 128},
            "pool_rows": 1000,
            "candidates": 40,
            "n_runs": 20,
            "n_samples": 50,
            "noise_specs": 2,
            "noise_seeds": 2,
            "scale_runs": 0,
            "n_audit": 1,
            "n_states": 20,
            "n_trees": 24,
            "n_repeats": 1,
            "n_test": 5,
            "n_splits": 2,
            "n_candidates": 1000,
            "largest_scale": 2,
            "batch_size": 2,
            "learning_rate": 0.01,
        }
    }


@pytest.fixture(scope="module")
def done(root):
    """The study's folder after the way from the pool to the mixture."""
    way = ("01_featurize", "02_proxy_sft", "03_outcomes", "04_effects", "05_mixture")
    ended = command(root, "run", "--study", root / "own.yaml", *way)
    assert ended.returncode == 0, ended.stderr
    return root / "results" / "own"


def test_own_rows_models_and_benchmarks_go_from_pool_to_mixture(done):
    """The history speaks of the rows' domains and the benchmarks' axes; every run is finished and its scores differ."""
    history = read_history(done / "history.csv")
    assert set(history.domains) == set(DOMAINS) and set(history.axes) == {"math", "coding"}
    assert history.covariates == ("hes", "normalized_loss", "writing_style") and len(history) == 20
    assert {"y_dev", "y_unseen", "y_math_unseen"} <= set(history.outcomes)
    records = Ledger(done / "runs.jsonl").finished().values()
    assert all(set(r["training"]["validation_loss"]) == set(DOMAINS) for r in records)
    assert len({r["training"]["loss"] for r in records}) > 10
    mixtures = pd.read_csv(done / "mixtures.csv")
    assert np.allclose(mixtures[[f"w_{d}" for d in DOMAINS]].sum(axis=1), 1, atol=1e-5)
    assert pd.read_csv(done / "audit.csv")["largest_difference"].max() == 0
    tasks = page_text(done / "pages" / "03_outcomes.ipynb")
    assert "own_first" in tasks and "embedded" not in pd.read_csv(done / "tasks.csv").to_csv()


def test_a_larger_model_is_launched_in_several_processes(root, done, monkeypatch):
    """A run of the role target is handed to two processes, and what they leave is judged by the same benchmarks.

    That so many are started, and train as one would, is told where launching is tried.
    """
    monkeypatch.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
    asked = []

    def launched(file, out, bf16, use_cpu, processes):
        asked.append((file.stem, processes))
        launch.main([str(out / "cache" / "spec.json")])

    monkeypatch.setattr(launch, "_launch", launched)
    design = Design.from_parameters(study(root)["parameters"])
    base = designs.world_for(design)
    spec = spec_of(design, base.name, [1 / 3] * 3, (0, 0, 0), 1, role="target", domains=base.scored.domains)
    result = one_run.train(spec.as_dict())
    assert asked == [("cpu_two_processes", 2)] and result["training"]["rows"] == 50
    assert set(result["scores"]) == {"first", "second", "again"}


def test_half_precision_computes_and_never_holds_the_weights(root, done, monkeypatch):
    """In bfloat16 weights most steps at a small learning rate would be rounded away."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
    parameters = study(root)["parameters"]
    design = Design.from_parameters(parameters | {"training": {"bf16": True}, "learning_rate": 1e-5})
    base = designs.world_for(design)
    seen = {}

    def finetune(model, tokenizer, dataset, settings, seed, mixer=None):
        before = [weight.detach().clone() for weight in model.parameters()]
        facts = sft.finetune(model, tokenizer, dataset, settings, seed, mixer)
        seen["dtypes"] = {weight.dtype for weight in model.parameters()}
        moved = [(w != b).float().mean().item() for w, b in zip(model.parameters(), before) if w.dim() == 2]
        return seen.setdefault("moved", moved) and facts

    monkeypatch.setattr(one_run, "finetune", finetune)
    one_run.train(spec_of(design, base.name, [1 / 3] * 3, (0, 0, 0), 1, domains=base.scored.domains).as_dict())
    assert seen["dtypes"] == {torch.float32} and min(seen["moved"]) > 0.5


@pytest.mark.parametrize("method", ["doremi", "odm"])
def test_methods_that_mix_while_they_train_take_packed_studies_and_long_rows(root, done, monkeypatch, method):
    """Their rows are not packed, and one that is cut before its answer is left out, not fatal."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
    parameters = study(root)["parameters"]
    base = designs.world_for(Design.from_parameters(parameters))
    tokenizer = named_models.load_model(str(root / "base"))[1]
    design = Design.from_parameters(parameters | {"training": {"packing": True, "max_length": 64}})
    assert 0.5 < conversations.scorable(base.tokens(str(root / "base"), tokenizer), 64).mean() < 1
    mixing = {"doremi": {"method": "doremi", "eta": 0.1}, "odm": {"method": "odm", "form": "paper"}}[method]
    spec = spec_of(design, base.name, [1 / 3] * 3, (0, 0, 0), 1, domains=base.scored.domains, mixing=mixing)
    assert np.isfinite(one_run.train(spec.as_dict())["training"]["loss"])


def test_an_edited_file_is_another_pool(root, done, monkeypatch):
    """The cache never serves the rows of yesterday."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
    recipe = recipes.Recipe.of(study(root)["parameters"]["pool"])
    before, path = recipe.rows_digest, root / "rows.jsonl"
    text = path.read_text()
    path.write_text(text.replace("hot", "hat"))
    assert recipe.rows_digest != before
    path.write_text(text)
    assert recipe.rows_digest == before


def test_a_run_keeps_its_pool_and_other_questions_are_another_record(root, done, monkeypatch):
    """A spec is trained on the rows that it names though the file is gone; only what changes a score changes a name."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
    parameters = study(root)["parameters"]
    base = designs.world_for(Design.from_parameters(parameters))
    evaluation, names = parameters["pool"]["evaluation"], []
    for changed in ({"batch_size": 2}, {"max_new_tokens": 13}, {"own": evaluation["own"][:2]}):
        pool = parameters["pool"] | {"evaluation": evaluation | changed}
        names.append(designs.world_for(Design.from_parameters(parameters | {"pool": pool})).name)
    assert names[0] == base.name and len({base.name, *names}) == 3
    assert len(list((root / ".cache").glob("real-rows-*/pool"))) == 1  # scored once
    (root / "rows.jsonl").rename(root / "moved.jsonl")
    try:
        spec = RunSpec.from_dict(next(iter(Ledger(done / "runs.jsonl").finished().values()))["spec"])
        assert load_named(spec.world_name).name == base.name
    finally:
        (root / "moved.jsonl").rename(root / "rows.jsonl")


def test_new_weights_at_a_path_are_another_model(tmp_path, make_spec):
    """A record of the old weights must not be taken for one of the new."""
    names = []
    for seed in (0, 1):
        tiny_model(seed=seed).save_pretrained(tmp_path / "base")
        chat_tokenizer().save_pretrained(tmp_path / "base")
        fingerprints.marked.cache_clear()
        names.append(Design(models={"proxy": str(tmp_path / "base")}).model_of("proxy"))
        assert named_models.place(names[-1]) == str(tmp_path / "base")
    (tmp_path / "base").rename(tmp_path / "moved")
    moved = Design(models={"proxy": str(tmp_path / "moved")}).model_of("proxy")
    ids = [make_spec(model=name).run_id for name in (*names, moved, "target@8da20277", "a/target@8da20277")]
    assert ids[1] == ids[2] and len(set(ids)) == 4, "a folder that was moved is trained on by no run again"
    (tmp_path / "moved").rename(tmp_path / "base")
    for refused in (named_models.load_model, named_models.require_model, named_models.place):
        with pytest.raises(InputError, match=f"Expected the model {names[0]}, found {names[1]}; put its files back"):
            refused(names[0])


def test_launches_that_cannot_be_are_refused():
    """A method that mixes trains in one process; a launch without a number of processes has its file's."""
    launched = {"proxy": {"name": "proxy", "launch": {"config": "cpu_two_processes"}}}
    assert Design(models=launched).launch_of("proxy")["processes"] == 2
    with pytest.raises(InputError, match="in one process where a method mixes"):
        spec_of(Design(models=launched), "w/1/0/x", [0.2] * 5, (0, 0, 0), 0, mixing={"method": "odm"})
    with pytest.raises(InputError, match="to launch the target among config, processes, found 'proceses'"):
        Design(models={"target": {"name": "target", "launch": {"config": "fsdp2", "proceses": 2}}}).launch_of("target")


def test_a_base_of_the_embedded_world_is_not_launched():
    """It is no folder that another process could load; told before anything is trained."""
    for given in ("target", "proxy"):
        models = {"target": {"name": given, "launch": {"config": "cpu_two_processes"}}}
        with pytest.raises(InputError, match="for the target, which is launched, found one of the embedded world"):
            needs.check(Study("own", {"models": models}, {}, {}, {}), needs.TRIALS)


def test_a_launched_model_is_resolved_as_any_other(monkeypatch):
    """The name smollm2 is no folder."""
    monkeypatch.setattr("causalmix.lm.pretrained.smollm2_path", lambda: "its.gguf")
    assert named_models.place("smollm2") == "its.gguf"
    given = []
    monkeypatch.setattr(one_run, "finetune_distributed", lambda *a, **k: given.append(a[0]) or {})
    monkeypatch.setattr(one_run, "load_model", lambda out: (None, None))
    spec = spec_of(Design(models={"proxy": "smollm2"}), "w/1/0/x", [0.2] * 5, (0, 0, 0), 0)
    one_run._train_launched(SimpleNamespace(pool=Dataset.from_list([row("q", "a")])), [0], spec, None)
    assert given == ["its.gguf"]


def test_validation_rows_are_tokenised_once_for_a_model(root, done, monkeypatch):
    """Each run loads a tokenizer of its own."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(root / ".cache"))
    base = designs.world_for(Design.from_parameters(study(root)["parameters"]))
    model, losses = tiny_model(), []
    before = one_run._held_out_tokens.cache_info()
    for _ in range(3):
        losses.append(one_run._held_out_losses(base, str(root / "base"), model, chat_tokenizer()))
    after = one_run._held_out_tokens.cache_info()
    assert after.misses == before.misses + 1 and after.hits == before.hits + 2
    assert losses[0] == losses[2] and all(set(losses[0][kept]) == set(DOMAINS) for kept in one_run.LOSSES.values())


@pytest.mark.parametrize("name", ["gpu", "paper"])
@pytest.mark.parametrize("asked", [("run",), ("sweep",), ("sweep", "--trials")])
def test_a_study_that_cannot_run_here_says_so_at_once(root, monkeypatch, name, asked):
    """No GPU: one sentence that says what is missing and what runs here, exit code 2, nothing written."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    ended = command(root, *asked, "--study", name)
    assert ended.returncode == 2
    (told,) = ended.stderr.strip().splitlines()
    assert "GPU" in told and "study laptop" in told
    assert not (root / "results" / name).exists()


def test_what_is_missing_besides_gpus_is_told(root, monkeypatch):
    """With GPUs elsewhere, models and data sets that cannot be had are named, and only chapters that need them ask."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    paper, gpu = (read_study(name) for name in ("paper", "gpu"))
    with pytest.raises(InputError, match="Expected the model Qwen/Qwen2.5-0.5B .* found none"):
        needs.check(paper, needs.SWEEP, gpus_elsewhere=True)
    with pytest.raises(InputError, match="Expected the model HuggingFaceTB/SmolLM2-1.7B-Instruct .* found none"):
        needs.check(gpu, needs.TRIALS, gpus_elsewhere=True)
    needs.check(paper, ("effects", "mixture", "paper_and_ours"))
    own = study(root)["parameters"]
    lost = own | {"pool": own["pool"] | {"options": {"path": "lost/rows"}}}
    with pytest.raises(InputError, match="Expected the data set lost/rows"):
        needs.check(Study("own", lost, {}, {}, {}), needs.SWEEP)
    unsafe = own["pool"]["evaluation"] | {"benchmarks": ["humaneval"]}
    with pytest.raises(InputError, match="allow_code"):
        needs.check(Study("own", own | {"pool": own["pool"] | {"evaluation": unsafe}}, {}, {}, {}), needs.SWEEP)
    long = own["pool"]["evaluation"] | {"max_new_tokens": 2048}
    with pytest.raises(InputError, match="below the context of 2048, found 2048"):
        needs.check(Study("own", own | {"pool": own["pool"] | {"evaluation": long}}, {}, {}, {}), needs.SWEEP)
    needs.check(Study("own", own, {}, {}, {}))


def test_no_folder_of_tasks_is_none():
    """As the evaluators read it: include_path without a value."""
    given = {"loader": "local", "options": {"path": "rows.jsonl"}, "evaluation": {"include_path": None}}
    assert recipes.Recipe.of(given).questions_digest


BROKEN = {
    "models: {proxi: no/such}": "role of a model .*did you mean proxy",
    "models: {proxy: 5}": "the model of the proxy",
    "n_run: 5": "parameter .*did you mean n_runs",
    "n_runs: many": "n_runs to be int",
    "candidates: -4": "candidates to be int",
    "training: {bf17: 1}": "a training setting among .*'bf17'; did you mean bf16",
    "pool: {loader: local, options: {pth: rows.jsonl}}": "options of the loader local",
    "pool: {loader: local, options: {path: rows.jsonl}, domains: coding}": "domains of a pool to be a valid list",
    "pool: {loader: local, options: {path: rows.jsonl}, evaluation: {own: [{nme: x}]}}": "own benchmark.*mean name",
    "outcome: y_maths": "an outcome among y_dev, .*'y_maths'; did you mean y_math",
    "outcome: y_math\n  pool: {loader: local, options: {path: a}, domains: [a b, c], evaluation: {benchmarks: []}}": (
        "an outcome among y_dev, y_unseen, y_loss_a_b, y_loss_c, y_loss_a_b_unseen, y_loss_c_unseen, found 'y_math'"
    ),
}


@pytest.mark.parametrize(("line", "told"), BROKEN.items())
def test_a_mistake_in_a_study_is_refused_by_every_command(root, tmp_path, monkeypatch, capsys, line, told):
    """Not trained under a default's name, and not after the pool was scored."""
    from causalmix import cli

    broken = tmp_path / "broken.yaml"
    broken.write_text(f"parameters:\n  {line}\n")
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(root)
    for asked in (["plan"], ["sweep", "--limit", "1"], ["run", "01_featurize", "02_proxy_sft"]):
        assert cli.main([*asked, "--study", str(broken)]) == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        assert re.search(told, sentence), sentence
    assert not (tmp_path / "cache").exists() and not (tmp_path / "results").exists()


def test_a_cluster_of_no_kind_is_refused_before_anything(root):
    """Also before the pool of the study is made and scored."""
    for given in ("nonsense", "slurm:missing.yaml"):
        ended = command(root, "sweep", "--study", root / "own.yaml", "--cluster", given)
        assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1
    with pytest.raises(SystemExit, match="2"):
        command(root, "sweep", "--study", root / "own.yaml", "--workers", "-3")


def test_a_sweep_elsewhere_wants_the_pool_scored(root, monkeypatch, tmp_path):
    """A login node without a GPU must not begin to score it."""
    monkeypatch.setenv("CAUSALMIX_CACHE", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="Expected the scored pool of the study own .*featurize"):
        needs.check(Study("own", study(root)["parameters"], {}, {}, {"gpus": 8}), needs.SWEEP, gpus_elsewhere=True)
