"""What the tests of the binary share: running it, and small checkpoints to spoil.

Every test file is called as  NAME.py FERRY SOURCE_DIR.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

FERRY, SOURCE = sys.argv[1], os.path.abspath(sys.argv[2])
DEMO = os.path.join(SOURCE, "demo")

failures = []


def run(*args, stdin=None, env=None, timeout=120):
    """The finished process; a crash (signal) is a failure at once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FERRY_", "HF_"))}
    environment.update({"HOME": "/nonexistent", "NO_COLOR": "1"}, **(env or {}))
    for name in ("FERRY_CPU",):
        if name in os.environ:
            environment[name] = os.environ[name]
    result = subprocess.run([FERRY, *args], input=stdin, capture_output=True, timeout=timeout,
                            env=environment)
    result.out = result.stdout.decode("utf-8", "replace")
    result.err = result.stderr.decode("utf-8", "replace")
    if result.returncode < 0:
        fail("ferry %s died of signal %d\n%s" % (" ".join(args), -result.returncode, result.err))
    return result


def fail(text):
    failures.append(text)
    print("FAILED: " + text)


def check(condition, text):
    if not condition:
        fail(text)


def refused(what, args, *parts, code=2, stdin=None, env=None):
    """One line on stderr that holds every part, nothing on stdout, the exit code."""
    result = run(*args, stdin=stdin, env=env)
    lines = [line for line in result.err.splitlines() if line.startswith("ferry: ")]
    text = "%s: %s → code %d, stdout %r, stderr %r" % (
        what, " ".join(args), result.returncode, result.out[:200], result.err[:600])
    check(result.returncode == code, "exit code: " + text)
    check(result.out == "", "partial output: " + text)
    check(len(lines) >= 1 and lines[-1] == result.err.splitlines()[-1], "not one line: " + text)
    for part in parts:
        check(part in result.err, "says nothing of %r: %s" % (part, text))
    return result


def finish():
    print("%d failures" % len(failures))
    sys.exit(1 if failures else 0)


def safetensors(header, data):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


def read_safetensors(path):
    with open(path, "rb") as f:
        blob = f.read()
    size = struct.unpack("<Q", blob[:8])[0]
    return json.loads(blob[8:8 + size]), blob[8 + size:]


TINY = {  # a Qwen2 that is hardly there
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 16,
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}


def tiny_tensors(config=None):
    c = config or TINY
    d, i, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    kv = d // c["num_attention_heads"] * c["num_key_value_heads"]
    tensors = {"model.embed_tokens.weight": [v, d], "model.norm.weight": [d],
               "lm_head.weight": [v, d]}
    p = "model.layers.0."
    tensors.update({
        p + "input_layernorm.weight": [d], p + "post_attention_layernorm.weight": [d],
        p + "self_attn.q_proj.weight": [d, d], p + "self_attn.q_proj.bias": [d],
        p + "self_attn.k_proj.weight": [kv, d], p + "self_attn.k_proj.bias": [kv],
        p + "self_attn.v_proj.weight": [kv, d], p + "self_attn.v_proj.bias": [kv],
        p + "self_attn.o_proj.weight": [d, d], p + "mlp.gate_proj.weight": [i, d],
        p + "mlp.up_proj.weight": [i, d], p + "mlp.down_proj.weight": [d, i]})
    return tensors


def tiny_safetensors(tensors=None):
    header, data = {}, b""
    for n, (name, shape) in enumerate((tensors or tiny_tensors()).items()):
        count = 1
        for dim in shape:
            count *= dim
        blob = b"".join(struct.pack("<f", ((k * 37 + n * 11) % 64 - 32) / 64.0)
                        for k in range(count))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(blob)]}
        data += blob
    return header, data


def write_model(folder, config=None, header=None, data=None):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        f.write(config if isinstance(config, str) else json.dumps(config or TINY))
    if header is None:
        header, data = tiny_safetensors()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(safetensors(header, data))
    return folder


def workspace():
    return tempfile.TemporaryDirectory(prefix="ferry-cli-")


def write_tokens(folder, ids=(1, 2, 3)):
    path = os.path.join(folder, "tokens.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(list(ids), f)
    return path
