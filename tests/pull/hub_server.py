"""A model hub for tests: two servers on 127.0.0.1, the hub and the store that files are served from.

A Hub holds repositories (name → {path: bytes}) and faults: for a path of a file or an address, what
goes wrong with the next requests for it, in order; the last one for ever if it is FOREVER.

  ("status", code, {header: value})   that answer
  ("drop", n)                         the connection ends after n bytes of the body
  ("stall", n)                        nothing more comes after n bytes, until the test ends
  ("wrong",)                          the right number of wrong bytes
  ("longer",)                         more bytes than announced, no Content-Length
  ("page",)                           200 and a web page

Every request is kept in `log` as (server, path, headers).
"""
import hashlib
import http.server
import json
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FOREVER = "forever"


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=None, announce=True):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        hub, role = self.server.hub, self.server.role
        hub.log.append((role, self.path, dict(self.headers)))
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        try:
            self.serve(hub, role, path, urllib.parse.parse_qs(url.query))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def serve(self, hub, role, path, query):
        fault = hub.next_fault(path)
        if fault and fault[0] == "status":
            return self.answer(fault[1], b"sorry", fault[2] if len(fault) > 2 else None)
        if hub.token and role == "hub" and \
                self.headers.get("Authorization") != "Bearer " + hub.token:
            return self.answer(401, b"who are you?")
        parts = path.strip("/").split("/")
        if role == "hub" and parts[:2] == ["api", "models"] and len(parts) >= 6:
            return self.serve_api("/".join(parts[2:4]), parts[4], "/".join(parts[5:]), query)
        if len(parts) >= 5 and parts[2] == "resolve":
            if role == "hub" and hub.redirects:
                location = hub.store_url + self.path
                return self.answer(302, b"over there", {"Location": location})
            return self.serve_file("/".join(parts[:2]), "/".join(parts[4:]), fault)
        return self.answer(404, b"what?")

    def serve_api(self, repo, what, rest, query):
        hub = self.server.hub
        if repo not in hub.repos:
            return self.answer(404)
        if what == "revision":
            if rest not in hub.revisions:
                return self.answer(404)
            return self.answer(200, json.dumps({"id": repo, "sha": COMMIT}).encode())
        assert what == "tree" and rest == COMMIT and query["recursive"] == ["true"], self.path
        entries = hub.entries(repo)
        start = int(query.get("cursor", ["0"])[0])
        end = start + hub.page_size
        headers = {}
        if end < len(entries):
            headers["Link"] = '<%s%s&cursor=%d>; rel="next"' % (
                hub.url, self.path.split("&cursor")[0], end)
        return self.answer(200, json.dumps(entries[start:end]).encode(), headers)

    def serve_file(self, repo, path, fault):
        hub = self.server.hub
        data = hub.repos.get(repo, {}).get(path)
        if data is None:
            return self.answer(404)
        kind = fault[0] if fault else ""
        if kind == "longer":
            return self.answer(200, data + b"more", announce=False)
        if kind == "page":
            return self.answer(200, b"<html>Please log in</html>")
        if kind == "wrong":
            data = bytes(b ^ 0xff for b in data)
        start, status, headers = 0, 200, {}
        wanted = self.headers.get("Range")
        if wanted and hub.ranges:
            start = int(wanted[len("bytes="):-1])
            if start >= len(data):
                return self.answer(416)
            status = 206
            headers["Content-Range"] = "bytes %d-%d/%d" % (start, len(data) - 1, len(data))
        body = data[start:]
        if kind not in ("drop", "stall"):
            hub.sent[path] = hub.sent.get(path, 0) + len(body)
            return self.answer(status, body, headers)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:fault[1]])
        self.wfile.flush()
        hub.sent[path] = hub.sent.get(path, 0) + min(fault[1], len(body))
        if kind == "stall":
            hub.released.wait(30)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub, role):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub, self.role = hub, role
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_port


class Hub:
    def __init__(self):
        self.repos = {}
        self.large = (".safetensors", ".gguf")  # endings of files in large file storage
        self.revisions = {"main", COMMIT}
        self.token = ""
        self.redirects = True
        self.ranges = True
        self.page_size = 1000
        self.more_entries = []  # of the list of files, as a hostile hub would have them
        self.faults = {}
        self.log = []
        self.sent = {}  # path → bytes of bodies
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.hub, self.store = Server(self, "hub"), Server(self, "store")
        self.url, self.store_url = self.hub.url, self.store.url

    def close(self):
        self.released.set()
        for server in (self.hub, self.store):
            server.shutdown()
            server.server_close()

    def entries(self, repo):
        out = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "a-folder"}]
        for path, data in self.repos[repo].items():
            entry = {"type": "file", "oid": git_oid(data), "size": len(data), "path": path}
            if path.endswith(self.large):
                entry["oid"] = git_oid(b"a pointer")
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data),
                                "pointerSize": 134}
            out.append(entry)
        return out + self.more_entries

    def next_fault(self, path):
        """Faults of a file happen where its bytes are served, others at their address."""
        with self.lock:
            for key in (path, path.split("/resolve/" + COMMIT + "/")[-1]):
                queue = self.faults.get(key)
                if not queue or (key != path and self.redirects and
                                 not self.log[-1][0] == "store"):
                    continue
                if len(queue) > 1 and queue[1] == FOREVER:
                    return queue[0]
                return queue.pop(0)
        return None
