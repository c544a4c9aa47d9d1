"""What llama.cpp's quantizers and the Python package `gguf` make of random numbers and blocks.

FOLDER SEED   writes files of raw numbers and bytes into the folder and prints what they are
"""

import ctypes
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import llama_cpp

TYPES = "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS".split()
LEGACY = "BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0".split()
ROW, ROWS = 1024, 96
# ggml reads 16-bit scales through a table that is filled when it starts.
ggml = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_quantize_chunk.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
]


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    numbers = np.random.default_rng(seed)
    values = random_weights(numbers)
    (folder / "values").write_bytes(values.tobytes())
    cases = []
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        quantized = quantize(values, kind)
        if name in LEGACY and name != "BF16":
            assert gguf.quants.quantize(values, kind).tobytes() == quantized.tobytes(), name
        blocks = random_blocks(numbers, kind)
        case = {"type": name}
        for part, data in {
            "quantized": quantized,
            "dequantized": dequantize(quantized, kind),
            "blocks": blocks,
            "dequantized_blocks": dequantize(blocks, kind),
        }.items():
            path = folder / f"{name}.{part}"
            path.write_bytes(data.tobytes())
            case[part] = str(path)
        cases.append(case)
    print(json.dumps({"values": str(folder / "values"), "cases": cases}))


def random_weights(numbers):
    values = numbers.standard_normal((ROWS, ROW), dtype=np.float32) * 0.05
    values[8:16] *= np.exp(numbers.standard_normal((8, ROW), dtype=np.float32) * 2)
    values[16:24] += np.float32(0.3)
    values[24:28] = np.abs(values[24:28])
    values[28:32] = -np.abs(values[28:32])
    values[32:36] = numbers.integers(-3, 4, (4, ROW))
    values[36:40, :: numbers.integers(2, 9)] = 0
    values[40] = 0
    values[41] = 0.25
    values[42, : ROW // 2] = 0
    values[43] *= np.float32(1e-9)
    values[44, :: numbers.integers(20, 300)] = 50
    return np.ascontiguousarray(values, dtype=np.float32)


def quantize(values, kind):
    block, size = gguf.constants.GGML_QUANT_SIZES[kind]
    output = np.zeros((ROWS, ROW // block * size), dtype=np.uint8)
    ggml.ggml_quantize_chunk(int(kind), values.ctypes.data, output.ctypes.data, 0, ROWS, ROW, None)
    return output


def random_blocks(numbers, kind):
    block, size = gguf.constants.GGML_QUANT_SIZES[kind]
    return numbers.integers(0, 256, (ROWS, ROW // block * size), dtype=np.uint8)


def dequantize(data, kind):
    return np.ascontiguousarray(gguf.quants.dequantize(data, kind), dtype=np.float32)


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main()
