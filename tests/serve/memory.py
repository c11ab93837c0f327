"""What the server's memory does over many requests on connections that stay open.

    python3 tests/serve/memory.py FERRY SOURCE_DIR [--requests 100000] [--connections 8]

prints a line per twentieth: requests so far, requests per second, resident memory; and fails where
the second half grows by more than an allocator's slack.
"""
import argparse
import http.client
import json
import os
import threading
import time

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("ferry")
ARGUMENTS.add_argument("source")
ARGUMENTS.add_argument("--requests", type=int, default=400)
ARGUMENTS.add_argument("--connections", type=int, default=8)
ARGUMENTS.add_argument("--slack-mb", type=float, default=24)

from harness import PATIENCE_S, Server, chat, check, finish, until  # reads sys.argv too


def resident_mb(pid):
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer", "maximum": 99}}, "required": ["answer"]}


def body_of(i):
    """One of everything that takes memory: streams, prompts of their own, schemas, tools, refusals."""
    question = "What is %d + %d?" % (i % 97, i)
    kinds = [
        lambda: ("/v1/chat/completions", chat(question, max_tokens=4)),
        lambda: ("/v1/chat/completions", chat(question, max_tokens=4, stream=True, logprobs=True, top_logprobs=2)),
        lambda: ("/v1/completions", {"prompt": question * 8, "max_tokens": 2, "n": 2, "temperature": 1, "seed": i}),
        # A schema in 64 is new, so that the cache of grammars turns over.
        lambda: ("/v1/chat/completions", chat(question, max_tokens=6, response_format={
            "type": "json_schema", "json_schema": {"name": "a", "schema": {**SCHEMA, "title": str(i // 64)}}})),
        lambda: ("/v1/responses", {"input": question, "max_output_tokens": 4, "stream": True, "user": "user %d" % i}),
        lambda: ("/v1/messages", {"messages": [{"role": "user", "content": question}], "max_tokens": 4}),
        lambda: ("/v1/embeddings", {"input": question}),
        lambda: ("/v1/chat/completions", chat(question, temperature=1000)),
        lambda: ("/nowhere/%d" % i, {}),
    ]
    return kinds[i % len(kinds)]()


class Load:
    def __init__(self, server, total):
        self.server, self.total = server, total
        self.next, self.done, self.bad = 0, 0, []
        self.lock = threading.Lock()

    def take(self):
        with self.lock:
            if self.next >= self.total:
                return None
            self.next += 1
            return self.next - 1

    def client(self):
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=PATIENCE_S)
        while (i := self.take()) is not None:
            path, body = body_of(i)
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            expected = 404 if path.startswith("/nowhere") else 400 if body.get("temperature") == 1000 else 200
            with self.lock:
                self.done += 1
                if response.status != expected:
                    self.bad.append("%s: %d %s" % (path, response.status, text[:200]))
        connection.close()


def main():
    arguments = ARGUMENTS.parse_args()
    # What a sanitizer keeps of freed memory is no growth.
    sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"
    with Server("--max-num-seqs", "16", env={"ASAN_OPTIONS": sanitizer.lstrip(":")}) as server:
        load = Load(server, arguments.requests)
        threads = [threading.Thread(target=load.client, daemon=True) for _ in range(arguments.connections)]
        began = time.monotonic()
        print("%9s %9s %9s" % ("requests", "per s", "RSS MB"))
        for thread in threads:
            thread.start()
        half = 0.0
        for part in range(1, 21):
            goal = arguments.requests * part // 20
            until("%d requests" % goal, lambda: load.done >= goal or not any(t.is_alive() for t in threads), 3600)
            now = resident_mb(server.process.pid)
            half = max(half, now) if part <= 10 else half
            print("%9d %9.1f %9.1f" % (load.done, load.done / (time.monotonic() - began), now), flush=True)
        for thread in threads:
            thread.join(PATIENCE_S)
        check(load.done == arguments.requests and not load.bad, "%d of %d answered; %s" % (load.done, arguments.requests, load.bad[:3]))
        until("an idle engine", server.idle)
        grown = resident_mb(server.process.pid) - half
        print("grown over the second half: %.1f MB" % grown)
        check(grown <= arguments.slack_mb, "memory grew by %.1f MB over the second half" % grown)
    finish()


if __name__ == "__main__":
    main()
