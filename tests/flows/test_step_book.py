"""What an output directory remembers: unchanged work is not done again, killed work is known as such."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from flows.steps.book import Done, Previous, StepBook, sole_use
from p2p_core.config import Config
from p2p_core.errors import OutputError


class Made(Config):
    number: int


class Worker:
    """Counts how often a step is really done, and what it was told of the earlier one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[Previous] = []
        self.fails = False

    def step(self, digest: str = "a") -> Done[Made]:
        output = self.directory / "output"
        return StepBook(self.directory).once(
            "step", Made, {"source": digest}, [output], self.work, lambda made: f"{made.number}"
        )

    def work(self, previous: Previous) -> Made:
        self.told.append(previous)
        if self.fails:
            raise RuntimeError("killed here")
        (self.directory / "output").write_text("made")
        return Made(number=len(self.told))


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_unchanged_work_is_reused_with_its_result_and_time(worker: Worker) -> None:
    first, second = worker.step(), worker.step()
    assert worker.told == ["nothing"]
    assert second.result == first.result == Made(number=1)
    assert (first.step.reused, second.step.reused) == (False, True)
    assert second.step.elapsed_s == first.step.elapsed_s


def test_other_inputs_and_lost_outputs_are_done_again(worker: Worker) -> None:
    worker.step("a")
    worker.step("b")
    (worker.directory / "output").unlink()
    worker.step("b")
    assert worker.told == ["nothing", "other", "same"]
    assert worker.step("b").step.reused


def test_interrupted_work_is_known_as_the_same_or_as_other_work(worker: Worker) -> None:
    worker.fails = True
    for digest in ("a", "a", "b"):
        with pytest.raises(RuntimeError, match="killed here"):
            worker.step(digest)
    worker.fails = False
    worker.step("b")
    assert worker.told == ["nothing", "same", "other", "same"]


@pytest.mark.parametrize("text", ["no json", "[]", '{"step": 3}', '{"step": {"key": "x", "finished": true, "more": 1}}'])
def test_a_damaged_record_is_named_with_a_remedy(worker: Worker, text: str) -> None:
    (worker.directory / "steps.json").write_text(text)
    with pytest.raises(OutputError, match=r"steps\.json is damaged.*delete"):
        worker.step()


def hold(directory: Path, held: object, let_go: object) -> None:
    with sole_use(directory):
        held.set()  # type: ignore[attr-defined]
        let_go.wait(30)  # type: ignore[attr-defined]


def test_two_processes_do_not_work_in_one_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, let_go = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, held, let_go))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(OutputError, match="Another process"), sole_use(tmp_path):
            pass
    finally:
        let_go.set()
        other.join()
    with sole_use(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="in the way"), sole_use(tmp_path / "file"):
        pass
