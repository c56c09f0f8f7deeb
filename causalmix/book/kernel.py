"""Kernels of the runner: this very Python, whatever kernels a user has installed under its name."""

from __future__ import annotations

from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


def kernel_manager(env: dict[str, str], log: Path) -> type[AsyncKernelManager]:
    """A ``kernel_manager_class`` for papermill: the kernels' environment, and a file for what their process says."""

    class OwnKernelManager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

        async def start_kernel(self, **kwargs: object) -> None:
            with open(log, "wb") as file:
                await super().start_kernel(**kwargs | {"env": env, "stdout": file, "stderr": file})

    return OwnKernelManager
