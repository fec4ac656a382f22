"""The order of a training run: resume, step, log, validate, checkpoint; then statistics and the bundle."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from p2p_core.encodings import encoding
from p2p_core.files import write_json
from p2p_core.inference.bundle import BundleSpec, save_bundle
from p2p_core.model.device import usable_device
from p2p_core.model.norm import NORM_MODES
from p2p_core.model.processes import ALONE, Processes, alone
from p2p_core.pairstore.reader import PairStore
from p2p_core.progress import Progress
from p2p_core.training.alarms import Alarm, Watch, metric_of, stopped_by
from p2p_core.training.balance import times_an_epoch
from p2p_core.training.checkpoint import (
    checkpoint_to_resume,
    latest_checkpoint,
    load_checkpoint,
    not_a_number,
    save_checkpoint,
)
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batches
from p2p_core.training.fast_step import make_step
from p2p_core.training.memory import memory_advice
from p2p_core.training.result import TrainingResult
from p2p_core.training.statistics import estimate_running_statistics
from p2p_core.training.step import TrainingState, make_state, set_learning_rate
from p2p_core.training.streaming import Inputs, training_pairs
from p2p_core.training.tracker import Tracker, Trackers, read_metrics
from p2p_core.training.validation import MAX_PAIRS, Validation
from p2p_core.training.widths import require_widths

__all__ = ["take_part", "train"]

_STATISTICS_IMAGES = 512
_GATE_PAIRS = 8
_AFFINE_PAIRS = 1000


@dataclass
class _Run:
    """What the parts of one run share."""

    config: RunConfig
    dataset_digest: str
    run_dir: Path
    batches: Batches
    validation: Validation
    tracker: Tracker
    state: TrainingState
    watch: Watch

    @property
    def processes(self) -> Processes:
        return self.state.processes


def train(
    config: RunConfig,
    data: Path,
    run_dir: Path,
    *,
    tracker: Tracker,
    progress: Progress,
    resume: bool = False,
    device: str = "auto",
    processes: Processes = ALONE,
) -> TrainingResult:
    """Train `config` on the store at `data`; leaves `run_dir/bundle`, sheets, checkpoints and `result.json`.

    Args:
        resume: go on from the newest checkpoint in `run_dir`, if there is one.
        device: `auto` takes CUDA where there is one.
        processes: those that share the run's batches. This is the first of them; the others `take_part`.

    Raises:
        ConfigError: the store's encodings do not fit the networks, or the batch cannot be shared by so many processes.
        UsageError: this machine has no such device.
        CheckpointError: the checkpoint to resume from is damaged or belongs to another run.
        DivergenceError: a loss is not a number; the last checkpoint is intact.
        ProcessLostError: another process is gone; the last checkpoint is intact.
        NoMemoryError: the run does not fit into the memory of this machine or device.
    """
    started_s = time.monotonic()
    with memory_advice(config):
        run = _prepare(config, data, run_dir, tracker, usable_device(device), processes)
        _begin(run, resume=resume)  # refused before anything of the run is written over
        write_json(run_dir / "config.json", config.model_dump(mode="json"))
        tracker.log_parameters(_flat(config.model_dump(mode="json")) | {"dataset_digest": run.dataset_digest})
        if processes.count > 1 and (config.compile or usable_device(device).type == "cuda"):
            print("Several processes take ordinary steps: no CUDA graph, nothing compiled", file=sys.stderr, flush=True)
        run.watch.replay(m for m in read_metrics(run_dir / "metrics.jsonl") if m["images_seen"] <= run.state.images_seen)
        resumed_from = run.state.images_seen
        _run_steps(run, progress)
        result = _finish(run, data, resumed_from, time.monotonic() - started_s)
    write_json(run_dir / "result.json", result.model_dump(mode="json"))
    return result


def take_part(config: RunConfig, data: Path, run_dir: Path, *, processes: Processes, resume: bool, device: str) -> None:
    """What every process but the first does for the run that the first one's `train` leads: its share of every step.

    Arguments and errors are those of `train`. Writes nothing.
    """
    with memory_advice(config):
        run = _prepare(config, data, run_dir, Trackers([]), usable_device(device), processes)
        _begin(run, resume=resume)
        _run_steps(run, _Unseen())


class _Unseen:
    """Progress that the first process tells."""

    def update(self, done: int, note: str = "") -> None: ...


def _prepare(
    config: RunConfig, data: Path, run_dir: Path, tracker: Tracker, device: torch.device, processes: Processes
) -> _Run:
    store = PairStore.open(data)
    source, target = encoding(store.manifest.input_encoding), encoding(store.manifest.target_encoding)
    require_widths(config, source, target, data)
    held_out, split = store.split("val"), store.split("train")
    pairs = training_pairs(split, device, (source, target), config.resident_gb)
    times = times_an_epoch(Inputs(split), config.oversample_rare, source)
    batches = Batches(pairs, config.augment, config.batch_size, config.seed, times)
    fixed = held_out.read_spread_cores(MAX_PAIRS)
    validation = Validation(*fixed, (source, target), config.augment.crop_px, run_dir / "sheets")
    watch = Watch(validation.start_l1(), validation.affine_l1(*split.read_spread(_AFFINE_PAIRS)))
    state = make_state(config, device, processes)
    return _Run(config, store.manifest.digest, run_dir, batches, validation, tracker, state, watch)


def _begin(run: _Run, *, resume: bool) -> None:
    """From the newest checkpoint, if there is one: the same in every process, before the first of them writes another."""
    checkpoint = checkpoint_to_resume(run.run_dir / "checkpoints") if resume else None
    if checkpoint is not None:
        load_checkpoint(checkpoint, run.state, run.config, run.dataset_digest)
    beginning = f"{run.dataset_digest} {run.state.images_seen} {run.config.model_dump_json()}"
    run.processes.require_same(beginning, next(run.state.generator.parameters()).device)


def _run_steps(run: _Run, progress: Progress) -> None:
    config, state = run.config, run.state
    step = make_step(state, config)
    state.generator.train()
    if state.adversary is not None:
        state.adversary.discriminator.train()
    progress.update(state.images_seen)
    timed_at, timed_s = state.images_seen, time.monotonic()
    while state.images_seen < config.budget_images:
        before = state.images_seen
        set_learning_rate(state, config)
        batch = run.batches.at(before, run.processes)
        losses = step(batch)
        state.totals = {name: state.totals.get(name, 0) + loss for name, loss in losses.items()}
        state.images_seen = batch.images_seen
        if _crossed(config.log_every_images, before, state.images_seen):
            run.processes.average_(list(state.totals.values()))
            metrics = _log_losses(run, (state.images_seen - timed_at) / (time.monotonic() - timed_s))
            progress.update(state.images_seen, f"L1 {metrics['generator_l1']:.1f}")
            timed_at, timed_s = state.images_seen, time.monotonic()
        validates = _crossed(config.validate_every_images, before, state.images_seen)
        checkpoints = _crossed(config.checkpoint_every_images, before, state.images_seen)
        if validates or checkpoints:  # a checkpoint has the sums of all
            run.processes.average_(list(state.totals.values()))
        if not run.processes.is_first:
            continue
        paused_s = time.monotonic()
        alarm = _validate(run) if validates else None
        is_best = run.watch.best_images_seen == state.images_seen
        if is_best or checkpoints:
            _checkpoint(run)
        if alarm is not None and config.alarms != "off":
            _sound(run, alarm)
        timed_s += time.monotonic() - paused_s  # the rate is that of the steps alone
    progress.update(config.budget_images)
    run.processes.average_(list(state.totals.values()))
    if run.processes.is_first:
        _checkpoint(run)


def _crossed(every: int, before: int, now: int) -> bool:
    """Whether a multiple of `every` images lies in (before, now]."""
    return every > 0 and now // every > before // every


def _log_losses(run: _Run, images_per_s: float) -> dict[str, float]:
    """Log losses, averaged since the last time. L1 is in grey levels of 255, as every L1 a person reads; of Lab, one-hot and
    bands, in 255ths of the range."""
    state = run.state
    steps = (state.images_seen - state.logged_at) // run.config.batch_size
    means = {name: float(total) / steps for name, total in state.totals.items()}
    if not all(math.isfinite(value) for value in means.values()):
        broken = ", ".join(name for name, value in means.items() if not math.isfinite(value))
        where = f"{broken} of images {state.logged_at + 1} to {state.images_seen}"
        raise not_a_number(where, state.images_seen, run.run_dir / "checkpoints")
    state.totals, state.logged_at = {}, state.images_seen
    metrics = {**means, "generator_l1": means["generator_l1"] * 127.5, "images_per_s": images_per_s}
    run.tracker.log_metrics(metrics, run.state.images_seen)
    run.watch.see(metrics, run.state.images_seen)
    return metrics


def _checkpoint(run: _Run) -> None:
    """None of a run that is about to be stopped: those before it are worth more."""
    if run.config.alarms == "stop" and run.watch.is_suspicious:
        return
    place = run.run_dir / "checkpoints"
    save_checkpoint(run.state, run.config, run.dataset_digest, place, best_images_seen=run.watch.best_images_seen)


def _validate(run: _Run) -> Alarm | None:
    """Between statistics estimates only `instance` norm is meaningful: running statistics trail the weights."""
    generator = run.state.model(run.config)
    with alone(generator):
        scores = run.validation.score(generator, "instance")
        scores |= run.validation.dropout_diversity(generator, "instance")
    metrics = {f"val_{name.removeprefix('instance_')}": value for name, value in scores.items()}
    run.tracker.log_metrics(metrics, run.state.images_seen)
    sheet = run.validation.save_sheet(generator, "instance", run.state.images_seen)
    run.tracker.log_picture(f"sheets/{sheet.name}", sheet)
    alarm = run.watch.see(metrics, run.state.images_seen)
    if alarm is not None and run.config.alarms != "off":  # now: a run killed after the checkpoint that follows says it no more
        run.tracker.log_metrics({metric_of(alarm.kind): 1.0}, run.state.images_seen)
    return alarm


def _sound(run: _Run, alarm: Alarm) -> None:
    """Warn, or stop the run."""
    if run.config.alarms == "stop":
        last = latest_checkpoint(run.run_dir / "checkpoints")
        kept = f"{last}, and {run.watch.best_images_seen:010d} beside it with the lowest validation L1" if last else "none"
        raise stopped_by(alarm, run.state.images_seen, kept)
    problem = f"{alarm.told(run.state.images_seen)}. --set alarms=stop ends such a run, alarms=off says nothing."
    print(f"Warning: {problem}", file=sys.stderr, flush=True)


def _finish(run: _Run, data: Path, resumed_from: int, elapsed_s: float) -> TrainingResult:
    config, state = run.config, run.state
    generator = state.model(config)
    with alone(generator):
        estimate_running_statistics(generator, run.batches, min(_STATISTICS_IMAGES, config.budget_images))
    metrics: dict[str, float] = {}
    for norm in NORM_MODES:
        metrics |= run.validation.score(generator, norm)
    run.tracker.log_metrics({f"final_{name}": value for name, value in metrics.items()}, state.images_seen)
    sheet = run.validation.save_sheet(generator, "frozen", state.images_seen)
    run.tracker.log_picture(f"sheets/{sheet.name}", sheet)
    manifest = PairStore.open(data).manifest
    spec = BundleSpec(
        name=config.recipe,
        architecture=config.generator,
        input_encoding=manifest.input_encoding,
        target_encoding=manifest.target_encoding,
        tile_px=config.augment.crop_px,
        recipe=config.recipe,
        images_seen=state.images_seen,
        dataset_digest=run.dataset_digest,
        metrics=metrics,
    )
    chosen = run.validation.spread(_GATE_PAIRS)
    bundle = run.run_dir / "bundle"
    digest = save_bundle(bundle, spec, generator, run.validation.input_NHWC[chosen], run.validation.target_NHWC[chosen])
    return TrainingResult(
        bundle=bundle,
        bundle_digest=digest,
        images_seen=state.images_seen,
        elapsed_s=round(elapsed_s, 3),
        resumed_from=resumed_from,
        device=str(next(generator.parameters()).device),
        metrics=metrics,
    )


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str | float | int | bool]:
    """Nested configuration -> dotted names, as trackers show parameters."""
    flat: dict[str, str | float | int | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str | float | int):
            flat[f"{prefix}{key}"] = value
        elif value is None:
            flat[f"{prefix}{key}"] = "none"
    return flat
