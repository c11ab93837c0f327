"""1,000 seeded mutations of small checkpoints, in both formats, through the whole program: each is
refused with one line and exit code 2, or runs; never a crash, a hang or half an output.

Mutations: bytes flipped, runs overwritten, pieces cut out, doubled or moved, files cut short,
numbers in headers and configs replaced by extreme ones.
"""
import os
import random
import re
import shutil
import struct

from driver import check, fail, finish, run, workspace, write_model, write_tokens

PER_FORMAT = 500
EXTREMES = [0, 1, -1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]


def mutate_numbers(r, blob):
    """Replaces a decimal number of a JSON text by an extreme one."""
    spots = list(re.finditer(rb"-?\d+", blob[:1 << 16]))
    if not spots:
        return blob
    spot = r.choice(spots)
    return blob[:spot.start()] + str(r.choice(EXTREMES)).encode() + blob[spot.end():]


def mutate(r, blob):
    blob = bytearray(blob)
    for _ in range(r.choice([1, 1, 1, 2, 4])):
        if not blob:
            return bytes(blob)
        # Headers hold what can go wrong; most mutations go there.
        end = len(blob) if r.random() < 0.2 else min(len(blob), 2500)
        at = r.randrange(end)
        kind = r.randrange(8)
        if kind <= 1:
            blob[at] ^= 1 << r.randrange(8)
        elif kind == 2:
            blob[at] = r.randrange(256)
        elif kind == 3:
            value = r.choice(EXTREMES) & (2**64 - 1)
            blob[at:at + 8] = struct.pack("<Q", value)
        elif kind == 4:
            del blob[at:at + r.choice([1, 2, 4, 8, 64])]
        elif kind == 5:
            piece = blob[at:at + r.choice([1, 4, 8, 32])]
            to = r.randrange(end)
            blob[to:to] = piece
        elif kind == 6:
            return bytes(blob[:r.randrange(len(blob))])
        else:
            return mutate_numbers(r, bytes(blob))
    return bytes(blob)


def try_model(what, model, tokens, out, counts):
    result = run("logits", model, "--tokens", tokens, "--out", out, "--threads", "1", timeout=60)
    counts[result.returncode] = counts.get(result.returncode, 0) + 1
    if result.returncode == 0:
        check(os.path.exists(out), what + ": no output")
        os.unlink(out)
        return
    lines = result.err.strip().splitlines()
    if result.returncode not in (2, 4):
        fail("%s: code %d, %s" % (what, result.returncode, result.err[:300]))
    check(len(lines) == 1 and lines[0].startswith("ferry: "), "%s: not one line: %r" % (what, result.err[:500]))
    check(not os.path.exists(out), what + ": output in spite of an error")


def main():
    with workspace() as work:
        tokens = write_tokens(work)
        out = os.path.join(work, "out.f32")
        good = write_model(os.path.join(work, "good"))
        shutil.copy(os.path.join(good, "config.json"), os.path.join(work, "shape.json"))
        gguf = os.path.join(work, "good.gguf")
        made = run("synth", os.path.join(work, "shape.json"), "--quant", "F32", "--out", gguf)
        check(made.returncode == 0, made.err)
        with open(gguf, "rb") as f:
            gguf_bytes = f.read()
        originals = {}
        for name in ("config.json", "model.safetensors"):
            with open(os.path.join(good, name), "rb") as f:
                originals[name] = f.read()

        counts = {}
        for seed in range(PER_FORMAT):
            r = random.Random(seed)
            name = r.choice(["config.json", "model.safetensors", "model.safetensors"])
            for n, original in originals.items():
                with open(os.path.join(good, n), "wb") as f:
                    f.write(mutate(r, original) if n == name else original)
            try_model("safetensors mutation %d of %s" % (seed, name), good, tokens, out, counts)
        print("safetensors: exit codes %s" % sorted(counts.items()))
        check(counts.get(2, 0) > PER_FORMAT // 10, "hardly any mutation was refused")

        counts = {}
        for seed in range(PER_FORMAT):
            with open(gguf, "wb") as f:
                f.write(mutate(random.Random(seed), gguf_bytes))
            try_model("GGUF mutation %d" % seed, gguf, tokens, out, counts)
        print("GGUF: exit codes %s" % sorted(counts.items()))
        check(counts.get(2, 0) > PER_FORMAT // 10, "hardly any mutation was refused")
    finish()


main()
