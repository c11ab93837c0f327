"""Packed copies as a user meets them: `ferry pack`, starts that use the copy, copies that do not hold."""
import json
import os
import resource
import shutil
import signal
import subprocess

from driver import DEMO, FERRY, check, finish, refused, run, workspace

PROMPT = ["-p", "hello the", "-n", "6", "--temperature", "0"]


def complete(model, env, *flags):
    result = run("complete", model, *PROMPT, "-v", *flags, env=env)
    check(result.returncode == 0, "complete %s: %s" % (flags, result.err))
    return result


def mapped(result):
    return "are mapped from" in result.err


def copies(env):
    return json.loads(run("pack", "--list", "--json", env=env).out)["copies"]


def leftovers(env):
    folder = os.path.join(env["XDG_CACHE_HOME"], "ferry", "packed")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def made_and_used(model, env):
    plain = complete(model, env, "--pack-weights", "never")
    check(not mapped(plain) and not mapped(complete(model, env)), "a copy out of nowhere")
    between = complete(model, env, "--pack-weights", "auto")
    check(between.out == plain.out and "packed between steps" in between.err, "auto: %s" % between.err)
    made = run("pack", model, "--json", env=env)
    check(made.returncode == 0, "pack: %s" % made.err)
    report = json.loads(made.out)
    check(os.path.getsize(report["path"]) == report["bytes"] > 100000, "pack --json: %s" % report)
    check(report["matrices"] > 20 and not report["there_before"], "pack --json: %s" % report)
    again = run("pack", model, env=env)
    check(again.out == report["path"] + "\n" and "was there already" in again.err and "--remove" in again.err,
          "pack twice: %s%s" % (again.out, again.err))
    packed = complete(model, env)
    check(mapped(packed) and report["path"] in packed.err, "the copy is not used: %s" % packed.err)
    check(packed.out == plain.out, "another answer: %r, %r" % (packed.out, plain.out))
    check(not mapped(complete(model, env, "--pack-weights", "never")), "never uses it")
    check(mapped(complete(model, env, "--pack-weights", "always")), "always does not use it")
    check(not mapped(complete(model, env, "--activations", "f32")), "used with --activations f32")
    shown = json.loads(run("show", model, "--json", env=env).out)["packed_copy"]
    check(shown == {"path": report["path"], "bytes": report["bytes"]}, "show --json: %s" % shown)
    check(report["path"] in run("show", model, env=env).out, "show")
    bench = run("bench", model, "--prompt", "4", "--generate", "4", "--batch", "1", "--context", "0", "--repeat", "1",
                "--no-ceilings", "--json", env=env)
    measured = json.loads(bench.out)
    check(measured["weights_packed"] and measured["packed_copy_bytes"] > 100000, "bench: %s" % measured)
    return report["path"]


def listed_and_removed(model, path, env):
    listed = copies(env)
    check([c["path"] for c in listed] == [path] and listed[0]["problem"] is None, "--list --json: %s" % listed)
    check(listed[0]["model_path"] == model, "--list --json: %s" % listed)
    table = run("pack", "--list", env=env)
    check(os.path.basename(path) in table.out and "good" in table.out and model in table.out, "--list: %s" % table.out)
    removed = run("pack", "--remove", model, env=env)
    check(removed.returncode == 0 and removed.out == path + "\n" and not os.path.exists(path), "--remove: %s" % removed.err)
    check(not mapped(complete(model, env)), "removed, and used")
    refused("nothing to remove", ["pack", "--remove", model], "no packed copy", env=env)
    check("ferry pack MODEL" in run("pack", "--list", env=env).err, "--list of nothing")
    run("pack", model, env=env)
    with open(path + ".part-1-0", "wb") as f:  # as a run that was killed leaves it
        f.write(b"x" * 100)
    check([c["problem"] for c in copies(env)] == [None, "unfinished"], "what was left: %s" % copies(env))
    check(run("pack", "--remove", os.path.basename(path), env=env).returncode == 0, "--remove NAME")
    check(leftovers(env) == [], "--remove leaves %s" % leftovers(env))


def what_does_not_hold(model, path, env):
    run("pack", model, env=env)
    with open(path, "rb") as f:
        good = f.read()
    plain = complete(model, env, "--pack-weights", "never").out
    index = int.from_bytes(good[-16:-8], "little")
    flipped = bytearray(good)
    flipped[index + 20] ^= 4
    for what, bad in (("cut off", good[:len(good) // 2]), ("without its end", good[:-1]), ("flipped", bytes(flipped)),
                      ("something else", b"x" * 5000), ("empty", b"")):
        with open(path, "wb") as f:
            f.write(bad)
        result = complete(model, env)
        check("packed copy not used" in result.err and path in result.err, "%s: not said: %s" % (what, result.err))
        check(not mapped(result) and result.out == plain, "%s: %s" % (what, result.err))
        check(copies(env)[0]["problem"] == "can't be read", "%s: %s" % (what, copies(env)))
    check("was there already" not in run("pack", model, env=env).err, "a bad copy was kept")
    check(mapped(complete(model, env)), "the new copy is not used")
    os.utime(model)
    stale = complete(model, env)
    check(not mapped(stale) and "not what they were" in stale.err and stale.out == plain, "touched: %s" % stale.err)
    check(copies(env)[0]["problem"] == "a file of the model has changed", "touched: %s" % copies(env))
    run("pack", model, env=env)
    check(mapped(complete(model, env)) and len(leftovers(env)) == 1, "packed anew: %s" % leftovers(env))
    os.rename(model, model + ".moved")
    check(copies(env)[0]["problem"] == "a file of the model is gone", "gone: %s" % copies(env))
    os.rename(model + ".moved", model)


def refusals(work, model, env):
    run("pack", "--remove", model, env=env)
    bf16 = os.path.join(work, "bf16")
    run("synth", os.path.join(DEMO, "config.json"), "--quant", "BF16", "--out", bf16, "--layers", "2")
    refused("nothing to pack", ["pack", bf16], "nothing to pack", "BF16", "Q4_K", env=env)
    refused("the built-in model", ["pack"], "nothing to pack", env=env)
    refused("no model", ["pack", os.path.join(work, "none.gguf")], "none.gguf", env=env)
    refused("no place", ["pack", model], "XDG_CACHE_HOME", env={"HOME": "", "XDG_CACHE_HOME": ""})
    with open(os.path.join(work, "file"), "w", encoding="utf-8"):
        pass
    refused("a file for a folder", ["pack", model], "cannot create", code=3,
            env={"XDG_CACHE_HOME": os.path.join(work, "file")})
    check(run("pack", "--list", "--remove", model, env=env).returncode == 2, "--list --remove")


def full_disk(model, env):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
    environment = {**os.environ, **env}
    result = subprocess.run([FERRY, "pack", model], capture_output=True, text=True, env=environment,
                            preexec_fn=small_files, restore_signals=False, timeout=120)
    check(result.returncode == 3 and "cannot write" in result.stderr and result.stdout == "",
          "full disk: %d %s" % (result.returncode, result.stderr))
    check(leftovers(env) == [], "a full disk leaves %s" % leftovers(env))


def main():
    with workspace() as work:
        env = {"XDG_CACHE_HOME": os.path.join(work, "cache")}
        model = os.path.join(work, "model.gguf")
        made = run("synth", os.path.join(DEMO, "config.json"), "--quant", "Q4_K_M", "--out", model, "--layers", "2")
        check(made.returncode == 0, "synth: %s" % made.err)
        path = made_and_used(model, env)
        listed_and_removed(model, path, env)
        what_does_not_hold(model, path, env)
        refusals(work, model, env)
        full_disk(model, env)
        shutil.rmtree(env["XDG_CACHE_HOME"], ignore_errors=True)
    finish()


main()
