"""`ferry bench` of small models: the shape of its results, sums that have to be right, bad input.
Times themselves are never asserted."""
import json
import os

from driver import DEMO, check, finish, refused, run, workspace

QUICK = ["--prompt", "48", "--generate", "5", "--repeat", "3", "--no-ceilings"]


def bench(*args):
    result = run("bench", *args)
    check(result.returncode == 0, "ferry bench %s: code %d: %s" % (" ".join(args), result.returncode, result.err))
    return json.loads(result.out) if "--json" in args else result.out


def check_phase(phase, tokens):
    check(phase["tokens"] == tokens and len(phase["seconds"]) == 3, "phase: %s" % phase)
    check(0 < phase["tokens_per_s_min"] <= phase["tokens_per_s"] <= phase["tokens_per_s_max"], "spread: %s" % phase)
    median = sorted(phase["seconds"])[1]
    check(abs(phase["tokens_per_s"] * median - tokens) < 1e-6 * tokens, "median: %s" % phase)
    per_token = phase["weight_bytes_per_token"] + phase["kv_bytes_per_token"]
    check(abs(phase["read_gb_per_s"] * 1e9 - per_token * phase["tokens_per_s"]) < 1e-3 * phase["read_gb_per_s"] * 1e9, "GB/s: %s" % phase)


def shapes():
    result = bench(*QUICK, "--json", "--batch", "1,4", "--context", "0,64", "-t", "1")
    check(result["model"] == "demo" and result["threads"] == 1 and result["ceilings"] is None, "head: %s" % result)
    check([(r["batch"], r["context"]) for r in result["results"]] == [(1, 0), (1, 64), (4, 0), (4, 64)], "points")
    for row in result["results"]:
        check_phase(row["prefill"], 48)
        check_phase(row["decode"], 5 * row["batch"])
        check(row["prefill_tokens_per_s"] == row["prefill"]["tokens_per_s"], "prefill_tokens_per_s")
        check(row["decode_tokens_per_s"] == row["decode"]["tokens_per_s"], "decode_tokens_per_s")
        check(row["share_of_read_ceiling"] is None and row["share_of_matmul_ceiling"] is None, "shares")
    one, far, four, _ = result["results"]
    # One decoding sequence reads all weights but the experts it did not choose, and the file has a
    # further module that is not run.
    check(0.2 * result["file_bytes"] < one["decode"]["weight_bytes_per_token"] < result["file_bytes"], "weights: %s" % one)
    check(four["decode"]["weight_bytes_per_token"] < one["decode"]["weight_bytes_per_token"], "a batch shares weights")
    check(far["decode"]["weight_bytes_per_token"] == one["decode"]["weight_bytes_per_token"], "the context reads no weights")
    with open(os.path.join(DEMO, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    row_bytes = (config["kv_lora_rank"] + config["qk_rope_head_dim"]) * 2 * config["num_hidden_layers"]
    grown = far["decode"]["kv_bytes_per_token"] - one["decode"]["kv_bytes_per_token"]
    check(grown == 64 * row_bytes, "64 more positions read %s bytes more, expected %d" % (grown, 64 * row_bytes))
    exact = bench(*QUICK, "--json", "--batch", "1", "--context", "64", "--kv-dtype", "f32")["results"][0]
    check(exact["decode"]["kv_bytes_per_token"] == 2 * far["decode"]["kv_bytes_per_token"], "bf16, the default, takes half")


def parts():
    only = bench(*QUICK[:2], *QUICK[4:], "--json", "--generate", "0", "--batch", "1", "--context", "0", "--chunk", "20")["results"][0]
    check_phase(only["prefill"], 48)
    check("decode" not in only and only["decode_tokens_per_s"] is None, "--generate 0")
    only = bench(*QUICK[2:], "--json", "--prompt", "0", "--batch", "2", "--context", "16", "--backend", "reference")["results"][0]
    check_phase(only["decode"], 10)
    check("prefill" not in only and only["prefill_tokens_per_s"] is None, "--prompt 0")
    default = bench(*QUICK, "--json", "--batch", "2")["results"]
    check([("skipped" in r) for r in default] == [False, True, True], "contexts beyond the model are left out: %s" % default)
    check("1024" in default[1]["skipped"], default[1]["skipped"])


def profile():
    row = bench(*QUICK, "--json", "--profile", "--batch", "2", "--context", "0")["results"][0]
    for name, attention in (("prefill", "mla_prefill_attention"), ("decode", "mla_decode_attention")):
        phase = row[name]
        ops = {op["op"]: op for op in phase["profile"]}
        check({"matmul", "moe_experts", "embed", attention} <= set(ops), "%s: %s" % (name, sorted(ops)))
        total = sum(op["ms"] for op in phase["profile"])
        check(0 < total <= phase["profile_ms"] * 1.0001, "%s: ops take %g of %g ms" % (name, total, phase["profile_ms"]))
        check(sum(op["share"] for op in phase["profile"]) <= 1.0001, "shares")
        check(phase["profile"] == sorted(phase["profile"], key=lambda op: -op["ms"]), "longest first")
    text = bench(*QUICK, "--profile", "--batch", "2", "--context", "0")
    for part in ("Prefill of 48", "Decode of 5", "moe_experts", "between the ops"):
        check(part in text, "no %r in %s" % (part, text))


def ceilings():
    result = bench("--json", "--prompt", "16", "--generate", "2", "--repeat", "1", "--batch", "1", "--context", "0")
    if result["ceilings"] is None:
        print("too little memory to measure ceilings here")
        return
    check(result["ceilings"]["read_gb_per_s"] > 0, "ceilings: %s" % result["ceilings"])
    row = result["results"][0]
    expected = row["read_gb_per_s"] / result["ceilings"]["read_gb_per_s"]
    check(abs(row["share_of_read_ceiling"] - expected) < 1e-9, "share_of_read_ceiling")
    if result["ceilings"]["matmul_gop_per_s"] > 0:
        expected = row["prefill"]["gop_per_s"] / result["ceilings"]["matmul_gop_per_s"]
        check(abs(row["share_of_matmul_ceiling"] - expected) < 1e-9, "share_of_matmul_ceiling")


def quantised(work):
    path = os.path.join(work, "q.gguf")
    made = run("synth", os.path.join(DEMO, "config.json"), "--quant", "Q4_0", "--layers", "2", "--out", path)
    check(made.returncode == 0, "synth: " + made.err)
    row = bench(path, *QUICK, "--json", "--batch", "1", "--context", "32")["results"][0]
    check_phase(row["prefill"], 48)
    check_phase(row["decode"], 5)
    check(row["decode"]["weight_bytes_per_token"] < os.path.getsize(path), "more bytes than the file has")


def speculation(work):
    flags = ["--speculate", "mtp", "--generate", "24", "--repeat", "2", "--batch", "1,3"]
    result = bench(*flags, "--json")
    check(result["model"] == "demo" and result["speculate"] == "mtp" and not result["random_weights"], "head: %s" % result)
    check([row["batch"] for row in result["results"]] == [1, 3], "batches")
    for row in result["results"]:
        off = row["off"]
        check(0 < row["accepted_tokens"] <= row["draft_tokens"], "guesses: %s" % row)
        check(row["acceptance_rate"] == row["accepted_tokens"] / row["draft_tokens"] > 0.5, "it guesses its own tasks well: %s" % row)
        check(row["tokens_per_step"] > 1.3 and off["tokens_per_step"] == 1 and off["draft_tokens"] == 0, "tokens a step: %s" % row)
        check(row["output_tokens"] == off["output_tokens"] and row["same_tokens"] is True, "other answers: %s" % row)
        for rates in (row, off):
            check(0 < rates["decode_tokens_per_s_min"] <= rates["decode_tokens_per_s"] <= rates["decode_tokens_per_s_max"], "rates: %s" % rates)
        check(abs(row["speedup"] - row["decode_tokens_per_s"] / off["decode_tokens_per_s"]) < 1e-9, "speedup: %s" % row)
    text = bench(*flags)
    check("tasks of the built-in model" in text and "tokens/step" in text and "random" not in text, text)

    folder, prompts = os.path.join(work, "random"), os.path.join(work, "prompts.txt")
    made = run("synth", os.path.join(DEMO, "config.json"), "--layers", "2", "--mtp", "--out", folder)
    check(made.returncode == 0, "synth: " + made.err)
    with open(prompts, "w", encoding="utf-8") as f:
        f.write("one two\n\nthree\n")
    flags = [folder, "--speculate", "mtp", "--prompts", prompts, "--generate", "8", "--repeat", "1", "--batch", "1"]
    result = bench(*flags, "--json")
    check(result["random_weights"] is True and result["num_prompts"] == 2 and result["prompts"] == prompts, "random: %s" % result)
    check(result["results"][0]["draft_tokens"] > 0 and result["results"][0]["same_tokens"], "random: %s" % result)
    check("The weights are random" in bench(*flags), "does not say that the weights are random")
    for name in ("--prompt", "--context", "--chunk"):
        refused("answers have no " + name, ["bench", "--speculate", "mtp", name, "16"], name, "--speculate")
    without = os.path.join(work, "q.gguf")
    refused("a model without a module", ["bench", without, "--speculate", "mtp"], "has no prediction module (MTP)")
    refused("no prompts", ["bench", "--speculate", "mtp", "--prompts", os.path.join(work, "none")], "none", code=2)


def bad_input():
    refused("no such model", ["bench", "/no/such/model"], "/no/such/model")
    refused("a context beyond the model", ["bench", "--context", "0,4096"], "--context", "4096", "1024")
    refused("a prompt beyond the model", ["bench", "--prompt", "5000"], "5000", "1024")
    refused("nothing to do", ["bench", "--prompt", "0", "--generate", "0"], "--prompt", "--generate")
    refused("no repeat", ["bench", "--repeat", "0"], "--repeat")
    refused("no batch", ["bench", "--batch", "0"], "--batch")
    refused("a batch that is none", ["bench", "--batch", "1,many"], "many")
    refused("a negative context", ["bench", "--context", "-1"], "--context")
    refused("no such type", ["bench", "--kv-dtype", "f64"], "--kv-dtype")
    refused("no such backend", ["bench", "--backend", "abacus"], "abacus")
    refused("a batch beyond any engine", ["bench", "--batch", "2048"], "--batch")


def main():
    with workspace() as work:
        shapes()
        parts()
        profile()
        ceilings()
        quantised(work)
        speculation(work)
        bad_input()
    finish()


main()
