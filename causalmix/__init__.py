"""CausalMix: mixtures of fine-tuning data from the causal effect of each domain, given the state of the data."""

import os
import warnings

__version__ = "0.2.0"

# Progress bars of the libraries below would end up on the pages, and so would a warning that
# there are no widgets to draw them with.  Both must be settled before these libraries load.
os.environ.setdefault("TQDM_DISABLE", "1")
warnings.filterwarnings("ignore", message="IProgress not found")
