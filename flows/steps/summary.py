"""`demo.json`: what a run of the pipeline did, made of what, with what, on what machine."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path
from shlex import quote

from flows.services.training_protocol import Budget
from flows.stages.executors import available_cpus
from flows.steps.book import Step
from flows.steps.request import PipelineRequest
from p2p_core.config import Config
from p2p_core.files import write_json

__all__ = ["PipelineSummary", "hardware", "versions", "ways_to_look", "write_summary"]

_DISTRIBUTIONS = ("p2p-pipeline", "torch", "prefect", "mlflow", "dask", "zarr", "rasterio", "numpy")


class PipelineSummary(Config):
    """demo.json.

    Attributes:
        total_s: wall time of this run; steps that were reused show what they took when they were done.
        digests: sha256 of the sources, the dataset, the model and the outputs.
    """

    steps: tuple[Step, ...]
    total_s: float
    promoted: bool
    model: str
    hardware: str
    versions: dict[str, str]
    digests: dict[str, str]
    budget: Budget
    ways_to_look: tuple[str, ...]

    @property
    def reused(self) -> bool:
        """Nothing but the report was done in this run."""
        return all(step.reused for step in self.steps)


def write_summary(request: PipelineRequest, summary: PipelineSummary) -> Path:
    path = request.out / "demo.json"
    write_json(path, summary.model_dump(mode="json"))
    return path


def ways_to_look(request: PipelineRequest) -> tuple[str, ...]:
    """Commands and files, for people."""
    out = request.out.resolve()

    def program(name: str) -> str:
        return quote(str(Path(sys.executable).with_name(name)))

    return (
        f"{out / 'report.html'}: open it in a browser",
        f"{program('mlflow')} ui --backend-store-uri {quote(request.tracking)}",
        f"PREFECT_HOME={quote(str(out / 'prefect'))} {program('prefect')} server start",
        f"{program('p2p')} verify {quote(str(out / 'scene'))}",
    )


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in _DISTRIBUTIONS}
    return {"python": platform.python_version(), **found}


def hardware() -> str:
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{_cpu_name()}, {available_cpus()} CPUs{gpu}"


def _cpu_name() -> str:
    """Linux tells the model in /proc/cpuinfo; elsewhere the platform's own word has to do."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
