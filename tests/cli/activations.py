"""What activations in int8 cost the built-in model, as quantised by `ferry synth --from`: its logits in
conversations of its own, against exact products with the same weights. Prints the figures of
docs/PERFORMANCE.md."""
import array
import json
import math
import os
import statistics

from driver import check, finish, run, workspace

QUESTIONS = ["What is 347 + 589?", "What is 62 + 715?", "What is 904 - 268?", "How many r are in strawberry?",
             "How many e are in elephant?", "What day is 10 days after Tuesday?", "What day is 3 days after Sunday?",
             "Sort these words: river, apple, stone, banana.", "Sort these numbers: 41, 7, 93, 18, 66, 52, 30",
             "Anna has 12 apples. Ben gives Anna 7 more. How many apples does Anna have now?"]
FORMATS = ["Q8_0", "Q5_0", "Q4_0", "Q6_K", "Q4_K_M", "IQ4_XS", "MXFP4"]


def done(*args, **kwargs):
    result = run(*args, **kwargs)
    check(result.returncode == 0, "ferry %s: %s" % (" ".join(args), result.err))
    return result


def conversation(question):
    answer = done("run", "-p", question, "--temperature", "0").out.strip()
    text = "<｜begin▁of▁sentence｜><｜User｜>%s<｜Assistant｜></think>%s" % (question, answer)
    return done("tokenize", "--text", text, "--json").out


def logits(model, tokens, activations, out):
    done("logits", model, "--tokens", "-", "--out", out, "--activations", activations, stdin=tokens.encode())
    values = array.array("f")
    with open(out, "rb") as f:
        values.frombytes(f.read())
    count = len(json.loads(tokens))
    return [values[i * len(values) // count:(i + 1) * len(values) // count] for i in range(count)]


def log_probabilities(row):
    largest = max(row)
    rest = largest + math.log(sum(math.exp(x - largest) for x in row))
    return [x - rest for x in row]


def compare(name, model, texts, out):
    error = size = divergence = same = 0
    errors = []  # relative, by position
    for tokens in texts:
        exact = logits(model, tokens, "f32", out)
        for ours, theirs in zip(logits(model, tokens, "int8", out), exact):
            of_position = sum((a - b) ** 2 for a, b in zip(ours, theirs)), sum(b * b for b in theirs)
            error, size = error + of_position[0], size + of_position[1]
            errors.append(of_position[0] / of_position[1])
            p, q = log_probabilities(theirs), log_probabilities(ours)
            divergence += sum(math.exp(a) * (a - b) for a, b in zip(p, q))
            same += max(range(len(p)), key=p.__getitem__) == max(range(len(q)), key=q.__getitem__)
    positions, median = len(errors), statistics.median(errors)
    print("%s: NMSE %.2e, median %.2e, KL %.2e nats, same choice %.1f %% of %d"
          % (name, error / size, median, divergence / positions, 100 * same / positions, positions))
    check(median < 1e-4, "%s: median of errors %g" % (name, median))
    check(error < 2e-3 * size, "%s: error %g" % (name, error / size))
    check(divergence < 1e-2 * positions, "%s: divergence %g" % (name, divergence / positions))
    check(same > 0.96 * positions, "%s: %d of %d" % (name, same, positions))
    return error


def main():
    with workspace() as work:
        texts = [conversation(question) for question in QUESTIONS]
        errors = []
        for name in FORMATS:
            model = os.path.join(work, name + ".gguf")
            done("synth", "--from", "demo", "--quant", name, "--out", model)
            errors.append(compare(name, model, texts, os.path.join(work, "logits")))
        # Where the processor has no instructions for it, nothing is rounded, of no format.
        check(all(errors) or not any(errors), "int8 was used with some formats only: %s" % errors)
    finish()


main()
