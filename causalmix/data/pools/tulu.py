"""The pool of the paper: allenai/tulu-3-sft-mixture, its sources sorted into five domains."""

from collections.abc import Sequence

import pandas as pd
from datasets import Dataset

from causalmix.core.paths import ASSETS
from causalmix.core.yaml_file import read_yaml
from causalmix.data.pools import local

#: Domain of each group of sources; and group and number of rows as published, by the column ``source``.
DOMAIN_OF, SOURCES = read_yaml(ASSETS / "tulu.yaml", "sources of the mixture").values()
DOMAINS = tuple(dict.fromkeys(filter(None, DOMAIN_OF.values())))


def load_pool(
    path: str = "allenai/tulu-3-sft-mixture", max_rows: int = 0, seed: int = 0, revision: str | None = None
) -> Dataset:
    """The rows of the five domains, each named by its place in the data set; ``path`` its name on the hub, or a file.

    Left out are the multilingual source and the rows with an empty assistant turn, 716 as others have counted (all of
    them safety): trained on, they would teach to answer nothing.  At most ``max_rows`` rows, in the pool's own shares
    of domains (0 for all), are taken.
    """
    return local.load_pool(
        path, source_to_domain={name: DOMAIN_OF[about["group"]] for name, about in SOURCES.items()}, id_column="",
        on_bad="skip", max_rows=max_rows, seed=seed, revision=revision,
    )  # fmt: skip


def expected_counts(sizes: Sequence[int] = (100_000, 400_000, 800_000)) -> pd.DataFrame:
    """What the published table leads one to expect of each domain: ``rows``, ``share``, and ``cap_<size>``.

    A cap is the largest share of a training set of that size that needs no row twice (what ``policy.domain_caps``
    holds a mixture to).  Rows with an empty answer are not taken off.
    """
    table = pd.DataFrame(SOURCES.values())
    rows = table["rows"].groupby(table["group"].map(DOMAIN_OF)).sum().reindex(DOMAINS).rename_axis("domain")
    caps = {f"cap_{size}": (rows / size).clip(upper=1.0) for size in sizes}
    return pd.DataFrame({"rows": rows, "share": rows / rows.sum()} | caps)
