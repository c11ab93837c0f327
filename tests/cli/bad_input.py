"""Bad input: one clear line that names file, tensor or key, what was found and what was expected;
exit code 2; no crash, no partial output.
"""
import json
import os
import struct

from driver import (DEMO, TINY, check, finish, read_safetensors, refused, run, tiny_safetensors,
                    tiny_tensors, workspace, write_model, write_tokens)


def logits(folder, tokens, work):
    return ["logits", folder, "--tokens", tokens, "--out", os.path.join(work, "out.f32")]


def changed(**changes):
    config = dict(TINY)
    config.update(changes)
    return {k: v for k, v in config.items() if v is not ...}


def configs(work, tokens):
    cases = [
        ("a key of the wrong type", changed(hidden_size="8"), ["config.json", "hidden_size", "integer", "string"]),
        ("a missing key", changed(num_hidden_layers=...), ["num_hidden_layers"]),
        ("a negative size", changed(intermediate_size=-1), ["intermediate_size", "-1"]),
        ("an absurd size", changed(vocab_size=2**62), ["vocab_size"]),
        ("heads that do not divide", changed(num_attention_heads=3), ["q_proj", "[8, 8]"]),
        ("an unknown architecture", changed(model_type="wizard", architectures=["WizardForCausalLM"]), ["wizard"]),
        ("V4 with another model's keys", changed(model_type="deepseek_v4", architectures=["DeepseekV4ForCausalLM"]), ["head_dim", "expected"]),
        ("V4.1", changed(model_type="deepseek_v4", kv_source_layer_ids=[0, 1]), ["V4.1", "not supported"]),
        ("a multimodal wrapper", changed(model_type="kimi_k25", architectures=["KimiK25ForConditionalGeneration"]), ["kimi_k25"]),
        ("an array for a number", changed(rms_norm_eps=[1]), ["rms_norm_eps"]),
        ("rope scaling unknown", changed(rope_scaling={"type": "spiral", "factor": 2}), ["spiral"]),
        ("not JSON", "{\"model_type\": ", ["config.json", "JSON"]),
        ("a key twice", "{\"hidden_size\": 1, \"hidden_size\": 2}", ["hidden_size", "twice"]),
        ("a JSON bomb", "[" * 100000, ["config.json", "nested"]),
        ("an array", "[]", ["config.json"]),
    ]
    for n, (what, config, parts) in enumerate(cases):
        folder = write_model(os.path.join(work, "c%d" % n), config)
        refused(what, logits(folder, tokens, work), *parts)
        refused(what, ["show", folder], *parts)


def tensors(work, tokens):
    def spoiled(change):
        header, data = tiny_safetensors()
        header = json.loads(json.dumps(header))
        result = change(header, data)
        return (header, data) if result is None else result

    q = "model.layers.0.self_attn.q_proj.weight"

    def drop(header, data):
        end = max(t["data_offsets"][1] for t in header.values())
        del header["model.layers.0.mlp.down_proj.weight"]
        assert end == len(data)
        return header, data[:max(t["data_offsets"][1] for t in header.values())]

    def reshape(header, data):
        header[q]["shape"] = [4, 16]

    def overlap(header, data):
        header[q]["data_offsets"] = header["lm_head.weight"]["data_offsets"]

    def outside(header, data):
        begin, end = header[q]["data_offsets"]
        header[q]["data_offsets"] = [begin + (1 << 40), end + (1 << 40)]

    def overflow(header, data):
        header[q]["shape"] = [1 << 40, 1 << 40]

    def dtype(header, data):
        header[q]["dtype"] = "F7_E3M3"

    def extra(header, data):
        header["model.layers.0.wizard.weight"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
        return header, data + b"\0\0\0\0"

    def not_finite(header, data):
        begin = header[q]["data_offsets"][0]
        return header, data[:begin] + struct.pack("<f", float("nan")) + data[begin + 4:]

    cases = [
        ("a missing tensor", drop, ["down_proj"]),
        ("a wrong shape", reshape, ["model.safetensors", q, "[4, 16]", "[8, 8]"]),
        ("overlapping tensors", overlap, ["model.safetensors"]),
        ("a tensor outside the file", outside, ["model.safetensors", "q_proj"]),
        ("a size that overflows", overflow, ["model.safetensors", "q_proj"]),
        ("an unknown dtype", dtype, ["F7_E3M3", "q_proj"]),
        ("a tensor nobody wants", extra, ["wizard"]),
        ("a NaN", not_finite, ["q_proj"]),
    ]
    for n, (what, change, parts) in enumerate(cases):
        header, data = spoiled(change)
        folder = write_model(os.path.join(work, "t%d" % n), None, header, data)
        refused(what, logits(folder, tokens, work), *parts)

    header, data = tiny_safetensors()
    doubled = json.dumps(header)[:-1] + ", " + json.dumps({q: header[q]})[1:]
    folder = write_model(os.path.join(work, "twice"), None, doubled.encode(), data)
    refused("a doubled tensor", logits(folder, tokens, work), q, "twice")
    for n, size in enumerate((0, 4, 8, 100, 2000)):
        folder = write_model(os.path.join(work, "short%d" % n))
        path = os.path.join(folder, "model.safetensors")
        with open(path, "r+b") as f:
            f.truncate(size)
        refused("truncated to %d bytes" % size, logits(folder, tokens, work), "model.safetensors")


def fp8_scales(work, tokens):
    shapes = tiny_tensors()
    name = "model.layers.0.mlp.gate_proj.weight"
    for n, (what, value, parts) in enumerate((
            ("a NaN scale", float("nan"), ["gate_proj", "scale"]),
            ("an infinite scale", float("inf"), ["gate_proj", "scale"]))):
        header, data = tiny_safetensors({k: v for k, v in shapes.items() if k != name})
        codes = bytes([0x38] * (shapes[name][0] * shapes[name][1]))
        header[name] = {"dtype": "F8_E4M3", "shape": shapes[name], "data_offsets": [len(data), len(data) + len(codes)]}
        data += codes
        header[name + "_scale_inv"] = {"dtype": "F32", "shape": [1, 1], "data_offsets": [len(data), len(data) + 4]}
        data += struct.pack("<f", value)
        folder = write_model(os.path.join(work, "s%d" % n), None, header, data)
        refused(what, logits(folder, tokens, work), *parts)


def packed_int4(work, tokens):
    name = "model.layers.0.mlp.down_proj.weight"
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}

    def model(folder, quantization=None, dtype="I32", cols=4, scale=0.5, shape=(8, 32), without=(), extra=None, **changes):
        config = changed(intermediate_size=32, quantization_config=quantization or {
            "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"weights": {**weights, **changes}}}})
        shapes = {k: v for k, v in tiny_tensors(config).items() if k != name}
        header, data = tiny_safetensors(shapes)
        parts = {"_packed": (dtype, [8, cols], bytes(range(128))[:32 * cols]),
                 "_scale": ("F32", [8, 1], struct.pack("<8f", *[scale] * 8)),
                 "_shape": ("I32", [2], struct.pack("<2i", *shape)), **(extra or {})}
        for end, (kind, size, blob) in parts.items():
            if end in without:
                continue
            header[name + end] = {"dtype": kind, "shape": size, "data_offsets": [len(data), len(data) + len(blob)]}
            data += blob
        return write_model(os.path.join(work, folder), config, header, data)

    good = run(*logits(model("i"), tokens, work))
    check(good.returncode == 0, "packed INT4: " + good.err)
    os.remove(os.path.join(work, "out.f32"))
    doubled = {"": ("F32", [8, 32], bytes(1024))}
    zeros = {"_zero_point": ("I32", [8, 1], bytes(32))}
    other = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    for n, (what, args, parts) in enumerate((
            ("another method", {"quantization": {"quant_method": "gptq"}}, ["config.json", "gptq"]),
            ("another format", {"quantization": other}, ["format", "float-quantized"]),
            ("eight bits", {"num_bits": 8}, ["num_bits", "8", "4"]),
            ("floats", {"type": "float"}, ["type", "float"]),
            ("a scale per channel", {"strategy": "channel"}, ["strategy", "channel"]),
            ("columns in another order", {"actorder": "static"}, ["actorder", "static"]),
            ("asymmetric", {"symmetric": False}, ["symmetric"]),
            ("a group of another size", {"group_size": 16}, [name + "_scale", "[8, 1]", "[8, 2]"]),
            ("another type", {"dtype": "F32"}, ["down_proj.weight_packed", "F32", "I32"]),
            ("too few columns", {"cols": 3}, ["down_proj.weight_packed", "[8, 3]"]),
            ("no scales", {"without": ("_scale",)}, ["weight_scale", "missing"]),
            ("a NaN scale", {"scale": float("nan")}, ["weight_scale", "finite"]),
            ("another stated shape", {"shape": (32, 8)}, ["weight_shape", "[32, 8]", "[8, 32]"]),
            ("doubled", {"extra": doubled}, ["down_proj.weight"]),
            ("zero points", {"extra": zeros}, ["weight_zero_point"]))):
        refused("INT4: " + what, logits(model("i%d" % n, **args), tokens, work), *parts)


def arguments(work, tokens):
    out = os.path.join(work, "out.f32")
    refused("no such model", ["show", "no/such"], "no/such", "ferry pull no/such")
    refused("a folder that is no model", ["show", work], work, "config.json")
    refused("an unknown command", ["frobnicate"], "frobnicate")
    refused("an unknown flag", ["show", "--frobnicate"], "frobnicate", "ferry show --help")
    refused("a number that is none", ["show", "-c", "many"], "many")
    refused("an unknown backend", ["logits", DEMO, "--backend", "abacus", "--tokens", tokens, "--out", out],
            "abacus", "cpu", "reference")
    refused("an unknown level", ["logits", DEMO, "--tokens", tokens, "--out", out], "FERRY_CPU", "abacus",
            "avx2", env={"FERRY_CPU": "abacus"})
    for what, text, parts in (("no JSON", "[1, 2", ["JSON"]), ("no array", "{}", ["array"]),
                              ("an empty array", "[]", ["empty"]), ("a string", "[1, \"2\"]", ["entry 1"]),
                              ("beyond the vocabulary", "[1, 5000]", ["5000", "1023"]),
                              ("negative", "[-1]", ["-1"]), ("huge", "[99999999999999999999]", ["entry 0"])):
        path = os.path.join(work, "ids.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        refused("tokens: " + what, ["logits", DEMO, "--tokens", path, "--out", out], *parts)
    refused("tokens: not there", ["logits", DEMO, "--tokens", "/no/where.json", "--out", out], "/no/where.json")
    refused("too long for the model", ["logits", DEMO, "--tokens", write_tokens(work, [5] * 2000), "--out", out],
            "2000", "1024")
    refused("an output that is a folder", ["logits", DEMO, "--tokens", tokens, "--out", work], work)
    check(not os.path.exists(out), "a failed run left %s behind" % out)
    left = [n for n in os.listdir(work) if ".part-" in n]
    check(not left, "left behind: %s" % left)


BYTES = {chr(c): n for n, c in enumerate(
    [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)])}


def tokenizers(work):
    for n, (what, text, parts) in enumerate((
            ("unknown model", {"model": {"type": "Unigram", "vocab": []}}, ["Unigram"]),
            ("unknown pre-tokenizer", {"pre_tokenizer": {"type": "Wizard"}, "model": {"type": "BPE", "vocab": BYTES, "merges": []}}, ["Wizard"]),
            ("byte fallback", {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": True}}, ["byte_fallback"]))):
        folder = os.path.join(work, "k%d" % n)
        os.makedirs(folder)
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
            json.dump(text, f)
        refused("tokenizer: " + what, ["tokenize", folder, "--text", "x"], "tokenizer.json", *parts)


def main():
    with workspace() as work:
        tokens = write_tokens(work)
        folder = write_model(os.path.join(work, "good"))
        result = run(*logits(folder, tokens, work))
        check(result.returncode == 0, "the unspoiled model does not load: " + result.err)
        os.unlink(os.path.join(work, "out.f32"))
        header, data = read_safetensors(os.path.join(folder, "model.safetensors"))
        check(len(header) == len(tiny_tensors()) and data, "test data")
        configs(work, tokens)
        tensors(work, tokens)
        fp8_scales(work, tokens)
        packed_int4(work, tokens)
        arguments(work, tokens)
        tokenizers(work)
    finish()


main()
