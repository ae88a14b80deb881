"""Every budget of the intake in one place; the operator's MAX_MODEL_BYTES moves the largest."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of gates 1 to 3; a file beyond one is refused with the measured figure."""

    #: Bytes that all streams of the file may inflate to.
    max_inflated_bytes: int = 512 * MIB
    #: Inflated over stored bytes; honest models compress up to about a hundredfold.
    max_inflation_ratio: int = 200
    #: Files that inflate to less than this are not asked for their ratio.
    ratio_free_bytes: int = 8 * MIB
    #: Dictionary memory an lzma stream may ask for.
    max_lzma_memory_bytes: int = 128 * MIB
    #: Members of a zip container.
    max_zip_members: int = 10_000
    #: Pickle opcodes, over all nested streams.
    max_opcodes: int = 20_000_000
    #: Entries of the pickle memo, over all nested streams.
    max_memo: int = 5_000_000
    #: Values on the pickle stack, open marks included.
    max_stack: int = 100_000
    #: Containers within containers.
    max_depth: int = 1_000
    #: Bytes of one arbitrary-precision integer.
    max_integer_bytes: int = 64
    #: Bytes of all arrays together.
    max_array_bytes: int = 512 * MIB
    #: Elements of all object arrays together.
    max_object_elements: int = 10_000_000
    #: Nodes of a skops schema.
    max_schema_nodes: int = 5_000_000
    #: Nodes and attribute bytes of an ONNX graph, its subgraphs included.
    max_onnx_nodes: int = 100_000
