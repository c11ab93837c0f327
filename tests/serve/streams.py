"""Many at once: every stream is what the same request yields alone, a full queue says so, and what
ends gives everything back.

    python3 tests/serve/streams.py FERRY SOURCE_DIR [--clients 2000]
"""
import argparse
import threading

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("ferry")
ARGUMENTS.add_argument("source")
ARGUMENTS.add_argument("--clients", type=int, default=72)  # more than fit into one batch

from harness import Server, chat, check, content, endless, events, finish, until  # reads sys.argv too

CLIENTS = ARGUMENTS.parse_args().clients


def body(i):
    """Half are greedy and think, half draw at random from a seed."""
    if i % 2 == 0:
        return chat("What is %d + %d?" % (i + 11, 3 * i + 20), thinking={"type": "enabled"}, max_tokens=48)
    return chat("Hello!", temperature=1.3, seed=i, max_tokens=24, n=1 + i % 3)


def answer(server, request):
    got = events(server.post("/v1/chat/completions", {**request, "stream": True}).text)
    if not got or got[-1] != "[DONE]":
        return ["broken off", got[-1:]]
    if len({e["id"] for e in got[:-1]}) != 1:
        return ["mixed"]
    return [content(got, i) for i in range(request.get("n", 1))]


def together(server):
    alone = [answer(server, body(i)) for i in range(CLIENTS)]
    check(sum("." in str(a) for a in alone) > 10, "the answers are no answers: %s" % alone[:4])
    results = [None] * CLIENTS
    start = threading.Barrier(CLIENTS)

    def client(i):
        start.wait()
        try:
            results[i] = answer(server, body(i))
        except OSError as error:
            results[i] = [str(error)]

    threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (one, many) in enumerate(zip(alone, results)):
        check(one == many, "request %d: alone %s, in company %s" % (i, one, many))
    until("an empty batch", server.idle)
    check(server.metric("ferry_kv_cache_usage_perc") == 0, "pages are kept")
    check(server.metric("ferry_http_connections") <= 2, "connections are kept")


def full_queue():
    with Server("--max-num-seqs", "1", "--max-waiting", "20") as server:
        holder = server.open_stream(endless(n=16), "/v1/completions")
        check(holder.recv(15) == b"HTTP/1.1 200 OK", "the first is taken")
        response = server.post("/v1/completions", endless(n=16))
        check(response.status == 429 and response.headers["Retry-After"], "a full queue: %d %s" % (response.status, response.text))
        check(response.json()["error"]["code"] == "rate_limit_exceeded", "its code: " + response.text)
        holder.close()
        until("an empty queue", server.idle)
        check(server.post("/v1/chat/completions", chat("Hello!")).status == 200, "after that")


with Server("--max-waiting", str(2 * CLIENTS)) as ferry:
    together(ferry)
full_queue()
finish()
