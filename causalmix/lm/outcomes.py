"""What a trained model can do: its accuracy on tasks.

Greedy decoding writes an answer if and only if, with that answer fed in, the most probable next token is the right one
everywhere, end of turn included: one forward pass replaces generation where there is one right answer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from causalmix.core.errors import InputError
from causalmix.lm.conversations import IGNORED
from causalmix.lm.losses import batches, padded, scored
from causalmix.lm.tasks import Task


@torch.inference_mode()
def exact_match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task, batch_size: int = 32
) -> np.ndarray:
    """Whether greedy decoding would write each gold answer of a task, in the tokenizer's spelling, and stop, (n,)."""
    if task.golds is None:
        raise InputError(f"Expected a task with golds, found {task.name} with a check; generate its answers instead.")
    prompts = _prompt_ids(task.prompts, tokenizer)
    golds = [
        [*ids, tokenizer.eos_token_id] for ids in tokenizer(list(task.golds), add_special_tokens=False)["input_ids"]
    ]
    hits = np.zeros(len(golds), dtype=bool)
    model.eval()
    for chosen in batches([len(prompt) + len(gold) for prompt, gold in zip(prompts, golds)], np.inf, batch_size):
        inputs = {"input_ids": [prompts[i] + golds[i] for i in chosen],
                  "labels": [[IGNORED] * len(prompts[i]) + golds[i] for i in chosen]}  # fmt: skip
        states, targets, owner = scored(model, padded(inputs, tokenizer.pad_token_id, model.device))
        missed = owner[model.get_output_embeddings()(states).argmax(-1) != targets]
        hits[chosen] = torch.bincount(missed, minlength=len(chosen)).eq(0).cpu().numpy()
    return hits


@torch.inference_mode()
def generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int = 64,
    batch_size: int = 64,
) -> list[str]:  # fmt: skip
    """Greedy answers to prompts without template, each up to the end of its turn or ``max_new_tokens``."""
    rows = _prompt_ids(prompts, tokenizer)
    answers = [""] * len(rows)
    model.eval()
    for chosen in batches([len(row) for row in rows], np.inf, batch_size):
        batch = tokenizer.pad({"input_ids": [rows[i] for i in chosen]}, padding_side="left", return_tensors="pt")
        written = model.generate(
            **batch.to(model.device), max_new_tokens=max_new_tokens, do_sample=False,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )[:, batch["input_ids"].shape[1] :]  # fmt: skip
        for i, answer in zip(chosen, tokenizer.batch_decode(written, skip_special_tokens=True)):
            answers[i] = answer
    return answers


def score_tasks(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task], max_new_tokens: int = 64
) -> dict[str, float]:
    """Accuracy in [0, 1] on each task: exact match where there are golds, the task's check elsewhere."""
    accuracies = {}
    for task in tasks:
        if task.check is None:
            right = exact_match(model, tokenizer, task)
        else:
            answers = generate(model, tokenizer, task.prompts, max_new_tokens)
            right = [task.check(i, answer) for i, answer in enumerate(answers)]
        accuracies[task.name] = float(np.mean(right))
    return accuracies


def task_table(tasks: Sequence[Task]) -> pd.DataFrame:
    """The tasks of a study: axis, split, items, how an answer is judged, and an example."""
    columns = ["axis", "split", "items", "judged_by", "example_prompt", "example_answer"]
    judged = lambda task: "exact match" if task.check is None else "rule"  # noqa: E731
    answer = lambda task: task.golds[0] if task.golds else "any that obeys"  # noqa: E731
    rows = [(t.axis, t.split, len(t.prompts), judged(t), t.prompts[0], answer(t)) for t in tasks]
    return pd.DataFrame(rows, columns=columns)


def _prompt_ids(prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of each prompt as a user turn, up to where the answer begins."""
    turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
