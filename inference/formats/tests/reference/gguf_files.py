"""What the Python package `gguf` writes and reads.

write FOLDER SEED   writes random files, one of them in parts, and prints what is in them
read FILE           prints what is in a file
"""

import json
import random
import sys
from pathlib import Path

import gguf
import numpy as np

TYPES = ["F32", "F16", "I32", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16"]


def main():
    command, *arguments = sys.argv[1:]
    print(json.dumps({"write": write, "read": read}[command](*arguments)))


def write(folder, seed):
    chance = random.Random(int(seed))
    numbers = np.random.default_rng(int(seed))
    cases = []
    for index, alignment in enumerate([None, 64, 8]):
        path = Path(folder) / f"file-{index}.gguf"
        cases.append(write_one(path, chance, numbers, alignment))
    cases.append(write_parts(Path(folder), chance, numbers))
    return cases


def write_one(path, chance, numbers, alignment):
    writer = gguf.GGUFWriter(path, "llama")
    metadata = random_metadata(chance)
    if alignment:
        writer.add_custom_alignment(alignment)
        metadata["general.alignment"] = (alignment, gguf.GGUFValueType.UINT32, None)
    add_metadata(writer, metadata)
    tensors = [add_tensor(writer, f"blk.{i}.weight", chance, numbers) for i in range(chance.randrange(1, 6))]
    finish(writer)
    metadata.pop("general.alignment", None)
    return {"path": str(path), "metadata": {key: value for key, (value, *_) in metadata.items()}, "tensors": tensors}


def write_parts(folder, chance, numbers):
    tensors, count = [], 3
    paths = [folder / f"parts-{number + 1:05}-of-{count:05}.gguf" for number in range(count)]
    for number, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", 2 * count)
        tensors += [add_tensor(writer, f"part.{number}.{i}", chance, numbers) for i in range(2)]
        finish(writer)
    return {"path": str(chance.choice(paths)), "metadata": {"split.no": 0, "split.count": count}, "tensors": tensors}


def random_metadata(chance):
    kind = gguf.GGUFValueType
    single = lambda: float(np.float32(chance.gauss(0, 1)))
    return {
        "test.u8": (chance.randrange(1 << 8), kind.UINT8, None),
        "test.i8": (chance.randrange(-128, 128), kind.INT8, None),
        "test.u16": (chance.randrange(1 << 16), kind.UINT16, None),
        "test.i16": (-chance.randrange(1 << 15), kind.INT16, None),
        "test.u32": (chance.randrange(1 << 32), kind.UINT32, None),
        "test.i32": (-chance.randrange(1 << 31), kind.INT32, None),
        "test.u64": (chance.randrange(1 << 64), kind.UINT64, None),
        "test.i64": (-chance.randrange(1 << 63), kind.INT64, None),
        "test.f32": (single(), kind.FLOAT32, None),
        "test.f64": (chance.gauss(0, 1), kind.FLOAT64, None),
        "test.bool": (chance.random() < 0.5, kind.BOOL, None),
        "test.text": ("größer 数据 🙂" * chance.randrange(1, 4), kind.STRING, None),
        "test.ints": ([chance.randrange(-9, 9) for _ in range(5)], kind.ARRAY, kind.INT32),
        "test.floats": ([single() for _ in range(4)], kind.ARRAY, kind.FLOAT32),
        "test.flags": ([True, False, True], kind.ARRAY, kind.BOOL),
        "test.texts": (["a", "", "ünï", "<0x0A>"], kind.ARRAY, kind.STRING),
        "test.empty_text": ("", kind.STRING, None),
    }


def add_metadata(writer, metadata):
    for key, (value, kind, element) in metadata.items():
        if key != "general.alignment":
            writer.add_key_value(key, value, kind, element)


def add_tensor(writer, name, chance, numbers):
    kind = gguf.GGMLQuantizationType[chance.choice(TYPES)]
    shape = [chance.randrange(1, 5) for _ in range(chance.randrange(0, 3))] + [32 * chance.randrange(1, 4)]
    values = numbers.standard_normal(shape, dtype=np.float32)
    if kind.name in ("F32", "F16", "I32"):
        data = values.astype({"F32": np.float32, "F16": np.float16, "I32": np.int32}[kind.name])
        writer.add_tensor(name, data)
    else:
        data = gguf.quants.quantize(values, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    return {"name": name, "shape": shape, "type": kind.name, "bytes": data.tobytes().hex()}


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path):
    reader = gguf.GGUFReader(path)
    return {
        "metadata": {field.name: field.contents() for field in reader.fields.values()},
        "tensors": [
            {
                "name": tensor.name,
                "shape": [int(size) for size in reversed(tensor.shape)],
                "type": tensor.tensor_type.name,
                "bytes": tensor.data.tobytes().hex(),
            }
            for tensor in reader.tensors
        ],
    }


if __name__ == "__main__":
    main()
