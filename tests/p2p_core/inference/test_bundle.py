"""A bundle is complete, checked, and runs without flags."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from p2p_core.errors import BundleError
from p2p_core.files import canonical_json, sha256_file
from p2p_core.inference.bundle import BundleSpec, load_bundle, save_bundle, verify_bundle
from p2p_core.inference.translator import Translator
from p2p_core.model.generator import UNet, UNetConfig

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = UNet(UNetConfig(depth=3, base_width=8))
    with torch.no_grad():
        net.decoder[-1][1].weight *= 30  # a fresh network's output is all but flat: agreement there shows nothing
        for _ in range(4):
            net(torch.randn(2, 3, 32, 32))
    spec = BundleSpec(
        name="small", architecture=net.config, input_encoding="rgb", target_encoding="rgb", tile_px=32, lattice_px=8,
        halo_px=15, recipe="small", images_seen=8, dataset_digest="0" * 64, metrics={"frozen_l1": 12.5},
    )  # fmt: skip
    pairs = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("bundle") / "small"
    save_bundle(path, spec, net, pairs[0], pairs[1])
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rewrite_spec(bundle: Path, changes: dict[str, int]) -> None:
    spec = json.loads((bundle / "model.json").read_text()) | changes
    (bundle / "model.json").write_bytes(canonical_json(spec))
    checksums = json.loads((bundle / "checksums.json").read_text())
    checksums["model.json"] = sha256_file(bundle / "model.json")
    (bundle / "checksums.json").write_bytes(canonical_json(checksums))


def test_a_loaded_bundle_reproduces_its_gate_pairs_bit_for_bit(saved: Path) -> None:
    bundle = load_bundle(saved)
    generated = Translator(bundle).translate(bundle.gate_pairs.input_NHWC)
    assert np.array_equal(generated, bundle.gate_pairs.generated_NHWC)
    assert generated.std() > 20


def test_saving_again_gives_the_same_bytes_and_digest(saved: Path, tmp_path: Path) -> None:
    bundle = load_bundle(saved)
    digest = save_bundle(
        tmp_path / "again", bundle.spec, bundle.generator, bundle.gate_pairs.input_NHWC, bundle.gate_pairs.target_NHWC
    )
    assert digest == bundle.digest
    for path in saved.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "gate_pairs.safetensors", "card.md"])
def test_one_flipped_bit_anywhere_is_found_and_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert [problem.path for problem in verify_bundle(copy)] == [name]
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(copy)


def test_a_missing_file_and_an_unfinished_bundle_are_named(copy: Path) -> None:
    (copy / "card.md").unlink()
    with pytest.raises(BundleError, match=r"card\.md is missing"):
        load_bundle(copy)
    (copy / "checksums.json").unlink()
    with pytest.raises(BundleError, match="no model bundle"):
        load_bundle(copy)


def test_a_bundle_of_a_later_schema_is_refused(copy: Path) -> None:
    rewrite_spec(copy, {"schema_version": 99})
    with pytest.raises(BundleError, match="schema version 99"):
        load_bundle(copy)


def test_sizes_off_the_lattice_and_wrong_bands_are_refused(saved: Path) -> None:
    translator = Translator(load_bundle(saved))
    with pytest.raises(BundleError, match="multiples of 8 px, not 20x32"):
        translator.translate(np.zeros((1, 20, 32, 3), np.uint8))
    with pytest.raises(BundleError, match=r"3 bands .* has 4"):
        translator.translate(np.zeros((1, 32, 32, 4), np.uint8))


def test_norm_modes_give_different_pictures(saved: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    outputs = [Translator(load_bundle(saved), norm=norm).translate(image) for norm in ("frozen", "instance")]
    assert not np.array_equal(*outputs)


@pytest.mark.parametrize("stated", [{"halo_px": 14}, {"halo_px": 16}, {"lattice_px": 4}])
def test_a_bundle_that_states_another_halo_or_lattice_than_its_network_needs_is_refused(
    copy: Path, stated: dict[str, int]
) -> None:
    """Archives trust these two numbers: with another halo their tiles would show seams."""
    rewrite_spec(copy, stated)
    with pytest.raises(BundleError, match=r"tiles of a U-Net of depth 3, .* are exact with 8 and 15"):
        load_bundle(copy)


def test_a_resnet_refuses_pictures_too_small_to_mirror() -> None:
    translator = Translator(load_bundle(DATA / "bundle_schema_2"))
    assert translator.translate(np.zeros((1, 8, 12, 3), np.uint8)).shape == (1, 8, 12, 3)
    with pytest.raises(BundleError, match="multiples of 4 px and at least 8 px, not 4x12"):
        translator.translate(np.zeros((1, 4, 12, 3), np.uint8))


@pytest.mark.parametrize(("version", "kind"), [(1, "unet"), (2, "resnet")])
def test_the_committed_bundle_of_every_schema_still_opens_and_gives_its_pictures(version: int, kind: str) -> None:
    """Bundles of every released schema stay readable; float results may move by a grey level between CPUs."""
    bundle = load_bundle(DATA / f"bundle_schema_{version}")
    assert bundle.spec.architecture.kind == kind
    generated = Translator(bundle).translate(bundle.gate_pairs.input_NHWC)
    assert np.abs(generated.astype(int) - bundle.gate_pairs.generated_NHWC).max() <= 1
