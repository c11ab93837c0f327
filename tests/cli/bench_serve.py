"""`ferry bench serve` against a small server that behaves, and one that does not. Times are not
asserted, only what has to add up."""
import json
import os
import signal
import subprocess
import time

from driver import FERRY, check, finish, refused, run, workspace
from sse_server import Server

COMMON = ["--input", "40", "--output", "6", "--json"]


def bench(server, *args, code=0):
    result = run("bench", "serve", server.url, *args)
    check(result.returncode == code, "bench serve %s: code %d, expected %d: %s" % (
        " ".join(args), result.returncode, code, result.err))
    return json.loads(result.out) if "--json" in args else result.out


def check_run(load, requests, failed=0):
    check(load["requests"] == requests and load["good"] == requests - failed and load["failed"] == failed, "counts: %s" % load)
    check(sum(load["failures"].values()) == failed, "failures: %s" % load["failures"])
    if load["good"] == 0:
        return
    for name in ("ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"):
        times = load[name]
        check(0 <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"], "%s: %s" % (name, times))
    check(load["ttft_ms"]["p50"] <= load["e2e_ms"]["p50"], "first token after the end: %s" % load)
    check(load["itl_ms"]["count"] == 5 * load["good"], "gaps: %s" % load["itl_ms"])
    check(load["output_tokens"] == 6 * load["good"], "tokens: %s" % load)
    check(abs(load["output_tokens_per_s"] * load["seconds"] - load["output_tokens"]) < 1e-6 * load["output_tokens"] + 1e-6, "rate: %s" % load)


def closed_loop():
    with Server() as server:
        result = bench(server, *COMMON, "--concurrency", "1,3", "--requests", "9")
        check(result["model"] == "toy", "the first model of the list: %s" % result["model"])
        check([r["concurrency"] for r in result["runs"]] == [1, 3], "runs")
        for load in result["runs"]:
            check_run(load, 9)
            check(load["input_tokens"] == 9 * 40, "prompts are not 40 tokens long: %s" % load)
            check(load["goodput_requests_per_s"] is None, "goodput without objectives")
        check(2 <= server.running_max <= 3, "%d at a time" % server.running_max)
        prompts = [r["messages"][0]["content"] for r in server.requests]
        check(len(set(prompts)) == 18, "prompts repeat")
        check(all(r["max_tokens"] == 6 and r["ignore_eos"] and r["stream_options"]["include_usage"] for r in server.requests), "bodies")
        first = list(prompts)
        server.requests.clear()
        bench(server, *COMMON, "--concurrency", "1", "--requests", "9", "--respect-eos", "--model", "other")
        again = [r["messages"][0]["content"] for r in server.requests]
        check(again == first[:9], "the same seed sent other prompts")
        check(all(r["model"] == "other" and "ignore_eos" not in r for r in server.requests), "--model, --respect-eos")
        server.requests.clear()
        bench(server, *COMMON, "--concurrency", "1", "--requests", "5", "--prefix", "20", "--seed", "3")
        words = [r["messages"][0]["content"].split() for r in server.requests]
        check(all(w[:20] == words[0][:20] for w in words) and len({tuple(w) for w in words}) == 5, "--prefix")
        text = bench(server, "--input", "10", "--output", "4", "--concurrency", "2", "--slo", "ttft=60s,tpot=60s")
        check("time to first token" in text and "goodput" in text and "100.0 %" in text, text)


def arrivals(work):
    with Server() as server:
        result = bench(server, *COMMON, "--rate", "200", "--requests", "20", "--slo", "ttft=0.000001", "--endpoint", "completions")
        check_run(result["runs"][0], 20)
        check(result["runs"][0]["rate"] == 200 and result["runs"][0]["goodput_requests_per_s"] == 0, "rate")
        check("prompt" in server.requests[0], "--endpoint completions")
        trace = os.path.join(work, "trace.jsonl")
        with open(trace, "w", encoding="utf-8") as f:
            for i, (size, out) in enumerate(((30, 6), (50, 6), (12, 6))):
                f.write(json.dumps({"timestamp": 1000 + 20 * i, "input_length": size, "output_length": out}) + "\n")
        server.requests.clear()
        result = bench(server, "--trace", trace, "--json", "--output", "6")
        check_run(result["runs"][0], 3)
        check(sorted(len(r["messages"][0]["content"].split()) for r in server.requests) == [5, 23, 43], "lengths of the trace")
        check(bench(server, "--trace", trace, "--json", "--requests", "2")["runs"][0]["requests"] == 2, "--requests cuts a trace")


def misbehaviour():
    expected = {"busy": "HTTP 429: come back later", "html": "HTTP 502: <html>", "no stream": "the stream ended without [DONE]",
                "error event": "error event: the chip caught fire", "no done": "the stream ended without [DONE]",
                "nonsense": "an event that is no JSON", "flood": "an event of more than 1048576 bytes"}
    with Server() as server:
        for fault, failure in expected.items():
            server.faults = ["", fault, ""]
            load = bench(server, *COMMON, "--concurrency", "1", "--requests", "3", code=1)["runs"][0]
            check_run(load, 3, failed=1)
            check(list(load["failures"]) == [failure], "%s: %s" % (fault, load["failures"]))
        for fault in ("cut", "hang up"):
            server.faults = [fault, ""]
            load = bench(server, *COMMON, "--concurrency", "2", "--requests", "2", code=1)["runs"][0]
            check_run(load, 2, failed=1)
        server.faults = ["stall"]
        load = bench(server, *COMMON, "--concurrency", "1", "--requests", "2", "--timeout", "1", code=1)["runs"][0]
        check("imeout" in list(load["failures"])[0], "stall: %s" % load["failures"])
        server.faults = ["busy"] * 4
        text = bench(server, "--output", "6", "--concurrency", "4", "--requests", "4", code=3)
        check("4 × HTTP 429: come back later" in text, text)


def interrupt():
    with Server(pause_s=0.2) as server:
        process = subprocess.Popen([FERRY, "bench", "serve", server.url, "--output", "50", "--concurrency", "2", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not server.requests:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        check(process.returncode == 130, "Ctrl-C: code %d %s" % (process.returncode, err))
        check(json.loads(out)["runs"][0]["unfinished"] > 0, "Ctrl-C: no result of what there was")


def bad_input(work):
    with Server(key="secret") as server:
        refused("no key", ["bench", "serve", server.url], "HTTP 401", "no such key", code=3)
        load = bench(server, *COMMON, "--concurrency", "1", "--requests", "1", "--api-key", "secret")["runs"][0]
        check_run(load, 1)
    with Server(models=()) as server:
        refused("no model", ["bench", "serve", server.url], "--model", code=3)
    with Server(counts=False) as server:
        result = run("bench", "serve", server.url + "/v1/chat/completions", *COMMON, "--concurrency", "1", "--requests", "1")
        check(result.returncode == 0 and "does not count" in result.err, "a server that does not count: " + result.err)
    refused("nobody there", ["bench", "serve", "http://127.0.0.1:9"], "127.0.0.1:9", code=3)
    refused("no address", ["bench", "serve", "localhost"], "localhost")
    refused("no URL", ["bench", "serve"], "url")
    refused("flags of bench", ["bench", "serve", "http://127.0.0.1:9", "--prompt", "3"], "--prompt")
    refused("no objective", ["bench", "serve", "http://127.0.0.1:9", "--slo", "speed=3"], "--slo", "speed=3")
    refused("two kinds of load", ["bench", "serve", "http://127.0.0.1:9", "--rate", "1", "--concurrency", "2"], "--rate")
    refused("nothing at a time", ["bench", "serve", "http://127.0.0.1:9", "--concurrency", "0"], "--concurrency")
    refused("no such trace", ["bench", "serve", "http://127.0.0.1:9", "--trace", "/no/where"], "/no/where")
    trace = os.path.join(work, "bad.jsonl")
    with open(trace, "w", encoding="utf-8") as f:
        f.write("{}\n")
    refused("a bad trace", ["bench", "serve", "http://127.0.0.1:9", "--trace", trace], "line 1", "timestamp")


def main():
    with workspace() as work:
        closed_loop()
        arrivals(work)
        misbehaviour()
        interrupt()
        bad_input(work)
    finish()


main()
