"""What the tests of `ferry serve` share: a server on a free port, and clients for it.

Every test file is called as  NAME.py FERRY SOURCE_DIR.
"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

FERRY, SOURCE = sys.argv[1], os.path.abspath(sys.argv[2])
PATIENCE_S = 60  # for what must happen, on a machine that is busy or under a sanitizer

failures = []


def fail(text):
    failures.append(text)
    print("FAILED: " + text, flush=True)


def check(condition, text):
    if not condition:
        fail(text)
    return bool(condition)


def finish():
    print("%d failures" % len(failures))
    sys.exit(1 if failures else 0)


def until(what, question, patience_s=PATIENCE_S):
    """Asks again and again; a failure where the answer stays no."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    fail("never came: " + what)
    return None


def environment(more=None):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FERRY_", "HF_")) or k == "FERRY_CPU"}
    kept.update({"HOME": "/nonexistent", "NO_COLOR": "1"}, **(more or {}))
    return kept


class Server:
    """with Server("--flag") as server: …  Ends it with SIGTERM, and then it must have ended well."""

    def __init__(self, *args, env=None, wait=True, code=0, stdout=subprocess.DEVNULL):
        self.args, self.env, self.wait, self.code, self.stdout = args, env, wait, code, stdout

    def __enter__(self):
        self.process = subprocess.Popen([FERRY, "serve", "--port", "0", "--threads", "1", *self.args],
                                        stdin=subprocess.DEVNULL, stdout=self.stdout, stderr=subprocess.PIPE,
                                        env=environment(self.env))
        self.said = ""
        self.told = False
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        until("the address of the server", lambda: "listening on" in self.said or self.process.poll() is not None)
        found = re.search(r"listening on http://(\S+):(\d+)", self.said)
        if found is None:
            raise RuntimeError("no server: " + self.said)
        self.host, self.port = found.group(1).strip("[]"), int(found.group(2))
        if self.wait:
            until("readiness", lambda: self.request("GET", "/readyz").status == 200)
        return self

    def tell(self, number):
        self.told = True
        self.process.send_signal(number)

    def read(self):
        for line in self.process.stderr:
            self.said += line.decode("utf-8", "replace")

    def __exit__(self, kind, value, trace):
        if not self.told and self.process.poll() is None:
            self.tell(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "no end"
        self.reader.join(PATIENCE_S)
        check(code == self.code, "the server ended with %s, expected %s: %s" % (code, self.code, self.said[-3000:]))

    def connect(self):
        return socket.create_connection((self.host, self.port), timeout=PATIENCE_S)

    def request(self, method, path, body=None, headers=None):
        """One request on a connection of its own; the response with .text, .json(), .headers."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.body = response.read()
        response.text = response.body.decode("utf-8", "replace")
        response.json = lambda: json.loads(response.text)
        connection.close()
        return response

    def post(self, path, body, **headers):
        return self.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def raw(self, data, close_writing=False):
        """Sends bytes and reads until the server ends the connection."""
        with self.connect() as s:
            try:
                s.sendall(data)
                if close_writing:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it may have had enough
            answer = b""
            try:
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        break
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    def open_stream(self, body, path="/v1/chat/completions"):
        """A socket that has sent the request of a stream and read nothing yet."""
        s = self.connect()
        text = json.dumps({**body, "stream": True}).encode()
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                  % (path.encode(), len(text), text))
        return s

    def metric(self, name):
        total = 0.0
        for line in self.request("GET", "/metrics").text.splitlines():
            if line.startswith((name + "{", name + " ")):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def idle(self):
        return self.metric("ferry_num_requests_running") == 0 and self.metric("ferry_num_requests_waiting") == 0


def events(text):
    """The data of a stream: parsed, "[DONE]" as it is; comments are left out."""
    out = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        data = "".join(line[5:].strip() for line in lines if line.startswith("data:"))
        if data:
            out.append(data if data == "[DONE]" else json.loads(data))
    return out


def content(stream, index=0):
    """What the deltas of one choice add up to: (reasoning, content, finish_reason)."""
    reasoning, text, reason = "", "", None
    for event in stream:
        if event == "[DONE]":
            continue
        for choice in event["choices"]:
            if choice["index"] != index:
                continue
            reasoning += choice["delta"].get("reasoning_content") or ""
            text += choice["delta"].get("content") or ""
            reason = choice["finish_reason"] or reason
    return reasoning, text, reason


def chat(text, **more):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}


# Answers that go on for seconds anywhere: until the context is full, or the client has gone.
def endless(**more):
    return {"prompt": "Count", "temperature": 0, "ignore_eos": True, "n": 8, "max_tokens": 1000, **more}
