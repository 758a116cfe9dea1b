#!/usr/bin/env python3
"""Make tests/unit/data/dequant.bin and dequant.json: random blocks of every GGUF type and what they mean.

The meaning comes from the PyPI package `gguf` (llama.cpp's own Python code), not from this project:
    pip install gguf && tools/oracle_dequant.py tests/unit/data

dequant.json lists, for each type, its name, block counts and byte offsets into dequant.bin, where the blocks
and then the expected float32 values stand, little-endian. Random bytes give f16 scales of every kind, so blocks with
an infinite or NaN scale are drawn again; the first blocks of each type have edge scales (0, -0, subnormal, large).
"""
import json
import pathlib
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

BLOCKS = 12
# type -> byte offsets of its f16 fields
TYPES = {
    "F32": None, "F16": [0], "BF16": None, "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "IQ4_NL": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": None,
}
EDGE_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF]
EDGE_E8M0 = [0, 1, 2, 3, 120, 127, 252]


def draw(rng, name, block_bytes):
    raw = rng.integers(0, 256, (BLOCKS, block_bytes), dtype=np.uint8)
    if name == "MXFP4":
        raw[:len(EDGE_E8M0), 0] = EDGE_E8M0
        raw[len(EDGE_E8M0):, 0] %= 252
    for field in TYPES[name] or []:
        halves = rng.integers(0, 0x7C00, BLOCKS).astype(np.uint16) | (rng.integers(0, 2, BLOCKS) << 15).astype(np.uint16)
        halves[:len(EDGE_HALVES)] = EDGE_HALVES
        raw[:, field:field + 2] = halves.view(np.uint8).reshape(-1, 2)
    if name in ("F32", "BF16"):  # finite values
        raw[:, -1] = (raw[:, -1] & 0x80) | raw[:, -1] % 0x7F
    return raw


def main():
    folder = pathlib.Path(sys.argv[1])
    rng = np.random.default_rng(20250805)
    blob, index = b"", []
    for name in TYPES:
        kind = GGMLQuantizationType[name]
        values, block_bytes = GGML_QUANT_SIZES[kind]
        raw = draw(rng, name, block_bytes)
        expected = np.ascontiguousarray(dequantize(raw, kind), dtype="<f4")
        assert np.isfinite(expected).all() and expected.size == BLOCKS * values
        index.append({"type": name, "blocks": BLOCKS, "values": values, "block_bytes": block_bytes,
                      "raw": len(blob), "expected": len(blob) + raw.size})
        blob += raw.tobytes() + expected.tobytes()
    (folder / "dequant.bin").write_bytes(blob)
    (folder / "dequant.json").write_text(json.dumps(index, indent=0) + "\n")


if __name__ == "__main__":
    main()
