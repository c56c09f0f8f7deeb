"""How many inputs a fuzzer tries."""

from hypothesis import settings


def tries(few):
    """So many inputs of a test in the suite; with another profile as many as that has."""
    return settings(max_examples=few) if settings().derandomize else settings()
