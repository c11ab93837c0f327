"""Every route, with and without /v1: what it answers, and how it says no."""
import gzip
import json
import os
import re

from harness import SOURCE, Server, chat, check, content, events, finish


def is_error(response, status, code, what, param=None):
    error = response.json().get("error", {})
    check(response.status == status and set(error) == {"message", "type", "param", "code"} and error["code"] == code
          and error["param"] == param and error["message"], "%s: %d %s" % (what, response.status, response.text[:300]))


def answers(server):
    for prefix in ("/v1", "", "/beta"):
        response = server.post(prefix + "/chat/completions", chat("What is 12 + 34?", thinking={"type": "enabled"}))
        message = response.json()["choices"][0]["message"]
        check("46" in message["content"] and "46" in message["reasoning_content"], "chat: " + response.text)
        response = server.post(prefix + "/completions", {"prompt": "What is", "max_tokens": 3, "temperature": 0})
        check(response.json()["usage"]["completion_tokens"] == 3, "completions: " + response.text)
    for prefix in ("/v1", ""):
        response = server.post(prefix + "/responses", {"input": "Hello!", "temperature": 0})
        check(response.json()["status"] == "completed", "responses: " + response.text)
        response = server.post(prefix + "/embeddings", {"input": ["Hello!", "What is 1 + 2?"]})
        vectors = [row["embedding"] for row in response.json()["data"]]
        check(len(vectors) == 2 and all(0.999 < sum(x * x for x in v) < 1.001 for v in vectors), "embeddings: " + response.text[:300])
        check(response.json()["usage"]["prompt_tokens"] > 4, "usage of embeddings")
        response = server.request("GET", prefix + "/models")
        check(response.json()["data"][0]["id"] == "demo", "models: " + response.text)
        response = server.request("GET", prefix + "/models/org%2Fname")
        check(response.status == 404 and "org/name" in response.text, "models/{id}: " + response.text)
        check(server.request("GET", prefix + "/models/demo").json()["id"] == "demo", "models/demo")
        ids = server.post(prefix + "/tokenize", {"prompt": "Hello!"}).json()["tokens"]
        text = server.post(prefix + "/detokenize", {"tokens": ids}).json()["prompt"]
        check("Hello!" in text, "there and back: %s" % text)
    for path in ("/livez", "/readyz", "/health", "/version", "/metrics", "/stats", "/v1/health"):
        check(server.request("GET", path).status == 200, path)
        head = server.request("HEAD", path)
        check(head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) > 0, "HEAD " + path)


CALCULATOR = {"name": "calculator", "description": "Evaluate an arithmetic expression.", "input_schema": {
    "type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}}


def messages(server):
    """Anthropic's dialect: a tool round trip, streamed as it is whole."""
    ask = {"max_tokens": 100, "temperature": 0, "tools": [CALCULATOR],
           "messages": [{"role": "user", "content": "What is 7905 plus 3619?"}]}
    for prefix in ("/v1", "", "/anthropic/v1"):
        got = server.post(prefix + "/messages", ask).json()
        check(got["type"] == "message" and got["stop_reason"] == "tool_use", "messages: %s" % got)
        (call,) = got["content"]
        check(call["type"] == "tool_use" and call["input"] == {"expression": "7905+3619"}, "tool_use: %s" % call)
        counted = server.post(prefix + "/messages/count_tokens", {**ask, "max_tokens": None}).json()
        used = got["usage"]["input_tokens"] + got["usage"]["cache_read_input_tokens"]
        check(counted == {"input_tokens": used}, "count_tokens: %s, %s" % (counted, got["usage"]))
    stream = events(server.post("/v1/messages", {**ask, "stream": True}).text)
    pieces = "".join(e["delta"].get("partial_json", "") for e in stream if e["type"] == "content_block_delta")
    check(json.loads(pieces) == call["input"], "pieces of the arguments: " + pieces)
    check(stream[0]["type"] == "message_start" and stream[-1]["type"] == "message_stop", "ends of a stream")
    ask["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call["id"], "content": "11524"}]}]
    got = server.post("/v1/messages", ask).json()
    check(got["content"] == [{"type": "text", "text": "The answer is 11524."}], "tool_result: %s" % got)
    wrong = server.post("/v1/messages", {"messages": []})
    check(wrong.status == 400 and wrong.json()["type"] == "error", "its errors: " + wrong.text)


def streams(server):
    body = chat("What is 20 + 30?", thinking={"type": "enabled"}, stream=True, stream_options={"include_usage": True})
    response = server.post("/v1/chat/completions", body)
    got = events(response.text)
    check(response.headers["Content-Type"].startswith("text/event-stream"), "type of a stream")
    reasoning, text, reason = content(got)
    check("50" in text and reasoning and reason == "stop", "stream: " + response.text)
    check(got[-1] == "[DONE]" and got[-2]["choices"] == [] and got[-2]["usage"]["completion_tokens"] > 5, "its end")
    whole = server.post("/v1/chat/completions", chat("What is 20 + 30?", thinking={"type": "enabled"})).json()
    check(whole["choices"][0]["message"]["content"] == text, "stream and whole differ")
    body = chat("Hello!", n=3, stream=True, temperature=1, seed=5)
    got = events(server.post("/v1/chat/completions", body).text)
    whole = server.post("/v1/chat/completions", {**body, "stream": False}).json()
    for i in range(3):
        check(content(got, i)[1] == whole["choices"][i]["message"]["content"], "choice %d of n" % i)
    got = server.post("/v1/responses", {"input": "Hello!", "stream": True, "temperature": 0}).text
    check("event: response.completed" in got and "[DONE]" not in got, "responses: " + got[-500:])
    check([e["sequence_number"] for e in events(got)] == list(range(got.count("data:"))), "sequence numbers")


def refusals(server):
    is_error(server.request("GET", "/v1/nothing"), 404, "not_found", "no route")
    is_error(server.request("GET", "/v1/chat/completions"), 405, "method_not_allowed", "GET")
    check(server.request("GET", "/v1/completions").headers["Allow"] == "POST", "Allow")
    is_error(server.post("/v1/models", {}), 405, "method_not_allowed", "POST")
    is_error(server.request("POST", "/v1/chat/completions", "{}", {"Content-Type": "text/plain"}), 415, "unsupported_media_type", "text")
    is_error(server.request("POST", "/v1/chat/completions", "{}", {"Content-Encoding": "gzip"}), 415, "unsupported_media_type", "gzip")
    is_error(server.post("/v1/chat/completions", {}), 400, "missing_required_parameter", "nothing asked", "messages")
    is_error(server.post("/v1/chat/completions", chat("x", temperature=-1)), 400, "invalid_value", "range", "temperature")
    is_error(server.post("/v1/completions", {"prompt": "a " * 5000}), 400, "context_length_exceeded", "too long", "prompt")
    for body in ("", "{", "[1]", '{"a":1,"a":2}', "[" * 200, "\xff", "nul", '{"messages":[]}x'):
        response = server.request("POST", "/v1/chat/completions", body.encode("latin-1"), {"Content-Type": "application/json"})
        check(response.status == 400 and "error" in response.json(), "body %r: %s" % (body[:20], response.text))


def headers(server):
    response = server.request("GET", "/v1/models", headers={"X-Request-Id": "abc-1"})
    check(response.headers["X-Request-Id"] == "abc-1", "the request's id")
    response = server.request("GET", "/v1/models", headers={"X-Request-Id": "a" * 500})
    check(response.headers["X-Request-Id"].startswith("req_"), "an id too long to be repeated")
    own = "http://%s:%d" % (server.host, server.port)
    check(server.post("/v1/chat/completions", chat("Hello!"), Origin=own).status == 200, "the own page")
    for foreign in ("http://evil.example", "null", "http://evil.example:%d" % server.port):
        response = server.post("/v1/chat/completions", chat("Hello!"), Origin=foreign)
        is_error(response, 403, "origin_not_allowed", foreign)
        check(response.headers["Access-Control-Allow-Origin"] is None, "CORS for " + foreign)
    # A name that was made to point here is no page of this server.
    rebound = "evil.example:%d" % server.port
    is_error(server.post("/v1/chat/completions", chat("x"), Origin="http://" + rebound, Host=rebound), 403, "origin_not_allowed", "rebinding")
    response = server.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "http://evil.example"})
    check(response.status == 204 and response.headers["Access-Control-Allow-Origin"] is None, "preflight")


def plans(server):
    asked = {"model": "deepseek-v3", "chips": ["H800 SXM 80GB", "910C"], "slo": "tpot=50ms", "max_chips": 64}
    response = server.post("/plan", asked)
    plan = response.json()
    check(response.status == 200 and {o["chip"].split()[0] for o in plan["options"]} == {"H800", "Ascend"}, response.text[:500])
    check(all(o["tpot_s"] <= 0.05 and o["frontier"] for o in plan["options"]) and "no legal advice" in plan["note"], response.text[:500])
    is_error(server.post("/plan", {**asked, "rate": -1}), 400, "invalid_value", "rate", "rate")
    is_error(server.post("/plan", {**asked, "html": "/tmp/x"}), 400, "unknown_parameter", "html", "html")
    is_error(server.post("/plan", {**asked, "model": "a" * 70000}), 413, "request_too_large", "a huge body")
    is_error(server.request("GET", "/plan"), 405, "method_not_allowed", "GET")
    is_error(server.post("/plan", asked, Origin="http://evil.example"), 403, "origin_not_allowed", "a page from elsewhere")
    catalogue = server.request("GET", "/plan/catalogue").json()
    check("H20 96GB" in [c["name"] for c in catalogue["chips"]] and "kimi-k2" in [m["name"] for m in catalogue["models"]], "catalogue")


def page(server):
    plain = server.request("GET", "/?x=1")
    check(plain.text.startswith("<!doctype html>") and plain.headers["Content-Security-Policy"], "page")
    packed = server.request("GET", "/", headers={"Accept-Encoding": "gzip, br"})
    check(gzip.decompress(packed.body) == plain.body, "gzip")
    again = server.request("GET", "/", headers={"If-None-Match": plain.headers["ETag"]})
    check(again.status == 304 and again.body == b"", "304")
    check(server.request("GET", "/page.js").status == 200 and server.request("GET", "/page.map").status == 404, "files")


def flags():
    with Server("--served-model-name", "big", "--served-model-name", "alias", "--strict-model-name",
                "--metrics-compat", "vllm", "--allow-origin", "http://app.example") as server:
        names = [m["id"] for m in server.request("GET", "/v1/models").json()["data"]]
        check(names == ["big", "alias"], "names: %s" % names)
        check(server.post("/v1/chat/completions", chat("Hello!", model="alias")).status == 200, "alias")
        is_error(server.post("/v1/chat/completions", chat("Hello!", model="gpt-4")), 404, "model_not_found", "strict", "model")
        text = server.request("GET", "/metrics").text
        check('vllm:generation_tokens_total{model_name="big"}' in text and "ferry_num" not in text, "vLLM's names")
        response = server.post("/v1/chat/completions", chat("Hello!", model="big"), Origin="http://app.example")
        check(response.status == 200 and response.headers["Access-Control-Allow-Origin"] == "http://app.example", "CORS")
        response = server.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "http://app.example"})
        check("authorization" in response.headers["Access-Control-Allow-Headers"], "preflight")


def stats(server):
    rows = server.request("GET", "/stats").json()["requests"]
    chats = [r for r in rows if r["route"] == "chat/completions" and r["state"] == "done"]
    check(chats and all(r["ttft_ms"] <= r["duration_ms"] and r["prompt_tokens"] > 0 for r in chats), json.dumps(rows)[:500])
    check(server.metric("ferry_iteration_tokens_total_count") > 10 and server.metric("ferry_iteration_tokens_total_sum") > 100, "steps")
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds"):
        check(server.metric("ferry_%s_count" % name) > 10, name)
    check(server.metric("ferry_generation_tokens_total") > 100, "tokens")
    with open(os.path.join(SOURCE, "packaging", "grafana", "ferry.json"), encoding="utf-8") as f:
        wanted = set(re.findall(r"\bferry_\w+", json.dumps(json.load(f))))
    text = server.request("GET", "/metrics").text
    check(len(wanted) > 10 and all(name in text for name in wanted), "the dashboard asks for %s" % sorted(n for n in wanted if n not in text))
    check(server.metric("ferry_request_success_total") == server.metric("ferry_e2e_request_latency_seconds_count"), "ends")


with Server() as ferry:
    for part in (answers, messages, streams, refusals, headers, plans, page, stats):
        part(ferry)
flags()
finish()
