"""A small OpenAI-compatible server that streams made-up answers, for the tests of `ferry bench serve`.

It counts one token a word and 7 for the chat format, and misbehaves on demand: every request takes
the next entry of `Server.faults` ("" for a good answer).
"""
import http.server
import json
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        owner = self.server.owner
        if owner.key and self.headers.get("Authorization") != "Bearer " + owner.key:
            return self.answer(401, {"error": {"message": "no such key"}})
        if self.path != "/v1/models":
            return self.answer(404, {"error": {"message": "no such route"}})
        self.answer(200, {"data": [{"id": name} for name in owner.models]})

    def do_POST(self):
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if owner.key and self.headers.get("Authorization") != "Bearer " + owner.key:
            return self.answer(401, {"error": {"message": "no such key"}})
        chat = self.path == "/v1/chat/completions"
        text = body["messages"][0]["content"] if chat else body["prompt"]
        usage = {"prompt_tokens": len(text.split()) + (7 if chat else 0), "completion_tokens": body["max_tokens"]}
        if not body.get("stream"):
            return self.answer(200, {"usage": usage} if owner.counts else {})
        with owner.lock:
            owner.requests.append(body)
            owner.running += 1
            owner.running_max = max(owner.running_max, owner.running)
            fault = owner.faults.pop(0) if owner.faults else ""
        try:
            self.stream(body, chat, usage, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with owner.lock:
                owner.running -= 1

    def event(self, value):
        data = value if isinstance(value, str) else json.dumps(value)
        payload = ("data: %s\r\n\r\n" % data).encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
        self.wfile.flush()

    def stream(self, body, chat, usage, fault):
        if fault == "busy":
            return self.answer(429, {"error": {"message": "come back later"}}, [("Retry-After", "1")])
        if fault == "html":
            return self.answer(502, b"<html>\nbad gateway\n</html>")
        if fault == "hang up":
            self.close_connection = True
            return self.connection.close()
        if fault == "no stream":
            return self.answer(200, {"choices": [{"message": {"content": "all at once"}}]})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"e\r\n: keep-alive\n\n\r\n")
        if chat:
            self.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for i in range(body["max_tokens"]):
            if i == 2 and fault == "error event":
                self.event({"error": {"message": "the chip caught fire"}})
                break
            if i == 2 and fault in ("cut", "no done", "nonsense", "flood"):
                break
            if fault == "stall" and i == 2:
                time.sleep(5)
            piece = {"delta": {"content": "w "}} if chat else {"text": "w "}
            self.event({"choices": [piece]})
            time.sleep(self.server.owner.pause_s)
        if fault == "cut":
            self.close_connection = True
            return self.connection.close()
        if fault == "nonsense":
            self.event("{nonsense")
        if fault == "flood":
            self.wfile.write(b"200000\r\n" + b"x" * 0x200000 + b"\r\n")
        if fault == "":
            self.event({"choices": [], "usage": usage})
            self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")


class Listener(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class Server:
    def __init__(self, models=("toy",), key="", pause_s=0.001, counts=True):
        self.models, self.key, self.pause_s, self.counts = models, key, pause_s, counts
        self.faults, self.requests = [], []
        self.running = self.running_max = 0
        self.lock = threading.Lock()

    def __enter__(self):
        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.listener.owner = self
        self.url = "http://127.0.0.1:%d" % self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown()
        self.listener.server_close()
