"""The registry round trip, and the gate before `champion`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.services.mlflow_client import connect
from flows.services.models import ResolvedModel, local_tracking_uri, resolve_model
from flows.services.promotion import CHAMPION, promote, record_evaluation
from flows.services.registry import DIGEST_TAG, register_bundle
from p2p_core.errors import BundleError, UsageError
from p2p_core.inference.bundle import load_bundle
from p2p_core.inference.translator import Translator


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_registered_bundle_comes_back_with_its_digest(bundle: Path, tracking_uri: str, cache: Path) -> None:
    registered = register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    assert (registered.version, registered.existed) == ("1", False)
    resolved = resolve_model("models:/tiny/1", tracking_uri=tracking_uri, cache=cache)
    assert (resolved.name, resolved.version, resolved.alias) == ("tiny", "1", None)
    assert resolved.digest == load_bundle(bundle).digest == load_bundle(resolved.bundle).digest
    assert resolved.uri == "models:/tiny/1"


def test_the_same_bundle_keeps_its_version_and_another_gets_the_next(
    bundle: Path, make_bundle: object, tracking_uri: str
) -> None:
    assert callable(make_bundle)
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    again = register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    assert (again.version, again.existed) == ("1", True)
    assert register_bundle(make_bundle(seed=1), "tiny", tracking_uri=tracking_uri).version == "2"


def test_a_resnet_which_is_larger_than_its_lattice_is_registered_too(tracking_uri: str, cache: Path) -> None:
    resnet = Path(__file__).parents[1] / "data" / "bundle_schema_2"
    register_bundle(resnet, "resnet", tracking_uri=tracking_uri)
    assert resolve_model("models:/resnet/1", tracking_uri=tracking_uri, cache=cache).digest == load_bundle(resnet).digest


def test_a_directory_is_a_model_without_a_registry(bundle: Path) -> None:
    resolved = resolve_model(str(bundle))
    assert resolved == ResolvedModel(bundle=bundle, digest=load_bundle(bundle).digest)
    assert resolved.uri == str(bundle)


def test_a_bundle_that_was_changed_in_the_artifact_store_is_refused(
    bundle: Path, make_bundle: object, tracking_uri: str, tmp_path: Path, cache: Path
) -> None:
    assert callable(make_bundle)
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    stored = next((tmp_path / "mlflow" / "mlartifacts").rglob("artifacts/bundle"))
    for file in make_bundle(seed=2).iterdir():
        (stored / file.name).write_bytes(file.read_bytes())
    with pytest.raises(BundleError, match="not the one that was registered"):
        resolve_model("models:/tiny/1", tracking_uri=tracking_uri, cache=cache)
    (stored / "weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match=r"weights\.safetensors is damaged"):
        resolve_model("models:/tiny/1", tracking_uri=tracking_uri, cache=cache)


def test_an_embedded_store_that_was_moved_still_gives_its_models(bundle: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "here").mkdir()
    register_bundle(bundle, "tiny", tracking_uri=local_tracking_uri(tmp_path / "here"))
    there = (tmp_path / "here").rename(tmp_path / "there ü")
    fetched = resolve_model("models:/tiny/1", tracking_uri=local_tracking_uri(there), cache=cache)
    assert fetched.digest == load_bundle(bundle).digest


def test_a_damaged_cache_is_fetched_again(bundle: Path, tracking_uri: str, cache: Path) -> None:
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    first = resolve_model("models:/tiny/1", tracking_uri=tracking_uri, cache=cache)
    (first.bundle / "weights.safetensors").write_bytes(b"nonsense")
    assert load_bundle(resolve_model("models:/tiny/1", tracking_uri=tracking_uri, cache=cache).bundle).digest == first.digest


def test_a_model_that_is_not_there_is_named_with_what_there_is(bundle: Path, tracking_uri: str, cache: Path) -> None:
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    for uri, why in (("models:/tiny/7", "tiny has versions 1"), ("models:/huge/1", "no model named huge")):
        with pytest.raises(BundleError, match=why):
            resolve_model(uri, tracking_uri=tracking_uri, cache=cache)
    with pytest.raises(BundleError, match="p2p promote"):
        resolve_model("models:/tiny@champion", tracking_uri=tracking_uri, cache=cache)
    with pytest.raises(UsageError, match="no model URI"):
        resolve_model("models:tiny", tracking_uri=tracking_uri, cache=cache)


def test_a_version_that_p2p_did_not_register_is_refused(tracking_uri: str, cache: Path) -> None:
    client = connect(tracking_uri)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source="file:///somewhere")
    with pytest.raises(BundleError, match="holds no bundle"):
        resolve_model("models:/foreign/1", tracking_uri=tracking_uri, cache=cache)


def test_mlflow_loads_the_model_elsewhere_without_unpickling(bundle: Path, tracking_uri: str, tmp_path: Path) -> None:
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    pixels_NHWC = np.random.default_rng(3).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    gray_NHWC = np.ascontiguousarray(pixels_NHWC[..., :1])
    np.savez(tmp_path / "input.npz", colour=pixels_NHWC, gray=gray_NHWC)
    program = (
        "import sys, numpy, mlflow, torch; torch.set_num_threads(1); mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/tiny/1')\n"
        "pictures = numpy.load(sys.argv[2] + '/input.npz')\n"
        "numpy.savez(sys.argv[2] + '/output.npz', **{name: model.predict(pictures[name]) for name in pictures})"
    )
    environment = {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    # Isolated and elsewhere: the code that the model brings along must do.
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, tracking_uri, str(tmp_path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    translator, output = Translator(load_bundle(bundle)), np.load(tmp_path / "output.npz")
    np.testing.assert_array_equal(output["colour"], translator.translate(pixels_NHWC))
    np.testing.assert_array_equal(output["gray"], translator.translate(np.repeat(gray_NHWC, 3, axis=-1)))


def test_the_gate_lets_through_what_beats_the_affine_fit(
    bundle: Path, tracking_uri: str, cache: Path, make_evaluation: object
) -> None:
    assert callable(make_evaluation)
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    record_evaluation("tiny", "1", make_evaluation(17.2, 21.4), tracking_uri=tracking_uri)
    decision = promote("tiny", "1", tracking_uri=tracking_uri)
    assert (decision.promoted, decision.model_l1, decision.affine_l1) == (True, 17.2, 21.4)
    resolved = resolve_model(f"models:/tiny@{CHAMPION}", tracking_uri=tracking_uri, cache=cache)
    assert (resolved.version, resolved.alias, resolved.uri) == ("1", CHAMPION, "models:/tiny/1")


@pytest.mark.parametrize("model_l1", [21.4, 25.0, float("nan")])
def test_the_gate_refuses_what_does_not_and_leaves_the_champion(
    model_l1: float, make_bundle: object, tracking_uri: str, make_evaluation: object
) -> None:
    assert callable(make_bundle)
    assert callable(make_evaluation)
    for seed, l1 in ((0, 17.0), (1, model_l1)):
        version = register_bundle(make_bundle(seed=seed), "tiny", tracking_uri=tracking_uri).version
        record_evaluation("tiny", version, make_evaluation(l1, 21.4), tracking_uri=tracking_uri)
    assert promote("tiny", "1", tracking_uri=tracking_uri).promoted
    decision = promote("tiny", "2", tracking_uri=tracking_uri)
    assert not decision.promoted
    assert "does not beat" in decision.reason
    assert connect(tracking_uri).get_model_version_by_alias("tiny", CHAMPION).version in (1, "1")


def test_the_gate_does_not_judge_what_was_not_measured_on_the_test_split(
    bundle: Path, tracking_uri: str, make_evaluation: object
) -> None:
    assert callable(make_evaluation)
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    with pytest.raises(BundleError, match="p2p evaluate models:/tiny/1"):
        promote("tiny", "1", tracking_uri=tracking_uri)
    record_evaluation("tiny", "1", make_evaluation(1.0, 21.4, split="train"), tracking_uri=tracking_uri)
    with pytest.raises(BundleError, match="p2p evaluate models:/tiny/1"):
        promote("tiny", "1", tracking_uri=tracking_uri)


def test_the_digest_of_a_version_is_a_tag_for_everybody_to_read(bundle: Path, tracking_uri: str) -> None:
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    assert connect(tracking_uri).get_model_version("tiny", "1").tags[DIGEST_TAG] == load_bundle(bundle).digest
