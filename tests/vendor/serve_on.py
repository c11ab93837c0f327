"""One request to `ferry serve` on an emulated chip; the answer is the one of the cpu.

  serve_on.py FERRY SOURCE_DIR BACKEND VARIABLE=VALUE… [--FLAG…]
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.abspath(sys.argv[2]), "tests/serve"))
from harness import Server, chat, check, finish  # noqa: E402

BACKEND = sys.argv[3]
FLAGS = [argument for argument in sys.argv[4:] if argument.startswith("--")]
SETTINGS = dict(setting.split("=", 1) for setting in sys.argv[4:] if setting not in FLAGS)


def answer(*flags, env=None):
    with Server(*flags, env=env) as server:
        response = server.post("/v1/chat/completions", chat("What is 12 + 30?", max_tokens=120))
        check(response.status == 200, "%s: %d %s" % (flags, response.status, response.text[:300]))
        return response.json()["choices"][0]["message"]


expected = answer("--backend", "cpu")
got = answer("--backend", BACKEND, *FLAGS, env=SETTINGS)
check("42" in (expected.get("content") or ""), "the cpu answers %r" % (expected,))
check(got == expected, "%s answers %r, the cpu %r" % (BACKEND, got, expected))
finish()
