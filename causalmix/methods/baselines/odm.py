"""ODM: a bandit over domains whose reward is the training loss (Albalak et al. 2023, arXiv:2312.02406).

One run, whose mixture moves while it trains; the answer is the share of rows that it took from each domain.  The
paper's form and that of the authors' repository differ (:func:`causalmix.train.online.odm_policy`); both are here.
"""

import numpy as np
import pandas as pd

from causalmix.core.parameters import check_name
from causalmix.core.wording import counted
from causalmix.methods.question import Answer, ProxyRun, Question
from causalmix.train.spec import MIXERS, ODM_FORMS


def proxies(k: int, n_samples: int, seed: int, form: str = "paper") -> list[ProxyRun]:
    """The one run that ODM asks for among ``k`` domains."""
    mixing = tuple({"method": "odm", **MIXERS["odm"], "form": form}.items())
    return [ProxyRun(tuple(np.full(k, 1 / k)), n_samples, seed, mixing)]


def mixture(question: Question, form: str = "paper") -> Answer:
    """The shares that the bandit's run took; detail ``trajectory``: those on the way."""
    check_name(form, ODM_FORMS, "form of ODM")
    runs = proxies(question.k, question.history.usual_rows, question.seed, form)
    found = question.trained("ODM", runs)[0]["training"]["mixing"]
    trajectory = pd.DataFrame(found["trajectory"], columns=[f"w_{d}" for d in question.history.domains])
    again = sum(found["new_epochs"])
    note = f"{form} form, realised shares of one run" + (
        f"; {counted(again, 'domain')} ran out and began again" if again else ""
    )
    return Answer(np.array(found["weights"]), 1, note, {"trajectory": trajectory})
