"""Every command as a user meets it: help, results, --json, exit codes, configuration."""
import json
import os
import subprocess

from driver import DEMO, FERRY, check, finish, refused, run, workspace, write_tokens

COMMANDS = ["run", "complete", "show", "ls", "pull", "pack", "doctor", "bench", "logits", "tokenize", "synth", "plan",
            "completion"]
PROMPT = "<｜begin▁of▁sentence｜><｜User｜>What is 12 + 30?<｜Assistant｜><think>"


def ok(*args, **kwargs):
    result = run(*args, **kwargs)
    check(result.returncode == 0, "ferry %s: code %d: %s" % (" ".join(args), result.returncode, result.err))
    return result


def ok_json(*args, **kwargs):
    return json.loads(ok(*args, **kwargs).out)


def help_texts():
    top = ok("--help").out
    for name in COMMANDS:
        check(("\n  %s " % name) in top, "%s is not in --help" % name)
        text = ok(name, "--help").out
        check("Usage: ferry %s" % name in text, "%s --help: %s" % (name, text[:200]))
    check(ok("--version").out.startswith("ferry "), "--version")
    check(ok().out == top, "no command prints the help")


def completions():
    for shell in ("bash", "zsh", "fish"):
        script = ok("completion", shell).out
        for name in COMMANDS:
            check(name in script, "%s: no %s" % (shell, name))
        try:
            parsed = subprocess.run([shell, "-n"], input=script.encode(), capture_output=True)
        except FileNotFoundError:
            print("%s is not installed: its script is not parsed" % shell)
            continue
        check(parsed.returncode == 0, "%s does not parse: %s" % (shell, parsed.stderr.decode()))


def looking():
    shown = ok_json("show", "--json")
    check(shown["architecture"] == "deepseek_v3" and shown["memory"]["kv_bytes"] > 0, "show --json")
    check(shown["memory"]["expert_bytes"] == 5 * 8 * 3 * 256 * 128 * 2, "show: what may stay in the file")
    check(shown["memory"]["expert_memory_bytes"] == 0, "show: the built-in model fits into memory")
    check(shown == ok_json("show", "demo", "--json"), "demo is the built-in model")
    check("MLA" in ok("show", DEMO).out, "show of a folder")
    listed = ok_json("ls", "--json", env={"HF_HUB_CACHE": "/nonexistent"})
    check([m["name"] for m in listed["models"]] == ["demo"], "ls --json")
    machine = ok_json("doctor", "--json")
    check({c["backend"] for c in machine["chips"]} >= {"cpu", "reference"}, "doctor --json")
    check("CPU" in ok("doctor").out, "doctor")


def text_and_tokens(work):
    with open(os.path.join(DEMO, "goldens", "tokens.json"), encoding="utf-8") as f:
        goldens = json.load(f)
    for golden in goldens[:12]:
        check(ok_json("tokenize", DEMO, "--text", golden["text"], "--json") == golden["ids"],
              "tokenize %r" % golden["text"])
    path = os.path.join(work, "text.txt")
    with open(path, "w", encoding="utf-8") as f:
        f.write(goldens[3]["text"])
    check(ok_json("tokenize", "--file", path, "--json") == goldens[3]["ids"], "tokenize --file")
    check(ok_json("tokenize", "--file", "-", "--json", stdin=goldens[3]["text"].encode()) == goldens[3]["ids"],
          "tokenize from standard input")
    check(ok_json("tokenize", "--text", "a", "--json", "--add-special")[0] == 0, "--add-special")
    out = os.path.join(work, "l.f32")
    written = ok_json("logits", "--tokens", write_tokens(work), "--out", out, "--json")
    check(written["bytes"] == 3 * 1024 * 4 == os.path.getsize(out), "logits")


def answers():
    answer = ok("complete", "demo", "-p", PROMPT).out
    check(answer.endswith("</think>The answer is 42.\n"), "complete: %r" % answer)
    result = ok_json("run", "-p", "What is 12 + 30?", "--thinking", "--json")
    check("The answer is 42." in json.dumps(result), "run --json: %s" % result)
    same = [ok("complete", "demo", "-p", PROMPT, "--temperature", "1.5", "--seed", "7").out for _ in range(2)]
    check(same[0] == same[1], "one seed, two texts: %r" % same)
    check("42" in ok("run", "-p", "-", "--thinking", stdin=b"What is 12 + 30?").out, "run -p -")


def synthesis(work):
    shape = os.path.join(DEMO, "config.json")
    for name, quant in (("a.gguf", "Q8_0"), ("b.gguf", "Q4_K_M"), ("e.gguf", "IQ2_XXS"), ("c", "BF16"), ("d", "FP8")):
        path = os.path.join(work, name)
        ok("synth", shape, "--quant", quant, "--out", path, "--layers", "2")
        check(ok_json("show", path, "--json")["num_hidden_layers"] == 2, "show %s" % name)
        ok("complete", path, "-p", "hello the", "--max-tokens", "4")
        refused("what is there stays", ["synth", shape, "--quant", quant, "--out", path], path)
    refused("an unknown shape", ["synth", "wizard-7b", "--out", os.path.join(work, "w.gguf")], "wizard-7b", "deepseek-v2-lite")
    refused("an unknown format", ["synth", shape, "--quant", "Q9", "--out", os.path.join(work, "w.gguf")], "Q9", "Q4_K_M")
    shapes = {s["name"]: s["parameters"] for s in ok_json("synth", "--list", "--json")}
    for name, parameters in (("deepseek-v2-lite", 15706484224), ("deepseek-v3", 671026419200),
                             ("kimi-k2", 1026408232448), ("qwen3-30b-a3b", 30532122624)):
        check(shapes[name] == parameters, "%s has %d parameters" % (name, shapes[name]))


def configuration(work):
    folder = os.path.join(work, "config", "ferry")
    os.makedirs(folder)
    with open(os.path.join(folder, "config.toml"), "w", encoding="utf-8") as f:
        f.write("[show]\ncontext = 128\n")
    env = {"XDG_CONFIG_HOME": os.path.join(work, "config")}
    check(ok_json("show", "--json", env=env)["memory"]["context"] == 128, "config file")
    env["FERRY_CONTEXT"] = "256"
    check(ok_json("show", "--json", env=env)["memory"]["context"] == 256, "environment before file")
    check(ok_json("show", "--json", "-c", "512", env=env)["memory"]["context"] == 512, "flag before environment")
    check("context" in ok("show", "-c", "512", "--print-config").out, "--print-config")


def main():
    check(os.access(FERRY, os.X_OK), "no binary")
    with workspace() as work:
        help_texts()
        completions()
        looking()
        text_and_tokens(work)
        answers()
        synthesis(work)
        configuration(work)
    finish()


main()
