"""`ferry doctor` on the emulated CANN: what it says of ops, and conformance that passes and fails; and
`ferry logits --compare`, which finds an operator that is wrong.

  doctor.py FERRY CANN     CANN: the folders of releases are CANN-NAME
"""
import json
import os
import subprocess
import sys
import tempfile

FERRY, CANN = sys.argv[1:3]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED: " + what)


def doctor(release, *arguments, **settings):
    return subprocess.run([FERRY, "doctor", *arguments], capture_output=True, text=True,
                          env={**os.environ, "ASCEND_HOME_PATH": CANN + "-" + release, **settings})


def paths(release, wrong=""):
    chips = json.loads(doctor(release, "--json", FERRY_EMULATED_WRONG=wrong).stdout)["chips"]
    ascend = next(chip for chip in chips if chip["backend"] == "ascend")
    return {op["op"]: (op["how"], op["proof"]) for op in ascend["ops"]}


# Attention is the newest version that is there and right.
for release, wrong, version in (("current", "", "V4"), ("split", "", "V3"), ("old", "", "V2"),
                                ("current", "aclnnFusedInferAttentionScoreV4", "V3")):
    said = paths(release, wrong)["gqa_attention"][0]
    check("aclnnFusedInferAttentionScore%s " % version in said,
          "%s without %r: %s" % (release, wrong, said))
for operator, op, otherwise in (
        ("aclnnWeightQuantBatchMatmulV2", "matmul", "aclnnWeightQuantBatchMatmulV2 is missing or wrong"),
        ("aclnnSwiGlu", "moe_experts", "; aclnnSigmoid, aclnnMul"),
        ("aclnnRotaryPositionEmbedding", "rope", "composite: aclnnIndexSelect")):
    said = paths("current")[op][0]
    check(operator in said and otherwise not in said, "right: " + said)
    said = paths("current", operator)[op][0]
    check(otherwise in said, "wrong: " + said)

# Collectives are HCCL's where it is there, and checked where there are devices to join.
def collectives(release):
    chips = json.loads(doctor(release, "--json").stdout)["chips"]
    ascend = next(chip for chip in chips if chip["backend"] == "ascend")
    return {one["name"]: one["how"] for one in ascend["collectives"]}


check(collectives("current")["all_to_all_v"] == "HcclAlltoAllV", "collectives: current")
check("host memory, as libhccl.so can't be opened" in collectives("old")["all_reduce"],
      "collectives: %r" % collectives("old"))
for wrong, code in (("", 0), ("HcclReduceScatter", 1)):
    joined = doctor("current", "--conformance", "--backend", "ascend", "--filter", "reduce_scatter",
                    FERRY_EMULATED_DEVICES="2", FERRY_EMULATED_WRONG=wrong)
    check(joined.returncode == code and ("FAILED reduce_scatter f32" in joined.stdout) == bool(wrong),
          "collectives with %r: %d %s" % (wrong, joined.returncode, joined.stdout + joined.stderr))

how = paths("old")
check(how["grouped_matmul"] == ("aclnnGroupedMatmulV4", "emulated"), "old release: %r" % (how,))
check(how["rms_norm"][0].startswith("host, as aclnnRmsNorm is missing"), "old release: %r" % (how,))

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "report.json")
    arguments = ("--conformance", "--backend", "ascend", "--filter", "grouped_matmul", "--out", path)
    good = doctor("current", *arguments)
    check(good.returncode == 0, "conformance: %d %s" % (good.returncode, good.stdout + good.stderr))
    report = json.load(open(path, encoding="utf-8"))[0]
    check(report["device"] == "Ascend910B3" and report["failed"] == 0, "report: %r" % (report,))
    check(report["passed"] == len(report["cases"]) > 0, "report: %r" % (report,))

    # An operator that multiplies by the wrong expert's weights.
    bad = doctor("current", *arguments, FERRY_EMULATED_WRONG="aclnnGroupedMatmulV5")
    report = json.load(open(path, encoding="utf-8"))[0]
    check(bad.returncode == 1 and "FAILED grouped_matmul" in bad.stdout,
          "a wrong operator: %d %s" % (bad.returncode, bad.stdout + bad.stderr))
    check(report["failed"] > 0, "a wrong operator: %r" % (report["failed"],))

    nowhere = doctor("current", *arguments[:-1], os.path.join(folder, "no", "report.json"))
    check(nowhere.returncode == 3 and nowhere.stdout == "", "no folder: %r" % (nowhere,))

    # The same operator in a model: the first op that is wrong is the first of experts.
    ids = os.path.join(folder, "ids.json")
    with open(ids, "w", encoding="utf-8") as f:
        json.dump([5, 17, 300, 42, 9], f)
    for wrong, code in (("", 0), ("aclnnGroupedMatmulV5", 1)):
        run = subprocess.run(
            [FERRY, "logits", "demo", "--tokens", ids, "--backend", "ascend", "--compare",
             "reference", "--json"], capture_output=True, text=True,
            env={**os.environ, "ASCEND_HOME_PATH": CANN + "-current", "FERRY_EMULATED_WRONG": wrong})
        check(run.returncode == code, "comparing: %d %s" % (run.returncode, run.stderr))
        first = json.loads(run.stdout)["first_wrong"] or {}
        check((first.get("op"), first.get("layer")) == (("moe_experts", 1) if wrong else (None, None)),
              "comparing with %r: %r" % (wrong, first))

print("%d failures" % len(failures))
sys.exit(1 if failures else 0)
