"""Every architecture on tiny random checkpoints, through `ferry synth` and `ferry logits`:

  cpu: the same bits with 1, 2 and 3 threads and with prompts cut into chunks of 1, 7, 64 or all
  cpu against the reference backend, whole and step by step
  step by step against whole (for MLA: the absorbed against the expanded form)
  the Hugging Face folder against its GGUF export, FP8 and INT4 against what they decode to
"""
import array
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from driver import check, finish, run, workspace  # noqa: E402

NUM_TOKENS = 90  # more than one page, chunk and attention tile
LIMIT = 3e-4       # of the deviation of the logits
STDDEV = "0.2"     # of the weights: enough for attention and experts to choose sharply

COMMON = {"vocab_size": 320, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
          "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
GQA = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3,
       "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "rope_theta": 10000.0}
MLA = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3,
       "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 48, "kv_lora_rank": 32,
       "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "rope_theta": 10000.0,
       "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_routed_experts": 8,
       "num_experts_per_tok": 3, "n_shared_experts": 1, "moe_intermediate_size": 64}
YARN = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 64, "beta_fast": 32,
        "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}

MODELS = {
    "llama": {**GQA, "model_type": "llama", "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}},
    "qwen2": {**GQA, "model_type": "qwen2"},
    "qwen3": {**GQA, "model_type": "qwen3", "tie_word_embeddings": True},
    "qwen3_moe": {**GQA, "model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2,
                  "moe_intermediate_size": 64, "norm_topk_prob": True, "decoder_sparse_step": 1,
                  "mlp_only_layers": []},
    "deepseek_v2_lite": {**MLA, "model_type": "deepseek_v2", "q_lora_rank": None,
                         "topk_method": "greedy", "scoring_func": "softmax", "n_group": 1,
                         "topk_group": 1, "norm_topk_prob": False, "routed_scaling_factor": 1.0,
                         "rope_scaling": YARN},
    "deepseek_v2": {**MLA, "model_type": "deepseek_v2", "topk_method": "group_limited_greedy",
                    "scoring_func": "softmax", "n_group": 4, "topk_group": 2,
                    "norm_topk_prob": False, "routed_scaling_factor": 16.0},
    "deepseek_v3": {**MLA, "model_type": "deepseek_v3", "topk_method": "noaux_tc",
                    "scoring_func": "sigmoid", "n_group": 4, "topk_group": 2,
                    "norm_topk_prob": True, "routed_scaling_factor": 2.5, "rope_scaling": YARN},
    "kimi_k2": {**MLA, "model_type": "kimi_k2", "topk_method": "noaux_tc",
                "scoring_func": "sigmoid", "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
                "routed_scaling_factor": 2.827},
    "deepseek_v4": {"model_type": "deepseek_v4", "hidden_size": 96, "num_hidden_layers": 3,
                    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 48,
                    "qk_rope_head_dim": 16, "q_lora_rank": 48, "o_groups": 2, "o_lora_rank": 24,
                    "sliding_window": 24, "compress_ratios": [0, 4, 16, 0],
                    "num_nextn_predict_layers": 1, "compress_rope_theta": 40000.0,
                    "index_n_heads": 4, "index_head_dim": 32, "index_topk": 12, "hc_mult": 4,
                    "hc_sinkhorn_iters": 20, "n_routed_experts": 8, "num_experts_per_tok": 3,
                    "n_shared_experts": 1, "moe_intermediate_size": 64, "num_hash_layers": 1,
                    "swiglu_limit": 10.0, "routed_scaling_factor": 1.5, "norm_topk_prob": True,
                    "scoring_func": "sqrtsoftplus", "rope_theta": 10000.0, "expert_dtype": "fp4",
                    "rope_scaling": {"type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1,
                                     "original_max_position_embeddings": 64}},
}


class Model:
    def __init__(self, path, work, tokens):
        self.path, self.work, self.tokens = path, work, tokens

    def logits(self, *flags):
        out = os.path.join(self.work, "out.f32")
        result = run("logits", self.path, "--tokens", self.tokens, "--out", out, *flags)
        check(result.returncode == 0, "%s %s: %s" % (self.path, flags, result.err))
        with open(out, "rb") as f:
            return f.read()


def distance(a, b):
    a, b = (array.array("f", x) for x in (a, b))
    check(len(a) == len(b) > 0, "sizes differ")
    return max(abs(x - y) for x, y in zip(a, b))


def deviation(logits):
    values = array.array("f", logits)
    return (sum(v * v for v in values) / len(values)) ** 0.5


def near(what, a, b):
    error = distance(a, b) / deviation(b)
    print("  %-34s %.1e" % (what, error))
    check(error <= LIMIT, "%s: %g" % (what, error))


def make(*args):
    result = run("synth", *args)
    check(result.returncode == 0, "synth %s: %s" % (args, result.err))


def one(name, config, work, tokens):
    print(name)
    shape = os.path.join(work, name + ".json")
    with open(shape, "w", encoding="utf-8") as f:
        json.dump({**COMMON, **config}, f)
    folder, gguf = os.path.join(work, name), os.path.join(work, name + ".gguf")
    make(shape, "--quant", "BF16", "--out", folder, "--stddev", STDDEV)
    model = Model(folder, work, tokens)
    whole = model.logits("--threads", "1")
    check(deviation(whole) > 0.3, "%s: the logits are all alike" % name)
    for flags in (["--threads", "2"], ["--threads", "3", "--chunk", "1"], ["--threads", "2", "--chunk", "7"],
                  ["--threads", "1", "--chunk", "64"]):
        check(model.logits(*flags) == whole, "%s: other bits with %s" % (name, flags))
    stepped = model.logits("--step", "40")
    check(model.logits("--step", "40", "--threads", "1", "--chunk", "7") == stepped,
          "%s: other bits stepwise" % name)
    near("step by step against whole", stepped, whole)
    near("reference against cpu", model.logits("--backend", "reference"), whole)
    near("reference stepwise against cpu", model.logits("--backend", "reference", "--step", "40"), stepped)
    make("--from", folder, "--quant", "BF16", "--out", gguf)
    near("GGUF against Hugging Face", Model(gguf, work, tokens).logits(), whole)

    fp8, plain = os.path.join(work, name + "-fp8"), os.path.join(work, name + "-f32.gguf")
    make(shape, "--quant", "FP8", "--out", fp8, "--stddev", STDDEV)
    make("--from", fp8, "--quant", "F32", "--out", plain)
    near("FP8 against its values in F32", Model(fp8, work, tokens).logits(),
         Model(plain, work, tokens).logits())
    if name == "deepseek_v4":  # whose experts are in FP4
        packed = Model(fp8, work, tokens)
        check(deviation(packed.logits()) > 0.3, "%s: the logits of FP8 are all alike" % name)
        near("FP8 reference against cpu", packed.logits("--backend", "reference"), packed.logits())
    if name == "kimi_k2":
        int4, plain = os.path.join(work, name + "-int4"), os.path.join(work, name + "-int4.gguf")
        make(shape, "--quant", "INT4", "--out", int4, "--stddev", STDDEV)
        make("--from", int4, "--quant", "F32", "--out", plain)
        packed = Model(int4, work, tokens)
        near("INT4 against its values in F32", packed.logits(), Model(plain, work, tokens).logits())
        near("INT4 reference against cpu", packed.logits("--backend", "reference"), packed.logits())


def main():
    r = random.Random(5)
    with workspace() as work:
        tokens = os.path.join(work, "tokens.json")
        with open(tokens, "w", encoding="utf-8") as f:
            json.dump([r.randrange(COMMON["vocab_size"]) for _ in range(NUM_TOKENS)], f)
        for name, config in MODELS.items():
            one(name, config, work, tokens)
    finish()


main()
