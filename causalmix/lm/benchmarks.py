"""The public benchmarks of a study at the paper's scale: six axes, Dev and Unseen, in one table.

The paper's own list is not published in what could be read of it.  The table joins two sources: the
evaluations of Tulu 3 (arXiv 2411.15124, Table 3), from which the pool comes, and the evaluation
settings of OpenDataArena (arXiv 2512.14051), from which the covariates come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import pandas as pd
from pydantic import ConfigDict

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.lm.tasks import SPLITS

AXES = ("knowledge", "reasoning", "math", "coding", "instruction", "safety")

NOTE = (
    "The paper's own list of Dev and Unseen benchmarks is unknown; this one is inferred from "
    "Tulu 3 and OpenDataArena, so that scores compare in pattern, not in level."
)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and where the two evaluators have it; a study's own ones may be on axes of their own."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # as a study's file gives it

    name: str  # unique in a study
    axis: str
    split: str = "dev"  # dev may guide a mixture; unseen only judges it
    task: str | None = None  # task or group of lm-evaluation-harness; None where it has none
    metric: str = "acc,none"  # key of the score there, ``metric,filter``; the score is in [0, 1]
    opencompass: str | None = None  # a module below ``opencompass.configs.datasets``; None where it has none
    runs_code: bool = False  # whether generated code is executed on this machine to judge it
    shots: int | None = None  # worked examples in the harness's prompt; None leaves the task's own number
    note: str = ""  # source of the choice and what to know of it
    sets: tuple[str, ...] = ()  # names of the data sets that count in OpenCompass; all of the module by default

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(
                f"Expected a split among {', '.join(SPLITS)} for the benchmark {self.name}, found {self.split!r}; "
                "choose one of these."
            )
        if self.task is None and self.opencompass is None:
            raise InputError(f"Expected an evaluator's task for the benchmark {self.name}, found none; name one.")
        if self.opencompass is not None and not re.fullmatch(r"\w+(\.\w+)*", self.opencompass):  # it becomes Python
            raise InputError(
                f"Expected a module below opencompass.configs.datasets for the benchmark {self.name}, "
                f"found {self.opencompass!r}; give its name with dots."
            )


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "mmlu", "knowledge", "dev", "mmlu", "acc,none", "mmlu.mmlu_openai_simple_evals_gen_b618ea",
        shots=5, note="Tulu 3 Dev; the harness compares likelihoods, OpenCompass reads a generated answer",
    ),
    Benchmark(
        "truthfulqa", "knowledge", "dev", "truthfulqa_mc2", "acc,none",
        shots=0, note="Tulu 3 Dev; its prompt has six examples; OpenCompass has no multiple choice",
    ),
    Benchmark(
        "mmlu_pro", "knowledge", "unseen", "mmlu_pro", "exact_match,custom-extract",
        "mmlu_pro.mmlu_pro_0shot_cot_gen_08c1de",
        shots=5, note="Tulu 3 Unseen; OpenCompass asks without examples and averages subjects, not questions",
    ),
    Benchmark(
        "gpqa", "knowledge", "unseen", "gpqa_diamond_zeroshot", "acc,none", "gpqa.gpqa_openai_simple_evals_gen_5aeece",
        shots=0, note="Tulu 3 Unseen; the diamond subset; access must be requested on the hub",
    ),
    Benchmark(
        "bbh", "reasoning", "dev", "bbh_cot_zeroshot", "exact_match,flexible-extract", "bbh.bbh_gen_5b92b0",
        shots=0, note="Tulu 3 Dev; the harness's variant with examples stops chat models at the first blank line",
    ),
    Benchmark(
        "drop", "reasoning", "dev", "drop", "f1,none", "drop.drop_openai_simple_evals_gen_3857b0",
        shots=3, note="Tulu 3 Dev; F1 in the harness, accuracy in OpenCompass",
    ),
    Benchmark(
        "agieval", "reasoning", "unseen", "agieval_en", "acc,none", "agieval.agieval_gen_5c79b4",
        shots=0, note="Tulu 3 Unseen; English subsets, to which the harness counts gaokao-english",
        sets=(
            "agieval-lsat-ar", "agieval-lsat-lr", "agieval-lsat-rc", "agieval-logiqa-en", "agieval-sat-math",
            "agieval-sat-en", "agieval-sat-en-without-passage", "agieval-aqua-rat", "agieval-math",
        ),
    ),
    Benchmark(
        "gsm8k", "math", "dev", "gsm8k_cot_zeroshot", "exact_match,flexible-extract",
        "gsm8k.gsm8k_0shot_v2_gen_a58960",
        shots=0, note="Tulu 3 Dev, without examples as in OpenDataArena; the last number counts",
    ),
    Benchmark(
        "math", "math", "dev", "minerva_math", "math_verify,none", "math.math_0shot_gen_393424",
        shots=4, note="Tulu 3 Dev; the harness needs lm_eval[math]",
    ),
    Benchmark(
        "olympiadbench", "math", "unseen", None, "", "OlympiadBench.OlympiadBench_0shot_gen_be8b13",
        note="OpenDataArena; mathematics only, English and Chinese; not in the harness",
        sets=tuple(f"OlympiadBench_OE_TO_maths_{name}" for name in ("en_COMP", "zh_COMP", "zh_CEE")),
    ),
    Benchmark(
        "humaneval", "coding", "dev", "humaneval_instruct", "pass@1,create_test", "humaneval.humaneval_gen_8e312c",
        runs_code=True, shots=0, note="Tulu 3 Dev (pass@10 there, pass@1 here)",
    ),
    Benchmark(
        "mbpp", "coding", "dev", "mbpp_instruct", "pass_at_1,extract_code", "mbpp.sanitized_mbpp_mdblock_gen_a447ff",
        runs_code=True, shots=3, note="OpenDataArena; all problems in the harness, the sanitized ones in OpenCompass",
    ),
    Benchmark(
        "humaneval_plus", "coding", "unseen", "humaneval_plus", "pass@1,create_test",
        "humaneval_plus.humaneval_plus_gen_8e312c",
        runs_code=True, shots=0, note="OpenDataArena; HumanEval's prompts with more tests, so hardly unseen",
    ),
    Benchmark(
        "ifeval", "instruction", "dev", "ifeval", "prompt_level_strict_acc,none", "IFEval.IFEval_gen_353ae7",
        shots=0, note="Tulu 3 Dev (loose there, strict here); the harness needs lm_eval[ifeval]",
    ),
    Benchmark(
        "ifbench", "instruction", "unseen", None, "", "IFBench.IFBench_gen",
        note="inferred: successor of Tulu 3's IFEval-OOD; not in the harness; mean of four rates",
    ),
    Benchmark(
        "toxigen", "safety", "dev", "toxigen", "acc,none",
        shots=0,
        note="inferred: asks whether a statement is hateful, not for refusals; not in OpenCompass; none Unseen",
    ),
)  # fmt: skip


def select(
    names: Sequence[str] | None = None, *, allow_code: bool = False, evaluator: str = "harness"
) -> tuple[Benchmark, ...]:
    """Benchmarks by their names, whatever they need, or all that an evaluator has; in the order of the table.

    The latter leaves out those that execute generated code unless ``allow_code``.
    """
    for name in names or ():
        check_name(name, [b.name for b in BENCHMARKS], "benchmark")
    if names is not None:
        found = [b for b in BENCHMARKS if b.name in names]
    else:
        field = "opencompass" if evaluator == "opencompass" else "task"
        found = [b for b in BENCHMARKS if getattr(b, field) and (allow_code or not b.runs_code)]
    if not found:
        raise InputError(f"Expected a benchmark for the names {names}, found none; name others or set allow_code.")
    return tuple(found)


def refuse_code(benchmarks: Sequence[Benchmark], allow_code: bool) -> None:
    """Raise InputError with the names of benchmarks that execute generated code, unless that is allowed."""
    if not allow_code and (running := [b.name for b in benchmarks if b.runs_code]):
        raise InputError(
            f"Expected allow_code=True for benchmarks that execute generated code, found {', '.join(running)} "
            "without it; leave them out, or allow it in a sandbox."
        )


def benchmark_table(benchmarks: Sequence[Benchmark] = BENCHMARKS) -> pd.DataFrame:
    """The benchmarks as a table; the paper's own list is unknown (:data:`NOTE`, also in ``attrs["note"]``).

    Returns
    -------
    DataFrame
        Columns ``axis, split, benchmark, harness_task, metric, shots, runs_code, opencompass, note``;
        an empty text where an evaluator lacks the benchmark.
    """
    columns = ["axis", "split", "name", "task", "metric", "shots", "runs_code", "opencompass", "note"]
    table = pd.DataFrame([asdict(b) for b in benchmarks])[columns].astype({"shots": object})
    table["shots"] = ["the task's own" if b.shots is None else str(b.shots) for b in benchmarks]
    table[["task", "opencompass"]] = [[b.task or "", b.opencompass or ""] for b in benchmarks]
    table.attrs["note"] = NOTE
    return table.rename(columns={"name": "benchmark", "task": "harness_task"})
