"""Fine-tuning in several processes of one machine: :mod:`causalmix.train.sft` under ``accelerate launch``."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.commands.config.config_args import ClusterConfig
from datasets import Dataset

from causalmix.core.errors import InputError, refused
from causalmix.core.paths import ASSETS
from causalmix.lm.conversations import labelled, tokenize_all
from causalmix.lm.pretrained import load_causal_lm, tokenizer_of, use_chat_form
from causalmix.train.sft import fit, trainer_config
from causalmix.train.sft_settings import SFTSettings, check_lora

CONFIGS = ASSETS / "accelerate"
RESULT = "training.json"
LOG = "launch.log"
TAIL = 15  # lines of the log in an error
_CAUSE = re.compile(r"(\[rank\d+\]:\s*)?[\w.]*(Error|Exception|Interrupt)\b")


def finetune_distributed(
    model: str | Path, rows: Dataset, out: str | Path, settings: SFTSettings, seed: int, *, config: str | Path,
    processes: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fine-tune a model on conversations (``messages``) in several processes of one machine and save it in ``out``.

    ``config`` names a file in ``assets/accelerate`` or one of your own; the batch size is that of each process.
    """
    check_lora(settings.lora_rank, launched=True)
    file, loaded = _configuration(config)
    if loaded.num_machines > 1:
        raise InputError(f"Expected processes on one machine, found num_machines in {file}; set it to 1.")
    if settings.activation_checkpointing and launcher_of({"config": config, "processes": processes})["checkpointing"]:
        raise InputError(
            f"Expected activation checkpointing in one place, found it in {file.name} and the settings; leave one out."
        )
    tokenizer = tokenizer_of(model)
    use_chat_form(tokenizer)
    cache = Path(out) / "cache"
    cache.mkdir(parents=True)
    try:
        tokens = tokenize_all(rows, tokenizer, cache / "tokens.arrow")
        labelled(tokens, settings.max_length, cache / "labelled.arrow").save_to_disk(cache / "rows")
        spec = {"model": str(model), "rows": str(cache / "rows"), "out": str(out), "seed": seed,
                "settings": asdict(settings)}  # fmt: skip
        (cache / "spec.json").write_text(json.dumps(spec, indent=1))
        _launch(file, Path(out), settings.bf16, bool(loaded.use_cpu), processes)
    finally:
        shutil.rmtree(cache)
    return json.loads((Path(out) / RESULT).read_text())


def launcher_of(launch: Mapping[str, object]) -> dict[str, object]:
    """How a role's runs are launched: ``processes``, ``sharded``, ``checkpointing``; InputError for no such file."""
    if not launch:
        return {"processes": 1, "sharded": False, "checkpointing": False}
    file, loaded = _configuration(launch.get("config"))
    processes = int(launch.get("processes") or loaded.num_processes)
    if processes < 1:  # accelerate's number where its file names none
        raise InputError(f"Expected num_processes in {file}, found none; say how many run on the machine.")
    checkpointing = bool((loaded.fsdp_config or {}).get("fsdp_activation_checkpointing"))
    return {"processes": processes, "sharded": loaded.distributed_type == "FSDP", "checkpointing": checkpointing}


def _configuration(config: object) -> tuple[Path, ClusterConfig]:
    """The file of a launch configuration, and what accelerate makes of it."""
    shipped = {path.stem: path for path in CONFIGS.glob("*.yaml")}
    file = shipped.get(str(config), Path(str(config)))
    if not file.is_file():
        raise InputError(
            f"Expected a launch config among {', '.join(sorted(shipped))}, or a file, found {config!r}; correct it."
        )
    with refused(f"a configuration of accelerate in {file}", "correct it"):
        return file, ClusterConfig.from_yaml_file(str(file))


def _launch(file: Path, out: Path, bf16: bool, use_cpu: bool, processes: int | None) -> None:
    """Run the processes to their end; their output goes to the log."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    command += ["--mixed_precision", "bf16" if bf16 else "no", "--main_process_port", "0"]
    command += [] if processes is None else ["--num_processes", str(processes)]
    command += ["-m", "causalmix.train.launch", str(out / "cache" / "spec.json")]
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if use_cpu else {})
    # A worker leaves Ctrl-C to the driver; the launcher, which ends its own processes, must not inherit that.
    hear_interrupts = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGINT})
    told = {"stderr": subprocess.STDOUT, "env": environment, "preexec_fn": hear_interrupts}
    with (out / LOG).open("w") as log, subprocess.Popen(command, stdout=log, **told) as launcher:
        try:
            code = launcher.wait()
        except BaseException:
            launcher.terminate()  # torchrun then ends its processes; killed, it would leave them behind
            raise
    if code:
        lines = (out / LOG).read_text(errors="replace").splitlines()
        cause = next((line for line in lines if _CAUSE.match(line)), "no error was named")
        tail = "\n".join(lines[-TAIL:])
        raise RuntimeError(f"Training ended with exit code {code} ({cause}); the end of {out / LOG}:\n{tail}")


def main(argv: list[str]) -> None:
    """One process of a run, which the first saves: ``python -m causalmix.train.launch SPEC.json``."""
    spec = json.loads(Path(argv[0]).read_text())
    settings, rows = SFTSettings.of(spec["settings"]), Dataset.load_from_disk(spec["rows"])
    with tempfile.TemporaryDirectory(prefix="causalmix-launch-") as scratch:
        # Joins the processes; then only rank 0 reads weights.
        args = trainer_config(settings, spec["seed"], scratch)
        model, tokenizer = load_causal_lm(spec["model"], dtype="float32", device="cpu")
        use_chat_form(tokenizer, model)
        trainer, facts = fit(model, tokenizer, rows, args, mixer=None)
    trainer.save_model(spec["out"])
    mean_loss = trainer.accelerator.gather(torch.tensor([facts["loss"]], device=args.device)).mean()
    if int(os.environ.get("RANK", 0)) == 0:
        (Path(spec["out"]) / "training_args.bin").unlink(missing_ok=True)  # a pickle, and ours are in RESULT
        facts |= {"loss": float(mean_loss), "processes": args.world_size}
        facts |= {"parallelism": trainer.accelerator.distributed_type.value}
        facts |= {name: spec[name] for name in ("model", "seed", "settings")}
        (Path(spec["out"]) / RESULT).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
