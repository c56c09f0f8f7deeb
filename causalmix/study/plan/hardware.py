"""The machine that a study is meant for, and what its plan assumes: the section ``hardware`` of a study's file."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name
from causalmix.core.settings import Settings

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number above zero")]
Count = Annotated[int, Field(gt=0, description="a whole number above zero")]
Share = Annotated[float, Field(gt=0, le=1, description="a number in (0, 1]")]

#: What a plan may have to be told, each with the source of the number.
ASSUMPTIONS = {
    "tokens_per_row": "mean tokens of a row of the pool, as the proxy's tokenizer writes it",
    "longest_row": "tokens of the longest row; max_length where it is not given",
    "rows": "rows that the pool really has, where pool_rows only bounds them",
    "evaluation_tokens": "tokens that judging one trained model reads and writes",
}
ASSUMPTIONS |= {f"longcot_{name}": f"{told}, for long chains of thought" for name, told in ASSUMPTIONS.items()}
ASSUMPTIONS |= {
    "evaluation_utilisation": "share of the peak that judging reaches; where it is not given the embedded world's is "
    "utilisation, and a tenth of it for benchmarks, whose answers are written token by token",
    "start_seconds": "of a run, to load its model and rows; 30 where it is not given, 0 in the embedded world",
}


class Assumption(Settings):
    """A number that a plan rests on, and where it comes from: never one that nobody accounts for."""

    value: Positive
    source: str


class Hardware(Settings):
    """A machine, or several of a kind; runs are trained on its GPUs or, where it has none, its cores."""

    name: str
    gpus: Count = 0
    cores: Count = 0
    gpu_memory_gib: Positive = None  # of each GPU
    memory_gib: Positive = None  # of a machine without GPUs, all of it
    peak_tflops: Positive  # of one GPU, or of one core, in the precision that runs are trained in
    utilisation: Share  # of that peak, which training reaches
    disk_gib: Positive
    price_per_gpu_hour: Positive = None  # in any currency; None where nothing is paid
    # Published configurations, as in config.json, of models that cannot be reached from here.
    models: dict[str, dict[str, Any]] = Field({}, description="sizes by the name of a model, as its config.json has")
    assumptions: dict[str, Assumption] = Field({}, description="numbers by name, each as {value: …, source: …}")

    @field_validator("assumptions")
    @classmethod
    def _known(cls, given: dict[str, Assumption]) -> dict[str, Assumption]:
        for name, found in given.items():
            check_name(name, ASSUMPTIONS, "assumption")
            if name.endswith("utilisation") and found.value > 1:
                raise InputError(
                    f"Expected {name} to be a number in (0, 1], found {found.value:g}; correct the section hardware."
                )
        return given

    @model_validator(mode="after")
    def _one_kind(self) -> "Hardware":
        if bool(self.gpus) == bool(self.cores):
            found = "both" if self.gpus else "neither"
            raise InputError(f"Expected either gpus or cores in the section hardware, found {found}; name what trains.")
        if self.gpus and self.gpu_memory_gib is None:
            raise InputError("Expected gpu_memory_gib beside gpus in the section hardware, found none; add it.")
        return self

    @property
    def units(self) -> int:
        """How many GPUs, or cores, there are."""
        return self.gpus or self.cores

    @property
    def unit(self) -> str:
        """What hours are counted of."""
        return "GPU" if self.gpus else "core"

    def hours(self, flops: float, utilisation: float | None = None) -> float:
        """Hours of one GPU, or of one core, for so many floating-point operations."""
        return flops / (self.peak_tflops * 1e12 * (utilisation or self.utilisation)) / 3600
