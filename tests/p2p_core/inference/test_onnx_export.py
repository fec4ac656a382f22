"""An ONNX file is published if another engine makes the same of it, and not otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from p2p_core.config import replace
from p2p_core.errors import BundleError, EngineError, OutputError
from p2p_core.inference import onnx_export
from p2p_core.inference.bundle import BundleSpec, load_bundle, save_bundle
from p2p_core.inference.onnx_export import MAX_DIFFERENCE, export_onnx, largest_difference
from p2p_core.inference.reference_bundle import bundle_reference
from p2p_core.inference.translator import Translator
from p2p_core.model.generator import ResNetConfig, UNetConfig, make_generator
from tests.p2p_core.inference.reference_network import lived_in

PAPER = UNetConfig(depth=3, base_width=8)
MODERN = UNetConfig(
    depth=3, base_width=8, upsampling="resize", norm="none", initialisation="he", detail_width=4,
    input_mean=(0.1, 0.2, 0.3), input_std=(0.5, 0.4, 0.3),
)  # fmt: skip


def made(config: UNetConfig | ResNetConfig, path: Path) -> Path:
    torch.manual_seed(0)
    network = make_generator(config)
    with torch.no_grad():
        if config is PAPER:
            network.decoder[-1][1].weight *= 30  # else its output is all but flat
        for _ in range(4):
            network(torch.randn(2, 3, 32, 32))
    spec = BundleSpec(
        name="small", architecture=config, input_encoding="rgb", target_encoding="rgb", tile_px=32,
        recipe="small", images_seen=8, dataset_digest="0" * 64, metrics={},
    )  # fmt: skip
    pairs = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)
    save_bundle(path, spec, network, pairs[0], pairs[1])
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(PAPER, tmp_path_factory.mktemp("onnx") / "bundle")


@pytest.fixture(scope="module")
def exported(bundle: Path) -> Path:
    export_onnx(bundle, bundle.parent / "small.onnx")
    return bundle.parent / "small.onnx"


def run(path: Path, input_NCHW: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": input_NCHW})[0]


def test_pixels_through_the_file_are_the_bundles(bundle: Path, exported: Path) -> None:
    loaded = load_bundle(bundle)
    photos = np.random.default_rng(5).integers(0, 256, (3, 40, 16, 3), dtype=np.uint8)
    source, target = loaded.input_encoding, loaded.target_encoding
    generated_NCHW = run(exported, source.to_network(photos).transpose(0, 3, 1, 2).copy())
    pixels = target.to_pixels(generated_NCHW.transpose(0, 2, 3, 1), photos, source)
    expected = Translator(loaded).translate(photos)
    assert expected.std() > 10
    assert np.abs(pixels.astype(int) - expected).max() <= 1, "rounding, where a value lies between two levels"
    assert (pixels != expected).mean() < 0.001


@pytest.mark.parametrize(("images", "height_px", "width_px"), [(1, 8, 8), (5, 8, 16), (2, 64, 40)])
def test_batches_and_sides_on_the_lattice_are_free(exported: Path, images: int, height_px: int, width_px: int) -> None:
    assert run(exported, np.zeros((images, 3, height_px, width_px), np.float32)).shape == (images, 3, height_px, width_px)


def test_a_network_without_norms_and_with_folded_convolutions_passes_the_gate(tmp_path: Path) -> None:
    assert export_onnx(made(MODERN, tmp_path / "bundle"), tmp_path / "modern.onnx").max_difference <= 1e-5


def test_a_resnet_passes_the_gate_with_sides_on_its_own_lattice(tmp_path: Path) -> None:
    export_onnx(made(ResNetConfig(num_blocks=2, base_width=4), tmp_path / "bundle"), tmp_path / "resnet.onnx")
    assert run(tmp_path / "resnet.onnx", np.zeros((3, 3, 8, 44), np.float32)).shape == (3, 3, 8, 44)


def test_an_imported_reference_generator_passes_the_gate(tmp_path: Path) -> None:
    torch.save(lived_in(6, 4).state_dict(), tmp_path / "latest_net_G.pth")
    bundle_reference(tmp_path / "latest_net_G.pth", tmp_path / "bundle")
    assert export_onnx(tmp_path / "bundle", tmp_path / "reference.onnx").max_difference <= 1e-5


def test_the_file_says_what_it_is_and_nothing_of_this_machine(bundle: Path, exported: Path) -> None:
    model = onnx.load(exported)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["p2p.bundle_digest"] == load_bundle(bundle).digest
    assert (properties["p2p.lattice_px"], properties["p2p.input_encoding"]) == ("8", "rgb")
    content = exported.read_bytes()
    assert b".py" not in content
    assert str(Path.cwd()).encode() not in content


def test_the_same_bundle_gives_the_same_bytes(bundle: Path, exported: Path) -> None:
    before = exported.read_bytes()
    export_onnx(bundle, exported)
    assert exported.read_bytes() == before


def nudged(content: bytes, by: float) -> bytes:
    """The same graph with the weights of its last layer off by a little."""
    model = onnx.load_from_string(content)
    last = [node for node in model.graph.node if node.op_type == "ConvTranspose"][-1].input[1]
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == last)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + np.float32(by), last))
    return model.SerializeToString()


def test_a_file_that_computes_something_else_is_not_published(
    bundle: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = nudged(exported.read_bytes(), 1e-4)
    assert MAX_DIFFERENCE < largest_difference(wrong, load_bundle(bundle)) < 0.01
    (tmp_path / "small.onnx").write_bytes(before := exported.read_bytes())
    monkeypatch.setattr(onnx_export, "_traced", lambda _: wrong)
    for name in ("new.onnx", "small.onnx"):
        with pytest.raises(EngineError, match=r"differs from PyTorch by 0\.00\d+; 0\.0001 is allowed"):
            export_onnx(bundle, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    assert (tmp_path / "small.onnx").read_bytes() == before


def test_no_number_is_no_agreement(bundle: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = nudged(exported.read_bytes(), np.nan)
    monkeypatch.setattr(onnx_export, "_traced", lambda _: broken)
    with pytest.raises(EngineError, match="differs from PyTorch by nan"):
        export_onnx(bundle, tmp_path / "nan.onnx")
    assert not (tmp_path / "nan.onnx").exists()


def test_a_file_that_no_engine_can_run_is_an_error(bundle: Path) -> None:
    with pytest.raises(EngineError, match="ONNX Runtime cannot run small"):
        largest_difference(b"nonsense", load_bundle(bundle))


def test_a_bundle_that_normalises_each_picture_by_itself_is_refused(bundle: Path, tmp_path: Path) -> None:
    loaded = load_bundle(bundle)
    spec, pairs = replace(loaded.spec, norm="instance"), loaded.gate_pairs
    save_bundle(tmp_path / "instance", spec, loaded.generator, pairs.input_NHWC, pairs.target_NHWC)
    with pytest.raises(BundleError, match="each picture's own statistics"):
        export_onnx(tmp_path / "instance", tmp_path / "x.onnx")


def test_another_file_in_the_way_stays(bundle: Path, tmp_path: Path) -> None:
    for content in (b"mine", b""):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(OutputError, match="in the way"):
            export_onnx(bundle, tmp_path / "x.onnx")
        assert (tmp_path / "x.onnx").read_bytes() == content
