"""The embedded world without loading it: its domains and axes, where its bases lie, and what is known of these."""

from causalmix.core.paths import ASSETS

DOMAINS = ("coding", "instruction", "math", "knowledge", "safety")
AXES = (*DOMAINS, "reasoning")  # no domain trains reasoning directly

CHECKPOINTS = ASSETS / "tiny"

#: Shape by role (ours): the target holds at least five times the proxy's parameters.
SHAPES = {
    "proxy": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4},
    "target": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8},
    "longcot": {
        "hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 4, "num_attention_heads": 4, "head_dim": 40,
    },
}  # fmt: skip

#: Hyper-parameters of fine-tuning by role, where a base needs others than a study's: at the proxy's rate it learns no
#: long chains in a run's rows.  Chosen by pilots of the even mixture alone (results/pilots/measures.md).
FINETUNING = {"longcot": {"learning_rate": 1.5e-3}}
