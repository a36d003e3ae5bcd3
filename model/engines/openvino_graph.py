"""The scoring network as an OpenVINO model, and such models as files. Needs the `openvino` extra."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.engines.tracing import example, missing, trace
from model.images import Frame
from model.network import ScoringNetwork

QUANTISER = ["goodpart", "quantiser"]  # where a model says what quantised it
PART = "distances"  # tensors of this name lie between the network's two halves
Model = Any  # openvino has no types that mypy follows


def library() -> Any:
    """The openvino module.

    Raises:
        EngineError: it is not installed.
    """
    # Without this module openvino and nncf report to nobody: a machine on a production line must not call home.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise missing("openvino") from None
    return openvino


def version() -> str:
    """OpenVINO's, without its build."""
    return str(library().__version__).partition("-")[0]


def convert(network: ScoringNetwork, normals: Frame | None = None) -> Model:
    """The network for one frame as an OpenVINO model: tiles (and mask) -> scores, maps, features.

    Args:
        network: folded, in evaluation mode, on the CPU, float32.
        normals: uint8 n x height x width x 3 tiles of good parts; with them the first half is quantised to int8.

    Raises:
        EngineError: openvino or nncf is not installed.
    """
    library()
    tiles, *masks = example(network.spec, 1)
    with torch.no_grad():
        _, *small = network.comparison(tiles)
    heavy = _converted(network.comparison, (tiles,))
    light = _converted(network.fusion, (small, *masks))
    if normals is not None:
        from model.engines.quantisation import has_all_bits, quantise

        heavy = quantise(heavy, normals)
    joined = _joined(heavy, light)
    if normals is not None:
        joined.set_rt_info(f"nncf-{installed('nncf')}{'-w8' if has_all_bits() else ''}", QUANTISER)
    return joined


def _converted(module: nn.Module, arguments: tuple[Any, ...]) -> Model:
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    program = trace(module, arguments).run_decompositions()
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(program.module())  # has to outlive the conversion
    return frontend.convert(frontend.load(decoder))


def _joined(heavy: Model, light: Model) -> Model:
    """Both halves as one model, the tensors between them named."""
    features, *between = heavy.outputs
    parameters = light.get_parameters()
    for at, (output, parameter) in enumerate(zip(between, parameters, strict=False)):
        source = output.get_node().input_value(0)
        source.get_tensor().add_names({f"{PART}{at}"})
        parameter.output(0).replace(source)
    results = [*light.get_results(), features.get_node()]
    for result, name in zip(results, ("scores", "maps", "features"), strict=True):
        result.output(0).get_tensor().set_names({name})
    return library().Model(results, [*heavy.get_parameters(), *parameters[len(between) :]], "goodpart")


def cut(model: Model) -> tuple[Model, Model]:
    """The two halves again, out of a joined model: tiles -> features, distances; distances, mask -> scores, maps."""
    ov = library()
    named = {name: output for op in model.get_ops() for output in op.outputs() for name in output.get_names()}
    between = [named[name] for name in takewhile(named.__contains__, (f"{PART}{at}" for at in count()))]
    given = []
    for output in between:
        targets = output.get_target_inputs()
        given.append(ov.opset14.parameter(output.get_partial_shape(), output.get_element_type()))
        for target in targets:
            target.replace_source_output(given[-1].output(0))
    scores, maps, features = model.get_results()
    tiles, *masks = model.get_parameters()
    compared = [ov.opset14.result(output) for output in between]
    return ov.Model([features, *compared], [tiles]), ov.Model([scores, maps], [*given, *masks])


def quantiser(model: Model) -> str | None:
    """Name and version of what quantised a model; None where nothing did."""
    return str(model.get_rt_info(QUANTISER).astype(str)) if model.has_rt_info(QUANTISER) else None


def read(path: Path) -> Model:
    """A model that `write` wrote."""
    return library().Core().read_model(path)


def write(model: Model, path: Path) -> None:
    """Writes the model as .xml, and its weights beside it as .bin."""
    library().save_model(model, path, compress_to_fp16=False)
