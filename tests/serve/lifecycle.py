"""From the start to SIGTERM: flags, keys, the access log, and how answers end when the server does."""
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time

from harness import FERRY, Server, chat, check, content, endless, environment, events, finish, until


def read_all(s):
    answer = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            return answer
        answer += piece


def unchunked(answer):
    head, rest = answer.split(b"\r\n\r\n", 1)
    text = b""
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        text += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    return head, text.decode()


def streaming(server, **more):
    s = server.open_stream(endless(**more), "/v1/completions")
    check(s.recv(15) == b"HTTP/1.1 200 OK", "a stream begins")
    return s


def drain():
    with Server() as server:
        s = streaming(server, n=2)
        waiting = server.connect()  # says nothing: nobody waits for it
        server.tell(signal.SIGTERM)

        def closed():
            try:
                server.connect().close()
                return False
            except OSError:
                return True

        until("an end of accepting", closed)
        head, text = unchunked(read_all(s))
        got = events(text)
        reasons = [c["finish_reason"] for e in got[:-1] for c in e["choices"] if c["finish_reason"]]
        check(got[-1] == "[DONE]" and reasons == ["length"] * 2, "a drained stream ends: %s" % text[-300:])
        check(waiting.recv(1) == b"", "an idle client is let go")
    with Server("--drain-timeout", "0.2") as server:
        streams = [streaming(server, n=16) for _ in range(4)]
        server.tell(signal.SIGINT)
        for s in streams:
            got = events(unchunked(read_all(s))[1])
            check(got[-1] != "[DONE]" and got[-1].get("error", {}).get("code") == "shutting_down", "cut off: %s" % got[-1:])
    with Server(code=130) as server:
        streams = [streaming(server, n=16) for _ in range(4)]
        server.tell(signal.SIGTERM)
        until("the first signal", lambda: streams[0] and not is_up(server))
        server.tell(signal.SIGTERM)
        server.process.wait(60)


def is_up(server):
    try:
        server.connect().close()
        return True
    except OSError:
        return False


def keys(work):
    path = os.path.join(work, "keys")
    with open(path, "w", encoding="utf-8") as f:
        f.write("# who may\n\nplain-key\nsha256:%s\n" % hashlib.sha256(b"hashed-key").hexdigest())
    with Server("--api-key-file", path, "--host", "0.0.0.0", "--api-key", "flag-key",
                env={"FERRY_API_KEY_FILE": "/not/read"}) as server:
        for key in ("plain-key", "hashed-key", "flag-key"):
            check(server.post("/v1/chat/completions", chat("Hello!"), Authorization="Bearer " + key).status == 200, key)
            check(server.request("GET", "/v1/models", headers={"x-api-key": key}).status == 200, "x-api-key")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic plain-key"}, {"Authorization": "Bearer "},
                        {"Authorization": "Bearer sha256:%s" % hashlib.sha256(b"hashed-key").hexdigest()}, {"x-api-key": ""}):
            for method, route in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/stats")):
                response = server.request(method, route, "{}" if method == "POST" else None, {"Content-Type": "application/json", **headers})
                check(response.status == 401 and response.json()["error"]["code"] == "invalid_api_key", "%s %s" % (route, headers))
        response = server.post("/v1/messages", {})
        check(response.status == 401 and response.json()["type"] == "error", "Anthropic's shape: " + response.text)
        for route in ("/", "/livez", "/readyz", "/version"):
            check(server.request("GET", route).status == 200, route)
    with Server(env={"FERRY_API_KEY": "from-env"}) as server:
        check(server.request("GET", "/v1/models").status == 401, "a key from the environment")
        check(server.request("GET", "/v1/models", headers={"Authorization": "bearer from-env"}).status == 200, "it opens")
    with open(path, "w", encoding="utf-8") as f:
        f.write("sha256:12\n")
    for what, args, code, part in (
            ("a broken key file", ["--api-key-file", path], 2, "line 1"), ("no key file", ["--api-key-file", "/no/where"], 3, "/no/where"),
            ("a public address", ["--host", "0.0.0.0"], 2, "--allow-unauthenticated"), ("a port", ["--port", "70000"], 2, "--port"),
            ("an address of elsewhere", ["--host", "203.0.113.1", "--api-key", "a"], 3, "203.0.113.1"),
            ("a key with a space", ["--api-key", "a b"], 2, "--api-key"), ("no model", ["/no/such/model", "--port", "0"], 2, "/no/such/model"),
            ("--log-prompts alone", ["--log-prompts"], 2, "--access-log"), ("no sequences", ["--max-num-seqs", "0"], 2, "--max-num-seqs")):
        result = subprocess.run([FERRY, "serve", *args], capture_output=True, env=environment(), timeout=60, check=False)
        err = result.stderr.decode()
        check(result.returncode == code and part in err.splitlines()[-1], "%s: code %d, %s" % (what, result.returncode, err))
    with Server("--host", "0.0.0.0", "--allow-unauthenticated") as server:
        result = subprocess.run([FERRY, "serve", "--port", str(server.port)], capture_output=True, env=environment(), timeout=60, check=False)
        check(result.returncode == 3 and str(server.port).encode() in result.stderr, "a port in use: %s" % result.stderr)


def access_log(work):
    path = os.path.join(work, "access.jsonl")
    with Server("--access-log", path) as server:
        server.post("/v1/chat/completions", chat("Hello!", stream=True), X_Request_Id="mine")
        server.post("/v1/chat/completions", {"messages": 3})
        server.request("GET", "/v1/nothing?secret=1")
        server.raw(b"nonsense\r\n\r\n")
    with open(path, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    by_id = {line["request_id"]: line for line in lines}
    mine = by_id.get("mine", {})
    check(mine.get("status") == 200 and mine["stream"] and mine["output_tokens"] > 3 and mine["finish_reason"] == "stop"
          and mine["bytes_out"] > 500 and mine["duration_ms"] > 0 and mine["client"] == "127.0.0.1", "its line: %s" % mine)
    check({400, 404} <= {line["status"] for line in lines}, "refusals are logged: %s" % lines)
    text = json.dumps(lines)
    check("Hello" not in text and "secret" not in text, "what was asked is nobody's business")
    out = os.path.join(work, "stdout")
    with open(out, "wb") as f, Server("--access-log", "-", "--log-prompts", stdout=f) as server:
        server.post("/v1/chat/completions", chat("Hello!"))
    with open(out, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    check(any("Hello!" in line.get("body", "") for line in lines), "--log-prompts: %s" % lines)


with tempfile.TemporaryDirectory(prefix="ferry-serve-") as folder:
    began = time.monotonic()
    drain()
    keys(folder)
    access_log(folder)
finish()
