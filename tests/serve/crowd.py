"""What some requests may take is nothing that others have to wait for: schemas that are slow to
compile, bodies that are large together."""
import json
import select

from harness import Server, chat, check, finish, until


def held(schema, **more):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}, **more}


def bomb(name):
    """Half a second of work until it is refused; each name is a schema of its own."""
    return {"type": "object", "properties": {name: {"type": "string", "pattern": "^(a|b)*a(a|b){16}$"}}}


def post(body, length=None):
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        length or len(body), body)


def slow_schemas():
    with Server() as server:
        known = chat("What is 1 + 2?", max_tokens=4, **held({"type": "object", "properties": {"a": {"type": "null"}}}))
        check(server.post("/v1/chat/completions", known).status == 200, "a schema, once")
        bombs = [server.connect() for _ in range(12)]
        for i, s in enumerate(bombs):
            s.sendall(post(json.dumps(chat("x", **held(bomb("p%d" % i)))).encode()))
        until("the first refusal", lambda: select.select(bombs, [], [], 0)[0])
        plain = server.post("/v1/chat/completions", chat("Hello!"))
        check("How can I help you?" in plain.text, "a chat beside slow schemas: " + plain.text)
        # Before the known schema: on a busy machine it may not have counted as quick, and waits then.
        check(len(select.select(bombs, [], [], 0)[0]) < len(bombs), "the others waited for slow schemas")
        check(server.post("/v1/chat/completions", known).status == 200, "a known schema beside slow ones")
        check(b"400 Bad Request" in bombs[0].recv(4096), "the answer to a slow schema")
        for s in bombs:  # who has gone is not worked for
            s.close()
        fresh = server.post("/v1/chat/completions", chat("x", max_tokens=4, **held({"type": "array", "items": {"type": "null"}})))
        check(fresh.status == 200, "a new schema afterwards: " + fresh.text)


def large_bodies():
    with Server("--max-body-mib", "1") as server:
        text = json.dumps({**chat("Hello!"), "metadata": {"filler": "x" * (900 << 10)}}).encode()
        sockets = [server.connect(), server.connect()]
        sent = [len(text) - 1000, 300 << 10]
        for s, bytes in zip(sockets, sent):
            s.sendall(post(text)[:-len(text)] + text[:bytes])
        # Either may be the one that is read last.
        ready = until("a refusal", lambda: select.select(sockets, [], [], 0)[0])
        refused = sockets.index(ready[0])
        taken = 1 - refused
        answer = sockets[refused].recv(65536)
        check(answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After:" in answer and b'"overloaded"' in answer, "too much at once: %r" % answer[:400])
        check("How can I help you?" in server.post("/v1/chat/completions", chat("Hello!")).text, "a small body beside large ones")
        sockets[taken].sendall(text[sent[taken]:])
        check(sockets[taken].recv(65536).startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), "the other body")
        for s in sockets:
            s.close()
        again = server.request("POST", "/v1/chat/completions", text, {"Content-Type": "application/json"})
        check(again.status != 503, "the same body alone: " + again.text[:200])
        huge = server.raw(post(b"{", length=2 << 20))
        check(huge.startswith(b"HTTP/1.1 413 "), "a body larger than all may be: %r" % huge[:200])
        # Clients that went away in the middle leave nothing behind.
        for _ in range(5):
            with server.connect() as s:
                s.sendall(post(text)[:700 << 10])
        gone = until("room again", lambda: server.request("POST", "/v1/chat/completions", text, {"Content-Type": "application/json"}).status != 503)
        check(gone, "bytes of clients that went away")


slow_schemas()
large_bodies()
finish()
