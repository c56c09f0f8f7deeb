"""A user's files and what is recommended for them, for all tests of this folder."""

from user_files import cache, few_draws, folder, found, pool, request_, simulation  # noqa: F401 (fixtures)
