"""`ferry bench` on the emulated GPU takes the engine's way: the largest logits are found there. And
what `ferry show` says that ops take for themselves.

  bench.py FERRY DRIVER
"""
import json
import os
import subprocess
import sys

FERRY, DRIVER = sys.argv[1:3]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED: " + what)


def ferry(*arguments):
    result = subprocess.run([FERRY, *arguments, "--json"], capture_output=True, text=True,
                            env={**os.environ, "FERRY_CUDA_DRIVER": DRIVER, "FERRY_CUBLASLT": "/nonexistent"})
    check(result.returncode == 0, "%s: code %d: %s" % (arguments, result.returncode, result.stderr))
    return json.loads(result.stdout)


def calls_of_top_logits(backend):
    result = ferry("bench", "--backend", backend, "--prompt", "20", "--generate", "3", "--repeat", "1", "--batch", "2",
                   "--context", "16", "--no-ceilings", "--profile")["results"][0]
    return [sum(op["calls"] for op in result[phase]["profile"] if op["op"] == "top_logits") for phase in ("prefill", "decode")]


on_gpu = calls_of_top_logits("cuda")
check(on_gpu[0] == 1 and on_gpu[1] > 0, "calls of top_logits: %s" % on_gpu)
on_host = calls_of_top_logits("cpu")
check(on_host == [0, 0], "where rows need not be brought anywhere: %s" % on_host)

memory = ferry("show", "--backend", "cuda")["memory"]
check(memory["scratch_bytes"] > 0, "scratch: %s" % memory)
lines = ("weights", "kv", "workspace", "scratch", "logits", "index")
check(memory["total_bytes"] == sum(memory[line + "_bytes"] for line in lines), "sum: %s" % memory)
check(ferry("show", "--backend", "cpu")["memory"]["scratch_bytes"] == 0, "scratch of the cpu")
sys.exit(1 if failures else 0)
