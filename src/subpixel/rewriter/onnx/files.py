"""ONNX files, also those of strangers: every claim of a file is checked before it is used."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx import ModelProto

from subpixel.files import replacing

LARGEST_MESSAGE = 2**31 - 2**24  # bytes of tensors; protobuf holds 2**31, some of which the graph needs
INLINE = 2**10  # bytes of a tensor that stays in the message: runtimes read sizes and factors from there
OLDEST = 11  # opset


def load_model(path: Path) -> ir.Model:
    """Read a model from a file, and its tensors from the files beside it.

    Raises:
        ValueError: it is no ONNX model, is damaged, points outside its folder, or is older than opset 11.
        OSError: it cannot be read.
    """
    return from_proto(_parsed(path), path.resolve().parent)


def from_proto(proto: ModelProto, folder: Path | None = None) -> ir.Model:
    """Read a model from a protobuf message; without a folder the message must hold all tensors.

    Raises:
        ValueError: as `load_model`.
    """
    if proto.graph.sparse_initializer:
        raise ValueError("tensors must be dense; got sparse initializers. Convert them.")
    try:
        with quiet_logs():
            model = ir.from_proto(proto)
    except Exception as error:
        raise ValueError(f"the model must be a valid ONNX graph; got {_innermost(error)}.") from error
    return checked(model, folder)


def checked(model: ir.Model, folder: Path | None = None) -> ir.Model:
    """Return the model with its nodes in order, and its tensors in memory if they fit a message.

    Raises:
        ValueError: as `load_model`.
    """
    opsets = model.opset_imports
    opset = opsets.setdefault("", opsets.pop("ai.onnx", 0))  # two names of the standard operators
    if opset < OLDEST:
        raise ValueError(
            f"the opset must be at least {OLDEST}; got {opset}. Convert it with onnx.version_converter."
        )
    for tensor in _tensors(model):
        _check(tensor, folder)
    for graph in model.graphs():
        _check_sources(graph)
        _check_groups(graph)
        try:
            graph.sort()
        except ValueError as error:
            raise ValueError("the graph must have no cycle; got one that has.") from error
    _hold_arrays(model)
    return ir.external_data.load_to_model(model) if fits_a_message(model) else model


def save_model(model: ir.Model, path: Path) -> None:
    """Write a file, whole or not at all; tensors too large for a message go into PATH.data beside it."""
    if fits_a_message(model):
        with replacing(path) as temporary:
            temporary.write_bytes(ir.to_proto(model).SerializeToString())
        return
    data = path.with_name(f"{path.name}.data")
    with replacing(path) as temporary, replacing(data) as temporary_data:
        message = ir.to_proto(with_external_tensors(model, temporary_data, data.name))
        temporary.write_bytes(message.SerializeToString())


def fits_a_message(model: ir.Model) -> bool:
    """Tell whether the tensors can be part of one protobuf message."""
    return size_of_tensors(model) < LARGEST_MESSAGE


def size_of_tensors(model: ir.Model) -> int:
    """Return the bytes of all weights and other constants."""
    return sum(tensor.nbytes for tensor in _tensors(model))


def with_external_tensors(model: ir.Model, data: Path, name: str) -> ir.Model:
    """Write the large initializers into a file and return a copy of the model that names them there.

    Args:
        model: left as it is.
        data: the file to write.
        name: what the file will be called beside the model.
    """
    copy = model.clone()
    with data.open("wb") as file:
        for graph in copy.graphs():
            for value in graph.initializers.values():
                tensor: Any = value.const_value
                if tensor.nbytes >= INLINE:
                    start = file.tell()
                    tensor.tofile(file)
                    value.const_value = ir.ExternalTensor(
                        name, start, file.tell() - start, tensor.dtype, shape=tensor.shape, name=tensor.name
                    )
                elif isinstance(tensor, ir.ExternalTensor):  # in a file of the original's
                    value.const_value = ir.Tensor(tensor.numpy(), tensor.dtype, name=tensor.name)
    return copy


def _check_sources(graph: ir.Graph) -> None:
    read = [value for node in graph for value in node.inputs if value is not None]
    for value in (*read, *graph.outputs):
        if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
            raise ValueError(
                f"every value must come from a node or an input; got {value.name}, which does not."
            )


def _check_groups(graph: ir.Graph) -> None:
    """Refuse what ONNX Runtime divides by without a look, which ends the process."""
    for node in graph:
        group = node.attributes.get("group")
        if group is not None and group.type == ir.AttributeType.INT and group.as_int() < 1:
            raise ValueError(
                f"group must be 1 or more; got {group.as_int()} for {node.op_type} {node.name!r}."
            )


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Silence what the library logs about a model; what matters becomes an error of ours."""
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _parsed(path: Path) -> ModelProto:
    with path.open("rb") as file:
        data = file.read(2**31)  # bounded, whatever the path names
    try:
        proto: ModelProto = ModelProto.FromString(data)
    except Exception as error:  # of the protobuf library, which nothing else here needs
        raise ValueError(
            f"the file must be an ONNX model; got {path}, which is damaged or another thing."
        ) from error
    if not proto.graph.node:
        raise ValueError(f"the file must be an ONNX model; got {path}, in which there is no graph.")
    return proto


def _tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    for graph in model.graphs():
        yield from (
            value.const_value for value in graph.initializers.values() if value.const_value is not None
        )
    holders: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for holder in holders:
        for node in holder.all_nodes():
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield attribute.as_tensor()


def _check(tensor: Any, folder: Path | None) -> None:
    if isinstance(tensor, ir.ExternalTensor):
        _check_location(tensor, folder)
    try:
        held = tensor.numpy().shape
    except Exception as error:  # each kind of tensor has errors of its own
        raise ValueError(_dishonest(tensor, _innermost(error))) from error
    if held != tuple(tensor.shape):
        raise ValueError(_dishonest(tensor, f"it holds {held}"))


def _hold_arrays(model: ir.Model) -> None:
    """Take the tensors out of their message, which would copy a tensor each time that it is read."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.serde.TensorProtoTensor) and tensor.raw.HasField("raw_data"):
                value.const_value = ir.Tensor(
                    tensor.numpy(),
                    tensor.dtype,
                    name=tensor.name,
                    doc_string=tensor.doc_string,
                    metadata_props=tensor.metadata_props,
                )


def _dishonest(tensor: ir.TensorProtocol, reason: str) -> str:
    declared = f"{tensor.dtype} of {tensor.shape}"
    return f"a tensor must hold what it declares; got {declared} for {tensor.name}, but {reason}."


def _check_location(tensor: ir.ExternalTensor, folder: Path | None) -> None:
    """Refuse data that lies outside the folder of the model."""
    if folder is None and not tensor.base_dir:
        raise ValueError(
            f"a message must hold its tensors; got {tensor.name} in a file. Pass the model's path."
        )
    home = Path(folder or tensor.base_dir).resolve()
    path = (home / tensor.location).resolve()
    if not path.is_relative_to(home) or not path.is_file():
        raise ValueError(
            f"the data of {tensor.name} must be a file in the model's folder; got {str(tensor.location)!r}."
        )
    tensor.base_dir = home


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")
