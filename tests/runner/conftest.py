"""A repository of one notebook, for all tests of this folder."""

from one_notebook import no_kernel, root  # noqa: F401 (fixtures)
