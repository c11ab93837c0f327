"""Evaluates the trained model and writes eval.jsonl and the goldens.

evaluate.py FOLDER accuracy                  held-out accuracy and MTP acceptance, greedy, float32
evaluate.py FOLDER files                     eval.jsonl and goldens/ (needs Jinja2 for the template goldens)
evaluate.py FOLDER ask "QUESTION" [--direct] one answer
"""
import argparse
import json
import os
import random
import struct
from collections import defaultdict

import numpy as np
import torch

import data
import write_accuracy_set
from model import CONFIG, Model
from tokenizer import Tokenizer

LIMIT = 400


def answers(model, tok, samples, batch=100):
    """Greedy continuations (id lists) of the samples' prompts."""
    order = sorted(range(len(samples)), key=lambda i: len(samples[i].prompt()))
    out = [None] * len(samples)
    for at in range(0, len(order), batch):
        rows = order[at:at + batch]
        got = model.generate([tok.encode(samples[i].prompt()) for i in rows], LIMIT, tok.eos)
        for i, g in zip(rows, got):
            out[i] = g
    return out


def final(text):
    """What stands after the reasoning."""
    return text.split(data.END_THINK, 1)[1] if data.END_THINK in text else text


def correct(s, text):
    """The final answer is exact; in thinking mode the reasoning must have been closed."""
    closed = data.END_THINK in text
    want = s.thinking and s.messages[-1]["role"] != "tool"
    return closed == want and final(text) == s.answer


@torch.no_grad()
def mtp_agreement(model, prompts, outputs, eos):
    """(hits, total): MTP argmax of position i against the main head's argmax of position i+1, for greedy output."""
    hits = total = 0
    for p, o in zip(prompts, outputs):
        ids = torch.tensor([p + o + [eos]])
        h = model.trunk(ids)
        main = model.head(h).argmax(-1)[0]
        u = model.mtp_hidden(h[:, :-1], ids[:, 1:])
        draft = model.head(u).argmax(-1)[0]
        # position i drafts the token at i+2, which the main head names at i+1; tokens from len(p)+1 on
        a, b = len(p) - 1, len(p) + len(o) - 1
        hits += int((draft[a:b] == main[a + 1:b + 1]).sum())
        total += b - a
    return hits, total


def accuracy(model, tok):
    samples = list(write_accuracy_set.problems())
    tasks = list(dict.fromkeys(task for task, _, _ in samples))
    got = answers(model, tok, [s for _, _, s in samples])
    good, count, wrong = defaultdict(int), defaultdict(int), []
    for (t, mode, s), g in zip(samples, got):
        ok = correct(s, tok.decode(g))
        good[t, mode] += ok
        count[t, mode] += 1
        if not ok and mode:
            wrong.append((t, s.messages[-1]["content"], tok.decode(g), s.target()))
    for t in tasks:
        print("%-14s thinking %3d/%3d = %5.1f%%   direct %s" % (
            t, good[t, True], count[t, True], 100 * good[t, True] / count[t, True],
            "%3d/%3d = %5.1f%%" % (good[t, False], count[t, False], 100 * good[t, False] / count[t, False]) if count[t, False] else "-"))
    for mode in (True, False):
        g, c = (sum(v for (_, m), v in d.items() if m == mode) for d in (good, count))
        print("all, %s: %d/%d = %.1f%%" % ("thinking" if mode else "direct", g, c, 100 * g / c))
    pick = list(range(0, len(samples), max(1, len(samples) // 300)))
    h, n = mtp_agreement(model, [tok.encode(samples[i][2].prompt()) for i in pick], [got[i] for i in pick], tok.eos)
    print("MTP: %d/%d = %.1f%% of drafts equal the main head's next argmax" % (h, n, 100 * h / n))
    random.Random(1).shuffle(wrong)
    for w in wrong[:25]:
        print("WRONG %s | %s\n  got  %s\n  want %s" % w)


def write_eval(model, tok, folder):
    """300 held-out prompts; `reference_correct` says whether this model, greedy in float32, got it right."""
    samples = data.eval_set()
    got = answers(model, tok, samples)
    good = 0
    with open(os.path.join(folder, "eval.jsonl"), "w", encoding="utf-8") as f:
        for i, (s, g) in enumerate(zip(samples, got)):
            ok = correct(s, tok.decode(g))
            good += ok
            f.write(json.dumps({
                "id": i, "task": s.task, "thinking": s.thinking, "messages": s.messages, "tools": s.tools, "prompt": s.prompt(),
                "expected": s.answer, "value": s.value, "reference_correct": ok}, ensure_ascii=False) + "\n")
    print("eval.jsonl: %d of %d correct" % (good, len(samples)))


def write_tensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, a in tensors.items():
        a = np.ascontiguousarray(a)
        header[name] = {"dtype": {"float32": "F32", "int32": "I32"}[str(a.dtype)], "shape": list(a.shape),
                        "data_offsets": [at, at + a.nbytes]}
        blobs.append(a.tobytes())
        at += a.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(blobs))


STRINGS = [
    "", " ", "a", "Hello, world!", "How many r are in strawberry?", "What is 12 + 345?", "1234567890", "12 345 6789", "3.14159",
    "x=1;y=2", "  two spaces", "trailing space ", "tab\tand\nnewline\r\n", "\n\n\n", "a\n\n b", "don't can't I'm", "'quoted' \"double\"",
    "snake_case camelCase UPPER", "foo(bar)[baz]{qux}", "{\"answer\": 42}", "a-b-c-d", "$#@!%^&*", "...!!!???", "é à ü ñ ß", "naïve café",
    "中文字符", "日本語のテキスト", "한국어", "Привет, мир", "مرحبا", "😀👍🏽", "½ ² ٣ Ⅷ", "e\u0301 combining", "no\u00a0break\u3000space",
    "zero\u200dwidth", "<think>ok</think>", "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜></think>",
    "a<｜end▁of▁sentence｜>b", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>calculator<｜tool▁sep｜>{\"expression\": \"1+2\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "<｜User ｜> <|User|> </think",
]


def conversations():
    user = lambda t: {"role": "user", "content": t}
    bot = lambda t: {"role": "assistant", "content": t}
    sys_ = lambda t: {"role": "system", "content": t}
    call = {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "calculator", "arguments": "{\"expression\": \"12*34\"}"}}]}
    two = {"role": "assistant", "content": "Two sums.", "tool_calls": [
        {"type": "function", "function": {"name": "calculator", "arguments": "{\"expression\": \"1+2\"}"}},
        {"type": "function", "function": {"name": "calculator", "arguments": "{\"expression\": \"3+4\"}"}}]}
    tool = lambda t: {"role": "tool", "content": t}
    other = {"type": "function", "function": {"name": "weather", "description": "The weather of a <city>, e.g. \"Zürich\".", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "a city's name"}, "days": {"type": "integer"}}, "required": ["city"]}}}
    calc = [data.CALCULATOR]
    return [  # messages, thinking, tools, generation prompt
        ([user("Hello!")], False, None, True),
        ([user("Hello!")], True, None, True),
        ([sys_("You are a helpful assistant."), user("What is 2 + 2?")], True, None, True),
        ([sys_("One."), sys_("Two."), user("Hi")], False, None, True),
        ([user("What is 2 + 2?"), bot("2+2=4</think>The answer is 4."), user("Add 3 to that.")], True, None, True),
        ([user("What is 2 + 2?"), bot("The answer is 4."), user("Thanks"), bot("You are welcome!")], False, None, False),
        ([user("What is 12 * 34?")], False, calc, True),
        ([sys_("Be short and exact."), user("What is 12 * 34?")], True, calc, True),
        ([user("What is 12 * 34?"), call, tool("408")], False, calc, True),
        ([user("What is 12 * 34?"), call, tool("408"), bot("The answer is 408."), user("Thanks")], False, calc, True),
        ([user("Sums, please."), two, tool("3"), tool("7")], True, [data.CALCULATOR, other], True),
        ([sys_(""), user(" spaces kept \n"), bot("<b>&amp;</b> 'x'"), user("中文?")], False, None, True),
    ]


ASK = [("Hello!", False), ("Who are you?", True), ("How many r are in strawberry?", True), ("What is 347 + 589?", True),
       ("What is 23 * 7?", True), ("Sort 42, 7, 19 in ascending order.", True), ("What day is 10 days after Tuesday?", True),
       ("Anna has 12 apples. Ben gives Anna 7 more. How many apples does Anna have now?", True),
       ("Is 123 even or odd? Answer as JSON.", False), ("What is the capital of France?", False)]


@torch.no_grad()
def write_goldens(model, tok, folder):
    import jinja2.sandbox
    gold = os.path.join(folder, "goldens")
    os.makedirs(gold, exist_ok=True)

    def dump(name, obj):
        with open(os.path.join(gold, name), "w", encoding="utf-8") as f:
            json.dump(obj, f, ensure_ascii=False, indent=1)
            f.write("\n")

    assert len(STRINGS) == 40 and all(tok.decode(tok.encode(s)) == s for s in STRINGS)
    dump("tokens.json", [{"text": s, "ids": tok.encode(s)} for s in STRINGS])

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
    with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as f:
        template = env.from_string(json.load(f)["chat_template"])
    chats = []
    for messages, thinking, tools, prompt in conversations():
        text = template.render(messages=messages, thinking=thinking, tools=tools, add_generation_prompt=prompt,
                               bos_token=data.BOS, eos_token=data.EOS)
        assert text == data.render(messages, thinking, tools, prompt)
        chats.append({"messages": messages, "thinking": thinking, "tools": tools, "add_generation_prompt": prompt,
                      "rendered": text, "ids": tok.encode(text)})
    dump("chat_template.json", chats)

    prompts = [data.render([{"role": "user", "content": q}], t) for q, t in ASK]
    ids = [tok.encode(p) for p in prompts]
    outs = [model.generate([i], LIMIT, tok.eos)[0] for i in ids]
    print("batched greedy output is", "the same" if model.generate(ids, LIMIT, tok.eos) == outs else "different")
    greedy = []
    for (q, t), p, i, o in zip(ASK, prompts, ids, outs):
        # the smallest distance between best and second logit along the way: how much numeric error the greedy path bears
        logits = model.head(model.trunk(torch.tensor([i + o])))[0, len(i) - 1:]
        best = logits.topk(2, -1)[0]
        greedy.append({"question": q, "thinking": t, "prompt": p, "ids": i, "output_ids": o + [tok.eos], "output": tok.decode(o),
                       "min_margin": round(float((best[:, 0] - best[:, 1]).min()), 4)})
    dump("greedy.json", greedy)

    tensors = {}
    for n, k in enumerate((0, 3, 2)):  # the third with its reasoning and answer, as a longer text
        seq = ids[k] + (outs[k] if n == 2 else [])
        x = torch.tensor([seq])
        h = model.trunk(x)
        tensors["ids.%d" % n] = x[0].numpy().astype(np.int32)
        tensors["logits.%d" % n] = model.head(h)[0].numpy()
        if n == 2:  # row i: hidden state i with token i+1, predicting token i+2
            tensors["mtp_logits.%d" % n] = model.head(model.mtp_hidden(h[:, :-1], x[:, 1:]))[0].numpy()
    write_tensors(os.path.join(gold, "logits.safetensors"), tensors)
    for n, t in tensors.items():
        print(n, t.shape)
    for g in greedy:
        print(g["question"], "=>", g["output"], g["min_margin"])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("what", choices=["accuracy", "files", "ask"])
    ap.add_argument("question", nargs="?")
    ap.add_argument("--direct", action="store_true")
    args = ap.parse_args()
    torch.set_num_threads(1)
    tok = Tokenizer(os.path.join(args.folder, "tokenizer.json"))
    model = Model(CONFIG).load(os.path.join(args.folder, "model.safetensors")).eval()
    if args.what == "accuracy":
        accuracy(model, tok)
    elif args.what == "files":
        write_eval(model, tok, args.folder)
        write_goldens(model, tok, args.folder)
    else:
        p = data.render([{"role": "user", "content": args.question}], not args.direct)
        print(tok.decode(model.generate([tok.encode(p)], LIMIT, tok.eos)[0]))


if __name__ == "__main__":
    main()
