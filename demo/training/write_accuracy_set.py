"""Writes the problems behind the accuracy table: write_accuracy_set.py [--check] FILE.jsonl

The problems come from one seed, so that the set can be made again anywhere; with --check the file
is compared with what would be written. Needs nothing but Python.
"""
import json
import random
import sys

import data

SEED = 99
THINKING_PER_TASK = 40
DIRECT_PER_TASK = 20


def problems():
    r = random.Random(SEED)
    tasks = list(data.TASKS) + ["two_turn", "tool_call", "tool_answer"]
    for task in tasks:
        for thinking, count in ((True, THINKING_PER_TASK), (False, DIRECT_PER_TASK)):
            for _ in range(count):
                yield task, thinking, data.sample(r, True, task, thinking, False)
    for _ in range(THINKING_PER_TASK):
        yield "json", True, data.sample(r, True, r.choice(list(data.TASKS)), True, True)


def main():
    check, path = "--check" in sys.argv, sys.argv[-1]
    text = "".join(
        json.dumps({"task": task, "thinking": thinking, "prompt": sample.prompt(),
                    "expected": sample.answer}, ensure_ascii=False) + "\n"
        for task, thinking, sample in problems())
    if not check:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return 0
    with open(path, encoding="utf-8") as f:
        same = f.read() == text
    print("%s: %s" % (path, "as generated" if same else "differs from what the generator makes"))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
