"""What `ferry doctor` says of cuBLASLt: found, with its version and the op that uses it, or why not.

  doctor.py FERRY DRIVER CUBLASLT     CUBLASLT: the folders of releases are CUBLASLT-NAME
"""
import json
import os
import subprocess
import sys

FERRY, DRIVER, CUBLASLT = sys.argv[1:4]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED: " + what)


def doctor(folder, *arguments, **settings):
    return subprocess.run([FERRY, "doctor", *arguments], capture_output=True, text=True,
                          env={**os.environ, "FERRY_CUDA_DRIVER": DRIVER, "FERRY_CUBLASLT": folder,
                               **settings})


for folder, settings, said in (
        (CUBLASLT + "-current", {},
         "; cublasLtMatmul of libcublasLt.so.13 (13.1.0) for more than 128 tokens by bf16, f16 or f32"),
        (CUBLASLT + "-older", {}, "; cublasLtMatmul of libcublasLt.so.12 (12.1.0) for more than"),
        (CUBLASLT + "-broken", {}, "never cuBLASLt, as libcublasLt.so.13 has no cublasLtMatmulAlgo"),
        (CUBLASLT + "-current", {"FERRY_EMULATED_CUBLASLT": "handle"},
         "never cuBLASLt, as cublasLtCreate of libcublasLt.so.13 (13.1.0): CUBLAS_STATUS_NOT_INIT"),
        ("/nonexistent", {}, "never cuBLASLt, as libcublasLt.so.11 can't be opened (/nonexistent/")):
    done = doctor(folder, "--json", **settings)
    check(done.returncode == 0, "%s: %d %s" % (folder, done.returncode, done.stderr))
    cuda = next(c for c in json.loads(done.stdout)["chips"] if c["backend"] == "cuda")
    using = {op["op"]: op["proof"] for op in cuda["ops"] if "cublas" in op["how"].lower()}
    check(using == {"matmul": "emulated"}, "%s: ops by cuBLASLt: %r" % (folder, using))
    how = next(op["how"] for op in cuda["ops"] if op["op"] == "matmul")
    check(said in how, "%s: matmul: %r" % (folder, how))

text = doctor(CUBLASLT + "-current").stdout
line = next((line for line in text.splitlines() if line.strip().startswith("matmul ")), "")
check("libcublasLt.so.13 (13.1.0)" in line and line.endswith("[emulated]"), "text: %r" % line)

done = doctor(CUBLASLT + "-current", "--conformance", "--backend", "cuda", "--filter",
              "matmul BF16 T=150", FERRY_EMULATED_WRONG="cublasLtMatmul")
check(done.returncode != 0, "a wrong cublasLtMatmul passes: " + done.stdout)

print("%d failures" % len(failures))
sys.exit(1 if failures else 0)
