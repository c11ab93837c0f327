"""`ferry serve` with small models of random weights: the counters of guesses of a DeepSeek-V4 with its
prediction module, calls of tools in DSML as they stream, and what is said when a model's file becomes
shorter under the server."""
import json
import os
import struct
import subprocess
import tempfile

from harness import FERRY, PATIENCE_S, SOURCE, Server, check, environment, events, finish, until

V4 = {"model_type": "deepseek_v4", "architectures": ["DeepseekV4ForCausalLM"], "vocab_size": 512,
      "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 1,
      "head_dim": 24, "qk_rope_head_dim": 8, "q_lora_rank": 40, "o_groups": 2, "o_lora_rank": 12,
      "sliding_window": 7, "compress_ratios": [0, 4, 16, 0], "num_nextn_predict_layers": 1,
      "compress_rope_theta": 40000.0, "index_n_heads": 3, "index_head_dim": 20, "index_topk": 5,
      "hc_mult": 4, "hc_sinkhorn_iters": 5, "hc_eps": 1e-6, "n_routed_experts": 8,
      "num_experts_per_tok": 3, "moe_intermediate_size": 32, "n_shared_experts": 1,
      "num_hash_layers": 1, "swiglu_limit": 2.0, "routed_scaling_factor": 1.5,
      "norm_topk_prob": True, "scoring_func": "sqrtsoftplus", "rms_norm_eps": 1e-6,
      "rope_theta": 10000.0, "max_position_embeddings": 512, "tie_word_embeddings": False,
      "bos_token_id": 0, "eos_token_id": 1}
V32 = {"model_type": "deepseek_v32", "architectures": ["DeepseekV32ForCausalLM"], "vocab_size": 1024,
       "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 4,
       "num_key_value_heads": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
       "v_head_dim": 24, "q_lora_rank": 40, "n_routed_experts": 8, "num_experts_per_tok": 3,
       "moe_intermediate_size": 40, "first_k_dense_replace": 1, "n_shared_experts": 1, "n_group": 4,
       "topk_group": 2, "routed_scaling_factor": 2.5, "norm_topk_prob": True, "scoring_func": "sigmoid",
       "topk_method": "noaux_tc", "index_n_heads": 3, "index_head_dim": 20, "index_topk": 12,
       "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "max_position_embeddings": 4096,
       "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 0, "eos_token_id": 1}
CHOICES = range(20, 23)  # tokens that the head tells apart; all others have a logit of 0


def synth(work, name, config, *flags):
    shape, folder = os.path.join(work, name + ".json"), os.path.join(work, name)
    with open(shape, "w", encoding="utf-8") as f:
        json.dump(config, f)
    made = subprocess.run([FERRY, "synth", shape, "--stddev", "0.2", "--quant", "F32", "--out", folder, *flags],
                          env=environment(), capture_output=True)
    check(made.returncode == 0, "synth: %s" % made.stderr)
    return folder


def small_v4(work):
    folder = synth(work, "v4", V4, "--mtp")
    path = os.path.join(folder, "model.safetensors")
    with open(path, "r+b") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        begin, end = json.loads(f.read(size))["head.weight"]["data_offsets"]
        row = (end - begin) // V4["vocab_size"]
        for first, last in ((0, CHOICES[0]), (CHOICES[-1] + 1, V4["vocab_size"])):
            f.seek(8 + size + begin + first * row)
            f.write(bytes((last - first) * row))
    return folder, path


def question(prompt):
    return {"prompt": prompt, "temperature": 0, "max_tokens": 120, "ignore_eos": True,
            "logit_bias": {str(token): 100 for token in CHOICES}}


def guesses(folder):
    drafts, right = "ferry_spec_decode_num_draft_tokens_total", "ferry_spec_decode_num_accepted_tokens_total"
    prompts = [[5 + i, 200 - i, 77, 8 * i] for i in range(4)]

    def answers(server):
        return [server.post("/v1/completions", question(prompt)).json()["choices"][0]["text"] for prompt in prompts]

    with Server(folder) as server:
        expected = answers(server)
        check(server.metric(drafts) == 0, "guesses without --speculate")
    with Server(folder, "--speculate", "mtp") as server:
        check(server.metric(drafts) == 0 and server.metric(right) == 0, "guesses before a request")
        first = server.post("/v1/completions", question(prompts[0])).json()["choices"][0]["text"]
        check(first == expected[0], "guesses change an answer")
        until("guesses in the metrics", lambda: server.metric(drafts) > 0)
        before = server.metric(drafts), server.metric(right)
        check(before[1] < before[0], "all guesses right: %s of %s" % (before[1], before[0]))
        check(answers(server) == expected, "guesses change answers")
        until("more guesses", lambda: server.metric(drafts) > before[0] and server.metric(right) > before[1])


def with_dsml(folder):
    """The built-in model's vocabulary and no template, with a token that says: this is V3.2."""
    old, new = "<｜tool▁outputs▁begin｜>", "｜DSML｜"
    with open(os.path.join(SOURCE, "demo", "tokenizer.json"), encoding="utf-8") as f:
        text = f.read().replace(old, new)
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        f.write(text)
    with open(os.path.join(SOURCE, "demo", "tokenizer_config.json"), encoding="utf-8") as f:
        config = json.load(f)
    del config["chat_template"]
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    return folder


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "required": ["city", "days"],
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}}}}}


def streamed_calls(folder):
    with Server(folder, "-c", "2048") as server:
        for thinking in (False, True):
            body = {"messages": [{"role": "user", "content": "How will it be in Graz?"}], "tools": [WEATHER],
                    "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 800, "temperature": 0.7,
                    "thinking": {"type": "enabled" if thinking else "disabled"},
                    "logit_bias": {"4": 6} if thinking else {}}  # </think> comes soon, with most seeds
            for seed in range(20):
                body["seed"] = seed
                whole = server.post("/v1/chat/completions", body).json()["choices"][0]
                thoughts = whole["message"].get("reasoning_content") or ""
                if whole["finish_reason"] == "tool_calls" and (thoughts != "") == thinking:
                    break
            check(whole["finish_reason"] == "tool_calls", "%s: %s" % (folder, whole))
            call = whole["message"]["tool_calls"][0]["function"]
            check(call["name"] == "weather", "a call of %s" % call["name"])
            arguments = json.loads(call["arguments"])
            check(len(arguments["city"]) <= 8 and 1 <= arguments["days"] <= 9, "arguments: %s" % arguments)
            names, pieces, reasoning = "", [], ""
            for event in events(server.post("/v1/chat/completions", {**body, "stream": True}).text):
                for choice in event["choices"] if event != "[DONE]" else []:
                    reasoning += choice["delta"].get("reasoning_content") or ""
                    check(not choice["delta"].get("content"), "markup in the text: %s" % choice["delta"])
                    for piece in choice["delta"].get("tool_calls", []):
                        names += piece["function"].get("name", "")
                        pieces.append(piece["function"]["arguments"])
            check(names == "weather" and "".join(pieces) == call["arguments"], "streamed %s %s" % (names, pieces))
            check(reasoning == thoughts, "thoughts: %s" % reasoning[:200])


def shortened(folder, path):
    with Server(folder, code=3) as server:
        server.told = True  # it ends by itself
        os.truncate(path, 4096)
        try:
            server.post("/v1/completions", question([1, 2, 3]))
            check(False, "an answer from weights that are not there")
        except (OSError, ValueError):
            pass  # the connection ends
        server.process.wait(timeout=PATIENCE_S)
        until("a word about the file", lambda: path + ": has become shorter" in server.said)


def main():
    with tempfile.TemporaryDirectory(prefix="ferry-serve-") as work:
        folder, path = small_v4(work)
        guesses(folder)
        streamed_calls(with_dsml(synth(work, "calls-v4", {**V4, "vocab_size": 1024, "max_position_embeddings": 4096})))
        streamed_calls(with_dsml(synth(work, "calls-v32", V32)))
        shortened(folder, path)
    finish()


main()
