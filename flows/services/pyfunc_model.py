"""The thin MLflow model around a bundle. MLflow stores this file as it is and runs it to load the model: no pickle.

`mlflow.pyfunc.load_model("models:/NAME@champion").predict(pixels_NHWC)` takes and gives (N, H, W, bands) of the
model's encodings, uint8 but for `bands`, with
sides that are multiples of the model's lattice; gray and RGB may stand in for each other (`Translator.translate`). For whole
rasters use `p2p translate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from p2p_core.inference.bundle import load_bundle
from p2p_core.inference.translator import Translator


class BundleModel(PythonModel):  # type: ignore[misc]  # mlflow has no types
    def load_context(self, context: Any) -> None:
        self._translator = Translator(load_bundle(Path(context.artifacts["bundle"])))

    # MLflow reads these hints and knows arrays only by this one; the saved signature has bands and type.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> np.ndarray:  # noqa: ARG002
        return self._translator.translate(model_input)


set_model(BundleModel())
