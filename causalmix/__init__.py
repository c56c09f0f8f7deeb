"""CausalMix: mixtures of fine-tuning data from the causal effect of each domain, given the state of the data."""

__version__ = "0.1.0"
