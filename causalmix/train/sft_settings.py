"""Hyper-parameters of fine-tuning, checked without loading what trains."""

import importlib.util
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name

TRACKERS, LOGS = ("wandb", "mlflow", "tensorboard", "trackio"), "TENSORBOARD_LOGGING_DIR"
#: The trainer's own names of them.
SCHEDULES = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
             "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
             "warmup_stable_decay", "greedy")  # fmt: skip


@dataclass(frozen=True)
class SFTSettings:
    """Hyper-parameters of one run; "ours" means chosen for proxies of about 1M parameters.

    "OpenDataArena prior" means the fine-tuning recipe of OpenDataArena (arXiv 2512.14051), by an author of the paper's.
    """

    learning_rate: float = 1e-3  # ours: 5e-6 (OpenDataArena prior, for 7B) hardly moves a 1M model
    epochs: float = 3.0  # OpenDataArena prior; agrees with the proxy cost as reported (secondary source)
    batch_size: int = 32  # ours, sequences per step: small steps keep one core busy
    gradient_accumulation: int = 1  # ours: raise it where a batch does not fit in memory
    schedule: str = "cosine"  # OpenDataArena prior
    warmup: float = 0.1  # OpenDataArena prior, share of all steps
    weight_decay: float = 0.0  # Tulu 3 (arXiv 2411.15124); the OpenDataArena recipe names none
    max_grad_norm: float = 1.0  # default of the trainer; the paper: unknown
    max_length: int = 4096  # OpenDataArena prior, short recipe; longer rows lose their end
    packing: bool = False  # ours: tiny rows are grouped by length instead; worth it on a GPU
    bf16: bool = False  # ours: fp32 is faster on a CPU; OpenDataArena prior: True, on a GPU
    activation_checkpointing: bool = False  # ours: costs time and saves memory nobody lacks here
    lora_rank: int = 0  # ours: 0 trains all weights; else adapters of that rank on every linear map, merged in the end
    report_to: str = "none"  # ours: nothing leaves the machine unless asked; else wandb, mlflow, tensorboard or trackio

    def __post_init__(self) -> None:
        for field in fields(self):
            kind, value = field.type, getattr(self, field.name)
            if kind is float and isinstance(value, str):  # YAML reads 1e-3 as text
                with suppress(ValueError):
                    value = float(value)
                object.__setattr__(self, field.name, value)
            if type(value) not in ((int, float) if kind is float else (kind,)):
                raise InputError(f"Expected {field.name} to be {kind.__name__}, found {value!r}; correct the value.")
        for name in ("learning_rate", "epochs", "batch_size", "gradient_accumulation", "max_length"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"Expected {name} above zero, found {value}; set it to a positive number.")
        if self.lora_rank < 0:
            raise InputError(f"Expected lora_rank of at least 0, found {self.lora_rank}; 0 trains all weights.")
        if self.schedule not in SCHEDULES:
            raise InputError(f"Expected a schedule among {', '.join(SCHEDULES)}, found {self.schedule!r}; choose one.")
        if (name := self.report_to) not in ("none", *TRACKERS):
            known = ", ".join(("none", *TRACKERS))
            raise InputError(f"Expected report_to among {known}, found {name!r}; choose one.")
        if name != "none" and name not in _installed():
            raise InputError(f"Expected the library {name} for report_to: {name}, found none; pip install {name}.")
        if name == "tensorboard" and not os.environ.get(LOGS):
            told = f"Expected a folder for TensorBoard in {LOGS}, found none; set it, for a run keeps no folder."
            raise InputError(told)

    @classmethod
    def of(cls, given: Mapping[str, object]) -> "SFTSettings":
        """The settings that a study or a run's specification names; InputError for a name that is none."""
        for name in given:
            check_name(name, [field.name for field in fields(cls)], "training setting")
        return cls(**given)


def _installed() -> list[str]:
    """Libraries that the trainer can tell losses to here."""
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    return get_available_reporting_integrations()


def check_lora(rank: int, launched: bool = False) -> None:
    """Raise InputError unless adapters of a rank, 0 for none, can be trained here."""
    if rank and launched:
        raise InputError(
            "Expected all weights to be trained where a run is launched in processes of its own, found lora_rank; "
            "leave out lora_rank or launch."
        )
    if rank and not importlib.util.find_spec("peft"):
        raise InputError('Expected the library peft for lora_rank, found none; pip install "causalmix[lora]".')
