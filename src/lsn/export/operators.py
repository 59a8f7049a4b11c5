"""The operators of a graph and what each is fed by, in ONNX or OpenVINO: which of them must keep all their bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CONVOLUTIONS = ("Conv", "Convolution", "GroupConvolution")
PRODUCTS = (*CONVOLUTIONS, "Gemm", "MatMul")


@dataclass(frozen=True)
class Operators:
    """A graph by names."""

    types: Mapping[str, str]
    """Type of each operator."""
    sources: Mapping[str, tuple[str, ...]]
    """Operators and inputs of the graph that each operator is fed by."""
    outputs: Mapping[str, str]
    """The operator behind each output of the graph."""

    @classmethod
    def of_onnx(cls, model: Any) -> Operators:
        """Those of an ONNX model."""
        nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        made_by = {tensor: node.name for node in nodes for tensor in node.output}
        made_by |= {port.name: port.name for port in model.graph.input}
        return cls(
            {node.name: node.op_type for node in nodes},
            {node.name: tuple(made_by[tensor] for tensor in node.input if tensor in made_by) for node in nodes},
            {port.name: made_by[port.name] for port in model.graph.output},
        )

    @classmethod
    def of_openvino(cls, model: Any) -> Operators:
        """Those of an OpenVINO model, whose inputs have their names as operators."""
        names = {port.get_node().get_friendly_name(): port.get_any_name() for port in model.inputs}
        types: dict[str, str] = {}
        sources: dict[str, tuple[str, ...]] = {}
        for node in model.get_ops():
            if node.get_type_name() not in ("Constant", "Parameter", "Result"):
                fed_by = (port.get_source_output().get_node() for port in node.inputs())
                named = [each.get_friendly_name() for each in fed_by if each.get_type_name() != "Constant"]
                types[node.get_friendly_name()] = node.get_type_name()
                sources[node.get_friendly_name()] = tuple(names.get(name, name) for name in named)
        outputs = {
            name: port.get_node().input_value(0).get_node().get_friendly_name()
            for port in model.outputs
            for name in port.get_names()
        }
        return cls(types, sources, outputs)

    def stem(self, source: str, num_convolutions: int) -> set[str]:
        """What an input reaches first, up to so many convolutions."""
        reached, found, left = self._fed_by(source), set[str](), num_convolutions
        while reached and left:
            name = reached.pop(0)
            if name not in found:
                found.add(name)
                left -= self.types[name] in CONVOLUTIONS
                reached += self._fed_by(name)
        return found

    def last_product(self, output: str) -> str:
        """The convolution or matrix product that an output comes from."""
        name = self.outputs[output]
        while self.types[name] not in PRODUCTS:
            name = self.sources[name][0]
        return name

    def loop(self, source: str, output: str) -> set[str]:
        """What lies between an input and an output: the recurrence, if they are those of a state."""
        after, before = {source}, set[str]()
        for name in self._in_order():
            if after & set(self.sources[name]):
                after.add(name)
        waiting = [self.outputs[output]]
        while waiting:
            name = waiting.pop()
            if name in self.types and name not in before:
                before.add(name)
                waiting += self.sources[name]
        return after & before

    def without_convolutions(self, names: Iterable[str]) -> set[str]:
        """Those that are none."""
        return {name for name in names if self.types[name] not in CONVOLUTIONS}

    def _fed_by(self, source: str) -> list[str]:
        return [name for name, sources in self.sources.items() if source in sources]

    def _in_order(self) -> list[str]:
        """Every operator behind those that it is fed by."""
        order: dict[str, None] = {}
        waiting = list(self.types)[::-1]
        while waiting:
            name = waiting[-1]
            missing = [source for source in self.sources[name] if source in self.types and source not in order]
            if missing and name not in order:
                waiting += missing
            else:
                order[waiting.pop()] = None
        return list(order)
