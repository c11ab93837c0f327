"""A copy of a bf16 checkpoint whose linear layers are FP8 (E4M3) with one f32 scale per 128 x 128 block,
as DeepSeek-V3 is published: for measuring what a chip's handling of FP8 costs the built-in model.

  fp8_copy.py FROM TO      FROM: a folder with one model.safetensors
"""
import array
import bisect
import json
import os
import shutil
import struct
import sys

BLOCK = 128
# What codes 0 ... 126 stand for, and where rounding goes from one to the next.
VALUES = [m / 8 * 2.0 ** -6 if e == 0 else (1 + m / 8) * 2.0 ** (e - 7)
          for e in range(16) for m in range(8)][:127]
EDGES = [(a + b) / 2 for a, b in zip(VALUES, VALUES[1:])]
# Published checkpoints leave these as they are.
PLAIN = ("embed", "lm_head", "shared_head", "gate.weight", "norm", "eh_proj")


def encode(values, rows, cols):
    """Codes and the row-major grid of scales."""
    grid_cols = -(-cols // BLOCK)
    scales = [1e-12] * (-(-rows // BLOCK) * grid_cols)
    for i in range(rows):
        for g in range(grid_cols):
            first = i * cols + g * BLOCK
            largest = max(map(abs, values[first:first + min(BLOCK, cols - g * BLOCK)]))
            at = i // BLOCK * grid_cols + g
            scales[at] = max(scales[at], largest / VALUES[-1])
    scales = list(struct.unpack("<%df" % len(scales), struct.pack("<%df" % len(scales), *scales)))
    codes = bytearray(rows * cols)
    for i in range(rows):
        for j in range(cols):
            x = values[i * cols + j] / scales[i // BLOCK * grid_cols + j // BLOCK]
            codes[i * cols + j] = bisect.bisect_left(EDGES, abs(x)) | (128 if x < 0 else 0)
    return bytes(codes), struct.pack("<%df" % len(scales), *scales), [-(-rows // BLOCK), grid_cols]


def main(source, target):
    with open(os.path.join(source, "model.safetensors"), "rb") as f:
        data = f.read()
    length = struct.unpack("<Q", data[:8])[0]
    header, pieces, end = {}, [], 0

    def put(name, dtype, shape, payload):
        nonlocal end
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(payload)]}
        pieces.append(payload)
        end += len(payload)

    for name, tensor in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, stop = (8 + length + offset for offset in tensor["data_offsets"])
        shape, payload = tensor["shape"], data[begin:stop]
        if tensor["dtype"] != "BF16" or len(shape) != 2 or any(word in name for word in PLAIN):
            put(name, tensor["dtype"], shape, payload)
            continue
        words = array.array("I", (bits << 16 for bits in array.array("H", payload)))
        codes, scales, grid = encode(array.array("f", words.tobytes()), *shape)
        put(name, "F8_E4M3", shape, codes)
        put(name + "_scale_inv", "F32", grid, scales)

    os.makedirs(target, exist_ok=True)
    for entry in os.scandir(source):
        if entry.is_file() and entry.name != "model.safetensors":
            shutil.copy(entry.path, target)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(target, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(pieces))
    path = os.path.join(target, "config.json")
    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3",
                                     "weight_block_size": [BLOCK, BLOCK]}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f, indent=2)


main(*sys.argv[1:3])
