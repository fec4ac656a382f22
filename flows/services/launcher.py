"""Start the training process, show its progress, and bring back its result or its error."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from flows.services.leash import start_on_leash, stop_process
from flows.services.training_protocol import (
    Advanced,
    Failed,
    Finished,
    Message,
    Planned,
    TrainingOutcome,
    TrainingRequest,
    parse_message,
)
from p2p_core.errors import OutputError, P2PError
from p2p_core.files import output_errors, write_json
from p2p_core.progress import Progress, ProgressLine

__all__ = ["TrainingProcessError", "how_it_died", "launch_training"]

_LEAVE_S = 30.0
_GRACE_S = 5.0
_LINE_CHARACTERS = 2000
_OF_A_RUN = {"budget.json", "config.json", "checkpoints", "metrics.jsonl"}
ProgressFor = Callable[[int], AbstractContextManager[Progress]]


class TrainingProcessError(P2PError):
    """The training process ended without a result: killed, out of memory, or a fault of the program."""


def images_progress(budget_images: int) -> ProgressLine:
    return ProgressLine("train", budget_images, "images")


def _environment(processes: int) -> dict[str, str]:
    """Threads that spin briefly before they sleep: without a limit, training stalls as soon as anything else runs beside it.

    Several processes share the cores; torchrun would give each one core. Unbuffered: what is printed is told at once.
    """
    environment = {"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "50000"), "PYTHONUNBUFFERED": "1"}
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return environment


def launch_training(
    request: TrainingRequest,
    *,
    progress_for: ProgressFor = images_progress,
    told: Callable[[Message], None] | None = None,
    printed: Callable[[str], None] | None = None,
) -> TrainingOutcome:
    """Train in a process of its own, or `request.processes` of them together, that never outlive this one.

    Args:
        told: gets every message of the process.
        printed: gets every line that the process and its libraries print, while it runs, from a thread of its own; unless
            given, they go to this process's standard error.

    Raises:
        OutputError: `run_dir` holds a run already and `resume` is off, or something else.
        TrainingProcessError: the process died; its checkpoints are intact.
        P2PError: whatever the training itself refuses.
    """
    if not request.resume and (request.run_dir / "config.json").exists():
        raise OutputError(
            f"{request.run_dir} already holds a training run",
            remedy="Go on with it with --resume, delete it, or choose another directory",
        )
    _refuse_what_is_no_run(request.run_dir)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "request.json"
        write_json(path, request.model_dump(mode="json"))
        module, arguments = "flows.services.training_process", [str(path)]
        if request.processes > 1:
            module, arguments = "flows.services.training_group", [str(request.processes), str(path)]
        process = start_on_leash(
            module,
            arguments,
            environment=_environment(request.processes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if printed else None,
        )
        listening = _listen(process, printed) if printed else None
        try:
            return _follow(process, progress_for, told)
        finally:
            stop_process(process)
            if listening:  # to its last words, unless something it started still holds the pipe
                listening.join(_GRACE_S)


def _refuse_what_is_no_run(run_dir: Path) -> None:
    with output_errors(run_dir):
        names = {path.name for path in run_dir.glob("[!.]*")}  # what a killed run left half-written is hidden
    if names and not names & _OF_A_RUN:
        raise OutputError(
            f"{run_dir} holds something other than a training run: {min(names)}", remedy="Choose a new or empty directory"
        )


def _listen(process: subprocess.Popen[bytes], printed: Callable[[str], None]) -> threading.Thread:
    assert process.stderr is not None
    # Carriage returns end lines, too: bars of progress. The thread closes the pipe when all that held it have ended.
    output, process.stderr = io.TextIOWrapper(process.stderr, errors="replace"), None

    def tell() -> None:
        with output:
            while line := output.readline(_LINE_CHARACTERS):
                if line.strip():
                    printed(line.rstrip())

    listening = threading.Thread(target=tell, name="training-output", daemon=True)
    listening.start()
    return listening


def _follow(
    process: subprocess.Popen[bytes], progress_for: ProgressFor, told: Callable[[Message], None] | None
) -> TrainingOutcome:
    messages = _messages(process, told)
    message = next(messages, None)
    if isinstance(message, Planned):
        with progress_for(message.budget.images) as progress:
            for message in messages:
                if isinstance(message, Advanced):
                    progress.update(message.images_seen, message.note)
                elif isinstance(message, Failed):
                    break  # of several processes others may not know yet
    with suppress(subprocess.TimeoutExpired):  # its result counts, however long it takes to leave
        process.wait(_LEAVE_S)
    if isinstance(message, Finished):
        return message.outcome
    if isinstance(message, Failed):
        raise _error(message)
    raise how_it_died(process.wait(), "The training process")


def _messages(process: subprocess.Popen[bytes], told: Callable[[Message], None] | None) -> Iterator[Message]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith(b"\n"):  # else it was cut short by the end of the process
            message = parse_message(line)
            if told:
                told(message)
            yield message


def _error(message: Failed) -> P2PError:
    kinds = {kind.__name__: kind for kind in _kinds(P2PError)}
    return kinds.get(message.error, P2PError)(message.problem, remedy=message.remedy)


def _kinds(kind: type[P2PError]) -> Iterator[type[P2PError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from _kinds(sub)


def how_it_died(code: int, who: str) -> TrainingProcessError:
    """`code` is the exit status as `subprocess` gives it, `who` begins the sentence."""
    if code == -signal.SIGKILL:
        return TrainingProcessError(
            f"{who} was killed (SIGKILL); often the machine had no memory left",
            remedy="Run it again with --resume; if it is killed again, train anew with a smaller batch_size",
        )
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code} and no result"
    return TrainingProcessError(f"{who} {how}", remedy="Read its messages above, then run again with --resume")
