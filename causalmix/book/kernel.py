"""Kernels of the runner: this very Python, whatever kernels a user has installed under its name."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerBase

_STARTED: list[KernelProvisionerBase] = []  # what has, or had, a kernel's process


def kill_all() -> None:
    """End every kernel, with all that it has started."""
    for provisioner in _STARTED:
        with suppress(ProcessLookupError):
            if provisioner.has_process:
                os.killpg(provisioner.pgid, signal.SIGKILL)


def kernel_manager(env: dict[str, str], log: Path) -> type[AsyncKernelManager]:
    """A ``kernel_manager_class`` for papermill: the kernels' environment, and a file for what their process says."""

    class OwnKernelManager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

        async def start_kernel(self, **kwargs: object) -> None:
            with open(log, "wb") as file:
                await super().start_kernel(**kwargs | {"env": env, "stdout": file, "stderr": file})
            _STARTED.append(self.provisioner)

    return OwnKernelManager
