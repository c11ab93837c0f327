"""Clients that are broken or mean: each gets its error, and nobody else notices."""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

from harness import FERRY, Server, chat, check, content, endless, events, finish, until

GOOD = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def status(answer):
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def refused(server, what, data, expected):
    answer = server.raw(data)
    check(status(answer) == expected, "%s: expected %d, got %r" % (what, expected, answer[:200]))
    check(b'"error"' in answer, "%s: no error body: %r" % (what, answer[:300]))


def malformed(server):
    for what, data in {
            "no HTTP": b"hello\r\n\r\n", "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no version": b"GET /\r\n\r\n", "no Host": b"GET / HTTP/1.1\r\n\r\n",
            "a header without colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n", "control characters": b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
            "two lengths": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            "length and chunks": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            "a negative length": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            "a length beyond 64 bits": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "a chunk of no size": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"}.items():
        refused(server, what, data, 400)
    refused(server, "a huge header", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (70 << 10) + b"\r\n\r\n", 431)
    refused(server, "many headers", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n", 431)
    refused(server, "a long target", b"GET /" + b"a" * (70 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431)
    post = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    refused(server, "a huge claim", post + b"Content-Length: 33554433\r\n\r\n", 413)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    refused(server, "endless chunks", post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 520, 413)


def well_formed(server):
    answer = server.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n" + GOOD)
    check(answer.count(b"HTTP/1.1 200") == 3, "three requests in one piece: %r" % answer)
    check(status(server.raw(b"GET http://x/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 200, "absolute form")
    check(status(server.raw(b"GET /livez HTTP/1.0\r\n\r\n")) == 200, "HTTP/1.0")
    check(status(server.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", close_writing=True)) == 200, "a client that closes its side")
    body = json.dumps(chat("Hello!", stream=True)).encode()
    old = server.raw(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    check(content(events(old.split(b"\r\n\r\n", 1)[1].decode()))[1] == "Hello! How can I help you?", "a stream in HTTP/1.0: %r" % old[-200:])
    with server.connect() as s:  # one byte at a time, and the body only when it is wanted
        head = b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 14\r\n\r\n"
        for i in range(len(head)):
            s.sendall(head[i:i + 1])
        check(s.recv(1000).startswith(b"HTTP/1.1 100 Continue"), "100-continue")
        s.sendall(b'{"prompt":"a"}')
        check(b"200 OK" in s.recv(1000), "the body after it")
    with server.connect() as s:
        for piece in (b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5", b"\r",
                      b'\n{"pro\r\n9;a=b\r\nmpt', b'":"a"}\r\n0\r\n', b"\r\n"):
            s.sendall(piece)
            time.sleep(0.02)
        check(b"200 OK" in s.recv(1000), "a body in chunks")
    response = server.request("POST", "/v1/tokenize", b'{"prompt":"' + b"a" * (4 << 20) + b'"}', {"Content-Type": "application/json"})
    check(response.status == 200, "a body of 4 MiB: " + response.text[:200])


def random_bytes(server):
    draw = random.Random(7)
    base = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n" \
           b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1}'
    for _ in range(150):
        data = bytearray(base)
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        answer = server.raw(bytes(data), close_writing=True)
        check(not answer or status(answer) in (200, 400, 404, 405, 413, 415, 431), "mutation %r: %r" % (bytes(data), answer[:100]))
    for _ in range(50):
        server.raw(bytes(draw.randrange(256) for _ in range(draw.randint(1, 2000))), close_writing=True)


def half_open(server):
    """Connections that say nothing, or stop in the middle, are no burden."""
    quiet = [server.connect() for _ in range(100)]
    for i, s in enumerate(quiet):
        s.sendall(GOOD[:i % 20])
    check(server.request("GET", "/livez").status == 200, "behind a hundred silent clients")
    for s in quiet:
        s.close()


def gone_clients(server):
    """Requests of clients that have gone give their pages back, however they went."""
    before = server.metric("ferry_request_success_total")
    sockets = [server.open_stream(endless(), "/v1/completions") for _ in range(8)]
    for s in sockets:
        s.recv(100)
    until("their first step", lambda: server.metric("ferry_num_requests_running") >= 1)
    for s in sockets[:4]:
        s.close()
    for s in sockets[4:]:  # a reset instead of an end
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    until("an empty batch", server.idle)
    check(server.metric("ferry_kv_cache_usage_perc") == 0, "pages are kept")
    check(server.metric("ferry_request_success_total") == before, "they were counted as answered")
    # A client that waits for a whole answer, and is killed.
    client = subprocess.Popen([sys.executable, "-c", "import sys, urllib.request as u\nu.urlopen(u.Request(sys.argv[1], sys.argv[2].encode(), {'Content-Type': 'application/json'}))",
                               "http://%s:%d/v1/completions" % (server.host, server.port), json.dumps(endless())])
    seen = until("its request", lambda: server.metric("ferry_num_requests_running") >= 1 or client.poll() is not None)
    check(seen, "the client's request")
    client.send_signal(signal.SIGKILL)
    client.wait()
    until("an empty batch after kill -9", server.idle)


def slow_reader(server):
    """Someone who does not read holds up nobody, and gets it all when he does."""
    body = endless(max_tokens=900, logprobs=5, n=1)
    expected = events(server.post("/v1/completions", {**body, "stream": True}).text)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(60)
    s.connect((server.host, server.port))
    text = json.dumps({**body, "stream": True}).encode()
    s.sendall(b"POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    check("50" in server.post("/v1/chat/completions", chat("What is 20 + 30?", thinking={"type": "enabled"})).text, "beside a slow reader")
    until("the engine is done with it", server.idle)
    answer = b""
    while True:
        piece = s.recv(2048)
        if not piece:
            break
        answer += piece
    s.close()
    got = events(answer.split(b"\r\n\r\n", 1)[1].decode())
    joined = ["".join(e["choices"][0]["text"] for e in run if e != "[DONE]" and e["choices"]) for run in (expected, got)]
    check(got[-1] == "[DONE]" and joined[0] == joined[1], "what a slow reader got")


def full_disk():
    if not os.path.exists("/dev/full"):
        return
    with Server("--access-log", "/dev/full") as server:
        for _ in range(20):
            check(server.request("GET", "/v1/models").status == 200, "with a full disk")
    result = subprocess.run([FERRY, "serve", "--port", "0", "--access-log", "/no/where/log"], capture_output=True, check=False)
    check(result.returncode == 3 and b"/no/where/log" in result.stderr, "a log that can't be: %s" % result.stderr)


with Server() as ferry:
    for part in (malformed, well_formed, random_bytes, half_open, gone_clients, slow_reader):
        part(ferry)
    check(ferry.idle() and ferry.request("GET", "/health").status == 200, "healthy at the end")
full_disk()
finish()
