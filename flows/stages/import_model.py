"""Import a generator of the reference PyTorch code, and register it like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flows.services.models import check_model_name, default_tracking_uri
from p2p_core.config import Config
from p2p_core.errors import UsageError
from p2p_core.inference.reference_bundle import bundle_reference
from p2p_core.model.norm import NormMode
from p2p_core.pairstore.reader import PairStore

__all__ = ["ImportRequest", "Imported", "import_model"]

_GATE_PAIRS = 8


class ImportRequest(Config):
    """A `latest_net_G.pth` that is to become a bundle.

    Attributes:
        checkpoint: the reference's file.
        input_encoding, target_encoding: those of `data`, or the usual ones for the network's bands, unless given.
        dropout: False for a network trained with the reference's --no_dropout.
        data: a pair store whose validation pairs become the bundle's gate pairs.
        register_as: the registered model that gets a new version; None registers nothing.
    """

    checkpoint: Path
    out: Path
    name: str | None = None
    input_encoding: str | None = None
    target_encoding: str | None = None
    norm: NormMode = "frozen"
    dropout: bool = True
    data: Path | None = None
    register_as: str | None = None
    tracking_uri: str | None = None


class Imported(Config):
    """The bundle and, if it was asked for, its version in the registry."""

    bundle: Path
    digest: str
    name: str | None = None
    version: str | None = None


def import_model(request: ImportRequest) -> Imported:
    """Raises what `bundle_reference`, the store and the registry raise."""
    if request.register_as is not None:
        check_model_name(request.register_as)
    store = PairStore.open(request.data) if request.data else None
    digest = bundle_reference(
        request.checkpoint,
        request.out,
        name=request.name,
        encodings=_encodings(request, store),
        norm=request.norm,
        dropout=0.5 if request.dropout else 0.0,
        pairs=_pairs(store) if store else None,
    )
    if request.register_as is None:
        return Imported(bundle=request.out, digest=digest)
    from flows.services.registry import register_bundle

    uri = request.tracking_uri or default_tracking_uri()
    registered = register_bundle(request.out, request.register_as, tracking_uri=uri)
    return Imported(bundle=request.out, digest=digest, name=registered.name, version=registered.version)


def _encodings(request: ImportRequest, store: PairStore | None) -> tuple[str, str] | None:
    given = request.input_encoding, request.target_encoding
    if store:
        own = store.manifest.input_encoding, store.manifest.target_encoding
        return given[0] or own[0], given[1] or own[1]
    if given[0] and given[1]:
        return given[0], given[1]
    if given == (None, None):
        return None
    raise UsageError("Only one of the two encodings is given", remedy="Give --input-encoding and --target-encoding, or neither")


def _pairs(store: PairStore) -> tuple[NDArray[Any], NDArray[Any]]:
    input_NHWC, target_NHWC = store.split("val").read_cores()
    return input_NHWC[:_GATE_PAIRS], target_NHWC[:_GATE_PAIRS]
