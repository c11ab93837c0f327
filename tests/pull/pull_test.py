"""Runs `ferry pull` against hub_server.py.   pull_test.py FERRY DEMO_FOLDER [TEST…]"""
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from hub_server import COMMIT, FOREVER, Hub, git_oid

FERRY = DEMO = None
WEIGHTS = bytes(i * 7 % 251 for i in range(400_000))
SMALL = {"config.json": b'{"x": 1}\n', "tokenizer.json": b"{}\n", "model.safetensors": WEIGHTS,
         "README.md": b"not fetched\n"}


class PullTest(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="ferry-pull-")
        self.hub = Hub()
        self.hub.repos["org/name"] = dict(SMALL)
        self.folder = self.home + "/hub/models--org--name"
        self.snapshot = self.folder + "/snapshots/" + COMMIT

    def tearDown(self):
        self.hub.close()
        shutil.rmtree(self.home)

    # -- helpers

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("HF_", "FERRY_")) and not k.lower().endswith("_proxy")}
        env.update(HOME=self.home, HF_HOME=self.home, HF_ENDPOINT=self.hub.url,
                   XDG_CONFIG_HOME=self.home + "/config")
        env.update(more)
        return env

    def ferry(self, *arguments, code=0, **env):
        result = subprocess.run([FERRY, *arguments], capture_output=True, text=True, timeout=60,
                                env=self.environment(**env))
        if code is not None:
            self.assertEqual(result.returncode, code, result.stderr + result.stdout)
        return result

    def pull(self, model="org/name", *flags, code=0, **env):
        return self.ferry("pull", model, *flags, code=code, **env)

    def requests(self, ending, server="store"):
        return [headers for role, path, headers in self.hub.log
                if role == server and path.endswith(ending)]

    def blob(self, data=WEIGHTS):
        return self.folder + "/blobs/" + hashlib.sha256(data).hexdigest()

    def start_and_wait_for(self, incomplete_bytes):
        """A pull that has fetched so much and now hangs."""
        process = subprocess.Popen([FERRY, "pull", "org/name"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment())
        end = time.time() + 20
        path = self.blob() + ".incomplete"
        while not os.path.exists(path) or os.path.getsize(path) < incomplete_bytes:
            self.assertLess(time.time(), end, "no bytes came")
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        return process

    def assert_whole(self):
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            with open(self.snapshot + "/" + name, "rb") as f:
                self.assertEqual(f.read(), SMALL[name], name)
        self.assertEqual([n for n in os.listdir(self.folder + "/blobs") if "." in n], [])

    # -- what it leaves

    def test_layout_of_the_cache(self):
        result = self.pull("org/name", "--json")
        out = json.loads(result.stdout)
        self.assertEqual(out["path"], self.snapshot)
        self.assertEqual(out["commit"], COMMIT)
        self.assertEqual({f["name"]: (f["bytes"], f["sha256"]) for f in out["files"]},
                         {n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in SMALL.items()
                          if n != "README.md"})
        self.assert_whole()
        links = {n: os.readlink(self.snapshot + "/" + n) for n in os.listdir(self.snapshot)}
        self.assertEqual(links, {
            "config.json": "../../blobs/" + git_oid(SMALL["config.json"]),
            "tokenizer.json": "../../blobs/" + git_oid(SMALL["tokenizer.json"]),
            "model.safetensors": "../../blobs/" + hashlib.sha256(WEIGHTS).hexdigest()})
        with open(self.folder + "/refs/main", encoding="ascii") as f:
            self.assertEqual(f.read(), COMMIT)

    def test_what_is_there_is_not_fetched_again(self):
        self.pull()
        self.hub.log.clear()
        result = self.pull()
        self.assertEqual([p for _, p, _ in self.hub.log if "/resolve/" in p], [])
        self.assertIn("0 B were fetched", result.stderr)

    def test_demo_model_can_be_shown_and_listed(self):
        self.hub.repos["org/demo"] = {}
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            with open(os.path.join(DEMO, name), "rb") as f:
                self.hub.repos["org/demo"][name] = f.read()
        self.assertIn("Next: ferry run org/demo", self.pull("org/demo").stderr)
        listed = json.loads(self.ferry("ls", "--json").stdout)["models"]
        model = [m for m in listed if m["name"] == "org/demo"][0]
        self.assertEqual(model["bytes"], len(self.hub.repos["org/demo"]["model.safetensors"]))
        shown = json.loads(self.ferry("show", "org/demo", "--json").stdout)
        self.assertTrue(shown["path"].endswith("models--org--demo/snapshots/" + COMMIT))

    def test_revisions_and_pages(self):
        self.hub.page_size = 2
        self.hub.revisions.add("refs/pr/1")
        self.pull("org/name", "--revision", "refs/pr/1")
        self.assert_whole()
        self.assertTrue(os.path.exists(self.folder + "/refs/refs/pr/1"))
        self.assertEqual(len([p for _, p, _ in self.hub.log if "/tree/" in p]), 3)
        self.pull("org/name", "--revision", COMMIT)
        self.assertEqual(os.listdir(self.folder + "/refs"), ["refs"])
        self.assertIn("404", self.pull("org/name", "--revision", "v9", code=2).stderr)
        self.pull("org/name", "--revision", "../../x", code=2)

    def test_gguf_is_chosen_by_name(self):
        self.hub.repos["org/name"] = {
            "m-Q4_K_M.gguf": b"four", "m-Q8_0.gguf": b"eight!", "sub dir/m-F16-00001-of-00002.gguf":
            b"a", "sub dir/m-F16-00002-of-00002.gguf": b"b"}
        listed = self.pull(code=2).stderr
        for text in ("m-Q4_K_M.gguf", "6 B", "in 2 parts", "ferry pull org/name:m-Q4_K_M.gguf"):
            self.assertIn(text, listed)
        self.assertEqual(self.pull("org/name:q4_k_m").stdout.strip(),
                         self.snapshot + "/m-Q4_K_M.gguf")
        self.pull("org/name:f16")
        part = self.snapshot + "/sub dir/m-F16-00002-of-00002.gguf"
        self.assertEqual(os.readlink(part), "../../../blobs/" + hashlib.sha256(b"b").hexdigest())
        with open(part, "rb") as f:
            self.assertEqual(f.read(), b"b")
        self.assertFalse(os.path.lexists(self.snapshot + "/m-Q8_0.gguf"))
        self.assertIn("but these", self.pull("org/name:Q5", code=2).stderr)

    # -- connections that fail

    def test_dropped_connections_go_on_where_they_stopped(self):
        self.hub.faults["model.safetensors"] = [("drop", 100_000), ("drop", 50_000)]
        self.pull()
        self.assert_whole()
        self.assertEqual([h.get("Range") for h in self.requests("model.safetensors")],
                         [None, "bytes=100000-", "bytes=150000-"])
        self.assertEqual(self.hub.sent["model.safetensors"], len(WEIGHTS))

    def test_a_killed_pull_is_resumed(self):
        self.hub.faults["model.safetensors"] = [("stall", 150_000)]
        process = self.start_and_wait_for(150_000)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.hub.log.clear()
        self.pull()
        self.assert_whole()
        self.assertEqual([h.get("Range") for h in self.requests("model.safetensors")],
                         ["bytes=150000-"])
        self.assertEqual(self.hub.sent["model.safetensors"], len(WEIGHTS))

    def test_interrupt_keeps_what_came(self):
        self.hub.faults["model.safetensors"] = [("stall", 150_000)]
        process = self.start_and_wait_for(150_000)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assertIn("the same command goes on", stderr)
        self.assertEqual(os.path.getsize(self.blob() + ".incomplete"), 150_000)
        self.assertFalse(os.path.exists(self.folder + "/refs/main"))
        self.pull()
        self.assertEqual(self.hub.sent["model.safetensors"], len(WEIGHTS))

    def test_server_without_ranges_starts_over(self):
        self.hub.ranges = False
        self.hub.faults["model.safetensors"] = [("drop", 100_000)]
        self.pull()
        self.assert_whole()
        self.assertEqual(self.hub.sent["model.safetensors"], 100_000 + len(WEIGHTS))

    def test_answers_that_pass(self):
        self.hub.faults["/api/models/org/name/revision/main"] = [
            ("status", 429, {"Retry-After": "1"})]
        self.hub.faults["config.json"] = [("status", 500)]
        self.hub.faults["model.safetensors"] = [("status", 503, {"Retry-After": "1"}), ("drop", 0)]
        start = time.time()
        self.pull()
        self.assertGreater(time.time() - start, 2)
        self.assert_whole()

    def test_answers_that_do_not_pass(self):
        self.hub.faults["model.safetensors"] = [("status", 500), FOREVER]
        result = self.pull("org/name", "--retries", "1", code=3)
        self.assertIn("model.safetensors: the hub answers 500, 2 times", result.stderr)
        self.assertFalse(os.path.exists(self.folder + "/refs/main"))
        self.hub.faults["model.safetensors"] = [("status", 429, {"Retry-After": "99999"})]
        self.assertIn("come back in 99999 s", self.pull(code=3).stderr)

    def test_no_hub_there(self):
        result = self.pull("org/name", "--retries", "1", code=3, HF_ENDPOINT="http://127.0.0.1:1")
        self.assertIn("again in 0.5 s", result.stderr)

    # -- who may read

    def test_the_token_goes_to_the_hub_only(self):
        self.hub.token = "hf_secret"
        for options in ({}, {"HF_TOKEN": "hf_wrong"}):
            result = self.pull(code=2, **options)
            self.assertIn("HF_TOKEN", result.stderr)
            self.assertNotIn("hf_", result.stderr)
        self.pull(HF_TOKEN="hf_secret")
        self.assert_whole()
        self.assertTrue(self.requests("model.safetensors"))
        for role, path, headers in self.hub.log:
            if role == "store":
                self.assertNotIn("Authorization", headers, path)
        self.assertEqual(self.requests("config.json", "hub")[-1]["Authorization"],
                         "Bearer hf_secret")
        self.assertIn("HF_TOKEN", self.pull(code=2, HF_TOKEN="a\nX-Header: b").stderr)

    def test_refusals(self):
        self.assertIn("404", self.pull("org/other", code=2).stderr)
        self.assertIn("no file", self.pull("org/name:other.bin", code=2).stderr)
        self.assertIn("HF_HUB_OFFLINE", self.pull(code=2, HF_HUB_OFFLINE="1").stderr)
        self.assertIn("HF_ENDPOINT", self.pull(code=2, HF_ENDPOINT="file:///etc").stderr)
        for name in ("name", "../name", "org/../../x", "org/na me"):
            self.pull(name, code=2)
        self.hub.faults["model.safetensors"] = [("status", 403), FOREVER]
        self.assertIn("model.safetensors: the hub refuses it (403)", self.pull(code=2).stderr)

    def test_redirects_to_other_protocols_are_refused(self):
        self.hub.faults["model.safetensors"] = [
            ("status", 302, {"Location": "file:///etc/passwd"}), FOREVER]
        self.assertIn("no http address", self.pull(code=3).stderr)
        here = self.hub.store_url + "/org/name/resolve/%s/model.safetensors" % COMMIT
        self.hub.faults["model.safetensors"] = [("status", 302, {"Location": here}), FOREVER]
        self.assertIn("redirected too often", self.pull(code=3).stderr)

    # -- bytes and names that are wrong

    def test_wrong_bytes_once(self):
        self.hub.faults["model.safetensors"] = [("wrong",)]
        self.hub.faults["config.json"] = [("wrong",)]
        self.pull()
        self.assert_whole()

    def test_wrong_bytes_always(self):
        for name, kind in (("model.safetensors", "sha256"), ("config.json", "git sha1")):
            self.hub.faults = {name: [("wrong",), FOREVER]}
            result = self.pull(code=3)
            flipped = bytes(b ^ 0xff for b in SMALL[name])
            found = {"sha256": hashlib.sha256(flipped).hexdigest(), "git sha1": git_oid(flipped)}
            right = {"sha256": hashlib.sha256(SMALL[name]).hexdigest(),
                     "git sha1": git_oid(SMALL[name])}
            self.assertIn("%s: wrong bytes, 2 times: %s is %s, expected %s" %
                          (name, kind, found[kind], right[kind]), result.stderr)
            self.assertFalse(os.path.exists(self.folder + "/blobs/" + right[kind]))
            self.assertFalse(os.path.exists(self.folder + "/blobs/" + right[kind] + ".incomplete"))
            self.assertFalse(os.path.exists(self.folder + "/refs/main"))
            shutil.rmtree(self.folder)

    def test_spoilt_rest_of_an_earlier_pull(self):
        for size in (1000, len(WEIGHTS), len(WEIGHTS) + 5):
            os.makedirs(self.folder + "/blobs", exist_ok=True)
            with open(self.blob() + ".incomplete", "wb") as f:
                f.write(b"x" * size)
            self.pull()
            self.assert_whole()
            shutil.rmtree(self.folder)

    def test_more_bytes_than_announced(self):
        self.hub.faults["model.safetensors"] = [("longer",), FOREVER]
        self.assertIn("more than the 400000 bytes", self.pull(code=3).stderr)
        self.assertFalse(os.path.exists(self.blob() + ".incomplete"))

    def test_a_web_page_does_not_cost_what_is_there(self):
        self.hub.faults["model.safetensors"] = [("drop", 100_000), ("page",)]
        self.assertIn("26 bytes", self.pull(code=3).stderr)
        self.assertEqual(os.path.getsize(self.blob() + ".incomplete"), 100_000)
        self.pull()
        self.assert_whole()

    def test_hostile_names_and_sizes(self):
        good = {"type": "file", "oid": "a" * 40, "size": 1, "path": "config2.json"}
        for change in ({"path": "../../../../evil.safetensors"}, {"path": "/etc/evil.safetensors"},
                       {"path": "a/../evil.safetensors"}, {"path": "evil\u001b[2J.safetensors"},
                       {"path": "a\u0000b"}, {"path": ""}, {"path": "config.json"}, {"path": 7},
                       {"size": -1}, {"size": 1.5}, {"size": 2**64}, {"oid": "../../x"},
                       {"oid": "a" * 39}, {"lfs": {"oid": "b" * 63, "size": 1}}, {"lfs": 3}):
            self.hub.more_entries = [{**good, **change}]
            result = self.pull("org/name", "--retries", "0", code=None)
            self.assertIn(result.returncode, (2, 3), change)
            self.assertTrue(result.stderr.startswith("ferry: org/name: the list of files"), change)
            self.assertEqual(result.stderr.count("\n"), 1, change)
            self.assertNotIn("\x1b", result.stderr)
            self.assertFalse(os.path.exists(self.folder + "/refs"), change)
        self.assertEqual([p for _, p, _ in self.hub.log if "/resolve/" in p], [])

    def test_not_enough_space(self):
        self.hub.more_entries = [{"type": "file", "oid": "a" * 40, "size": 2**61,
                                  "path": "big.safetensors"}]
        result = self.pull(code=3)
        self.assertRegex(result.stderr, r"[0-9.]+ PB are to be fetched, [0-9.]+ .?B are free")
        self.assertEqual(self.requests("model.safetensors"), [])

    # -- two at the same time

    def test_two_pulls_do_not_clash(self):
        folder = self.home + "/hub/.locks/models--org--name"
        os.makedirs(folder)
        with open(folder + "/" + hashlib.sha256(WEIGHTS).hexdigest() + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = subprocess.Popen([FERRY, "pull", "org/name"], stderr=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, text=True,
                                       env=self.environment())
            self.assertIn("model.safetensors: another program", process.stderr.readline())
            with open(self.blob(), "wb") as f:  # which is done now
                f.write(WEIGHTS)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(self.requests("model.safetensors"), [])
        self.assert_whole()

    def test_equal_files_are_fetched_once(self):
        self.hub.repos["org/name"]["model-copy.safetensors"] = WEIGHTS
        self.pull()
        self.assertEqual(self.hub.sent.get("model.safetensors", 0) +
                         self.hub.sent.get("model-copy.safetensors", 0), len(WEIGHTS))
        with open(self.snapshot + "/model-copy.safetensors", "rb") as f:
            self.assertEqual(f.read(), WEIGHTS)


if __name__ == "__main__":
    FERRY, DEMO = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
