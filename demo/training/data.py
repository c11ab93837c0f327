"""Synthetic chat data for the tiny DeepSeek-V3-architecture demo model.

Everything is generated from a seed; nothing is downloaded.  A sample is one
conversation plus the assistant turn to be learnt (reasoning and answer).

Train and test never share a problem: a problem is identified by a key (task
and operands, or the word), and the key's CRC decides its split.
"""
import json
import random
import zlib

from chat import (ASSISTANT, BOS, CALCULATOR, CALL, CALLS, END_CALL, END_CALLS, END_OUTPUT, END_OUTPUTS,
                  END_THINK, EOS, OUTPUT, OUTPUTS, PAD, SEP, THINK, USER, render, tools_text)

# --------------------------------------------------------------------------
# Words, names, helpers
# --------------------------------------------------------------------------

WORDS = """apple apricot autumn avocado baker balloon banana barrel basket beaver berry bicycle biscuit
blanket bottle breeze bridge bright broken broom bucket butter butterfly button cabbage camel camera candle canyon
carpet carrot castle cattle cellar cherry chicken chimney cinnamon circle coffee collar color comet copper corner
cotton cousin cradle crystal curtain daisy dancer desert dinner doctor dollar dolphin dragon dream drummer eagle
earth elbow elephant engine evening fabric falcon family farmer feather ferry fiddle finger flower forest forty
freedom friend frozen funnel garden garlic giant ginger giraffe glacier goblin golden gorilla grape grass gravel
guitar hammer harbor hazel helmet hidden hill honey horizon horse hunter island jacket jelly jewel jungle kettle
kitchen kitten ladder lantern lemon letter lettuce library little lizard lobster machine magnet maple marble market
meadow mellow melon middle minnow mirror mission mitten monkey morning mountain muffin mushroom needle noodle
nutmeg ocean office olive onion orange orchard otter oyster paddle palace panther paper parrot pebble pencil
penguin pepper pillow planet plum pocket poem potato powder prairie puddle pumpkin puppet puzzle rabbit raccoon
radish rainbow raspberry raven ribbon river rocket roller rooster rubber saddle salmon sandal scissors season
shadow shell silver sister sleep smile snow soccer spider spinach spring squirrel stallion star station stone
storm story strawberry street summer sunset swallow sweet table tailor tennis thunder tiger timber tomato
tractor train travel tree trumpet tulip tunnel turtle umbrella valley vanilla velvet village violin walnut water
weather whisper willow window winter wizard wonder yellow zebra zipper mississippi committee bookkeeper
assess bubble cheese giggle google llama pepperoni success tattoo address balance ceiling cocoon coffin""".split()

NAMES = """Anna Ben Carla David Ella Finn Grace Hugo Iris Jack Kate Leo Mia Noah Olga Paul Rosa Sam Tina Uma Victor
Wendy Yara Zoe Emma Liam Lucy Max Nina Omar Ravi Sara Tom Lin Mei Ali""".split()
ITEMS = """apples oranges books pencils marbles stickers coins cookies cards shells stamps eggs flowers balloons
stones cups toys candles""".split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def is_test(key):
    """True if the problem with this key belongs to the held-out split (about 8%)."""
    return zlib.crc32(repr(key).encode()) % 100 < 8


def word_is_test(word):
    return word not in ("strawberry", "mississippi") and is_test(("word", word))


def pseudo_word(r):
    """A random pronounceable or plain random word, for coverage of spellings."""
    if r.random() < 0.25:
        return "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(3, 7)))
    on = ["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "ch", "cl",
          "cr", "dr", "fl", "gr", "pl", "pr", "sh", "sl", "st", "str", "th", "tr", "qu", "sp", ""]
    co = ["", "", "", "n", "r", "l", "s", "t", "m", "ck", "ll", "rr", "tt", "pp", "ss", "nt", "st", "mb", "x", "d", "ng"]
    while True:
        w = "".join(r.choice(on) + r.choice(["a", "e", "i", "o", "u", "ee", "oo", "ai", "y", "a", "e", "o"]) + r.choice(co)
                    for _ in range(r.randint(1, 4)))
        if 3 <= len(w) <= 11:
            return w


def number(r, max_digits):
    d = r.randint(1, max_digits)
    return r.randint(0 if d == 1 else 10 ** (d - 1), 10 ** d - 1)


def digits(n):
    return " ".join(reversed(str(n)))


# --------------------------------------------------------------------------
# Worked reasoning
# --------------------------------------------------------------------------


def add_steps(a, b):
    """Column addition from the right; the text ends with the sum."""
    da, db = str(a)[::-1], str(b)[::-1]
    out, res, carry = ["%d + %d: %s and %s." % (a, b, digits(a), digits(b))], "", 0
    for i in range(max(len(da), len(db))):
        x = int(da[i]) if i < len(da) else 0
        y = int(db[i]) if i < len(db) else 0
        s = x + y + carry
        step = "%d+%d" % (x, y) + ("+1" if carry else "") + "=%d" % s
        carry = s // 10
        res += str(s % 10)
        out.append(step + (" write %d carry 1" % (s % 10) if carry else " write %d" % s) + ";")
    if carry:
        res += "1"
        out.append("write 1;")
    out.append("%s, so %d." % (" ".join(res), a + b))
    return " ".join(out)


def sub_steps(a, b):
    """Column subtraction from the right for a >= b; the text ends with the difference."""
    da, db = str(a)[::-1], str(b)[::-1]
    out, res, borrow = ["%d - %d: %s and %s." % (a, b, digits(a), digits(b))], "", 0
    for i in range(len(da)):
        x, y = int(da[i]), int(db[i]) if i < len(db) else 0
        s = x - y - borrow
        left = "%d-%d" % (x, y) + ("-1" if borrow else "")
        if s < 0:
            out.append("%s borrow, 1%s=%d;" % (left, left, s + 10))
            s, borrow = s + 10, 1
        else:
            out.append("%s=%d;" % (left, s))
            borrow = 0
        res += str(s)
    out.append("%s, so %d." % (" ".join(res), a - b))
    return " ".join(out)


def mul_steps(a, b):
    """One digit times up to two digits, through tens and ones."""
    t, o = b // 10 * 10, b % 10
    if t == 0:
        return "%d*%d=%d." % (a, b, a * b)
    if o == 0:
        return "%d*%d=%d, so %d*%d=%d." % (a, b // 10, a * (b // 10), a, b, a * b)
    return "%d = %d+%d; %d*%d=%d; %d*%d=%d; %s" % (b, t, o, a, t, a * t, a, o, a * o, add_steps(a * t, a * o))


def value(v):
    """How an answer value is written in a sentence."""
    return ", ".join(str(x) for x in v) if isinstance(v, list) else str(v)


# --------------------------------------------------------------------------
# Tasks.  Each returns (question, reasoning, value, key); the key decides the split.
# --------------------------------------------------------------------------


def t_add(r):
    a, b = number(r, 4), number(r, 4)
    q = r.choice(["What is %d + %d?", "%d + %d = ?", "Calculate %d + %d.", "Add %d and %d.", "%d plus %d?",
                  "What is the sum of %d and %d?", "Please compute %d + %d.", "%d+%d", "How much is %d plus %d?",
                  "what's %d + %d"]) % (a, b)
    return q, add_steps(a, b), a + b, ("add", a, b)


def t_sub(r):
    a, b = number(r, 4), number(r, 4)
    if a < b and r.random() < 0.85:
        a, b = b, a
    form = r.choice(["What is %d - %d?", "%d - %d = ?", "Calculate %d - %d.", "%d minus %d?", "Subtract {b} from {a}.",
                     "What is the difference {a} - {b}?", "Please compute %d - %d.", "%d-%d", "How much is %d minus %d?",
                     "what's %d - %d"])
    q = form.format(a=a, b=b) if "{" in form else form % (a, b)
    if a < b:
        think = "%d < %d, so negative. %s So -%d." % (a, b, sub_steps(b, a), b - a)
    else:
        think = sub_steps(a, b)
    return q, think, a - b, ("sub", a, b)


def t_mul(r):
    a, b = r.randint(2, 9), (r.randint(2, 9) if r.random() < 0.2 else r.randint(10, 99))
    think = mul_steps(a, b)
    x, y = (a, b) if r.random() < 0.6 else (b, a)
    if (x, y) != (a, b):
        think = "%d*%d. %s" % (a, b, think)
    q = r.choice(["What is %d * %d?", "%d * %d = ?", "Calculate %d x %d.", "Multiply %d by %d.", "%d times %d?",
                  "What is the product of %d and %d?", "Please compute %d × %d.", "%d*%d", "How much is %d times %d?"]) % (x, y)
    return q, think, a * b, ("mul", a, b)


def cmp_steps(a, b):
    sa, sb = str(a), str(b)
    if len(sa) != len(sb):
        return "%d has %d digits, %d has %d. %d %s %d." % (a, len(sa), b, len(sb), a, "<" if a < b else ">", b)
    out = []
    for x, y in zip(sa, sb):
        out.append("%s%s%s" % (x, "=" if x == y else "<" if x < y else ">", y))
        if x != y:
            break
    return "Digits: %s. %d %s %d." % (", ".join(out), a, "<" if a < b else ">" if a > b else "=", b)


def t_compare(r):
    a = number(r, 4)
    k = r.random()
    b = number(r, 4) if k < 0.5 else max(0, a + r.randint(-20, 20)) if k < 0.75 else r.randint(
        10 ** (len(str(a)) - 1), 10 ** len(str(a)) - 1)
    if a == b:
        b = a + 1
    big = r.random() < 0.5
    w = r.choice(["larger", "bigger", "greater"] if big else ["smaller", "less"])
    q = r.choice(["Which is {w}, {a} or {b}?", "Which number is {w}: {a} or {b}?", "{a} or {b}: which is {w}?",
                  "Of {a} and {b}, which one is {w}?"]).format(a=a, b=b, w=w)
    v = max(a, b) if big else min(a, b)
    return q, cmp_steps(a, b) + " The %s is %d." % (w, v), v, ("cmp", a, b)


def some_numbers(r, lo, hi):
    top = r.choice([20, 99, 99, 999])
    return r.sample(range(1, top + 1), r.randint(lo, hi))


def t_sort(r):
    xs = some_numbers(r, 3, 5)
    up = r.random() < 0.6
    how = r.choice(["ascending order", "increasing order", "order from smallest to largest"] if up else
                   ["descending order", "decreasing order", "order from largest to smallest"])
    q = r.choice(["Sort {x} in {h}.", "Put {x} in {h}.", "Sort these numbers in {h}: {x}.",
                  "Arrange {x} in {h}."]).format(x=value(xs), h=how)
    left, out, steps = list(xs), [], []
    while len(left) > 1:
        m = min(left) if up else max(left)
        steps.append("%s: %s %d." % (" ".join(map(str, left)), "min" if up else "max", m))
        left.remove(m)
        out.append(m)
    steps.append("%d." % left[0])
    return q, " ".join(steps), out + left, ("sort", tuple(xs))


def t_maxmin(r):
    xs = some_numbers(r, 3, 6)
    big = r.random() < 0.5
    w = r.choice(["largest", "biggest", "maximum"] if big else ["smallest", "lowest", "minimum"])
    q = r.choice(["What is the {w} of {x}?", "Find the {w} of {x}.", "Which is the {w}: {x}?",
                  "Give the {w} number in {x}."]).format(w=w, x=value(xs))
    best, steps = xs[0], ["Start with %d." % xs[0]]
    for x in xs[1:]:
        better = x > best if big else x < best
        best = x if better else best
        steps.append("%d: %s" % (x, "now %d." % x if better else "keep %d." % best))
    return q, " ".join(steps), best, ("max", tuple(xs))


def pick_word(r, test):
    while True:
        if test:
            w = r.choice(WORDS)
        else:
            w = r.choice(WORDS) if r.random() < 0.35 else pseudo_word(r)
        if word_is_test(w) == test:
            return w


def quoted(r, w):
    return r.choice(["%s", "%s", "'%s'", '"%s"', "the word %s", "the word '%s'"]) % w


def t_reverse(r, w):
    q = r.choice(["Reverse {w}.", "Write {w} backwards.", "What is {w} spelled backwards?", "Can you reverse {w}?"]).format(w=quoted(r, w))
    return q, "%s: %s. Backwards: %s." % (w, " ".join(w), " ".join(w[::-1])), w[::-1], ("word", w)


def t_count(r, w):
    c = r.choice(w) if r.random() < 0.8 else r.choice("abcdefghilmnoprstuy")
    k = quoted(r, w)
    q = r.choice(["How many {c} are in {w}?", "How many {c}'s are in {w}?", "Count the letter {c} in {w}.",
                  "How many times does {c} appear in {w}?", "How often does the letter {c} occur in {w}?",
                  "how many letters {c} are there in {w}?"]).format(c=c, w=k)
    n, out = 0, []
    for x in w:
        if x == c:
            n += 1
            out.append("%s(%d)" % (x, n))
        else:
            out.append(x)
    return q, "%s: %s. So %d." % (w, " ".join(out), n), n, ("word", w)


def t_spell(r, w):
    q = r.choice(["Spell {w}.", "How do you spell {w}?", "Spell out {w}.", "Please spell {w} letter by letter."]).format(w=quoted(r, w))
    return q, "%s: %s." % (w, " ".join(w)), "-".join(w), ("word", w)


def t_length(r, w):
    q = r.choice(["How many letters does {w} have?", "How long is {w}?", "Count the letters in {w}.",
                  "How many letters are in {w}?"]).format(w=quoted(r, w))
    return q, "%s: %s. So %d." % (w, " ".join("%s(%d)" % (c, i + 1) for i, c in enumerate(w)), len(w)), len(w), ("word", w)


def t_weekday(r):
    d, n = r.randrange(7), r.randint(1, 60)
    fwd = r.random() < 0.7
    form = (["What day is {n} days after {d}?", "Today is {d}. What day is it in {n} days?",
             "If today is {d}, what day will it be in {n} days?", "{d} plus {n} days is which day?"] if fwd else
            ["What day is {n} days before {d}?", "Today is {d}. What day was it {n} days ago?",
             "If today is {d}, what day was it {n} days ago?"])
    m = n % 7
    steps = ["%d = %d+%d, so %d days %s %s." % (n, n - m, m, m, "after" if fwd else "before", DAYS[d])]
    for i in range(1, m + 1):
        steps.append("%d: %s." % (i, DAYS[(d + i if fwd else d - i) % 7]))
    v = DAYS[(d + m if fwd else d - m) % 7]
    steps.append("So %s." % v)
    q = r.choice(form).format(n=n, d=DAYS[d])
    if n == 1:
        q = q.replace("1 days", "1 day")
    return q, " ".join(steps), v, ("day", d, n, fwd)


def t_parity(r):
    n = number(r, 4)
    v = "odd" if n % 2 else "even"
    q = r.choice(["Is %d even or odd?", "Is the number %d odd or even?", "%d: even or odd?", "Tell me if %d is even or odd."]) % n
    return q, "%d ends in %d. %d is %s." % (n, n % 10, n % 10, v), v, ("par", n)


UNITS = [("hours", "minutes", 60), ("minutes", "seconds", 60), ("days", "hours", 24), ("weeks", "days", 7),
         ("meters", "centimeters", 100), ("kilometers", "meters", 1000), ("kilograms", "grams", 1000),
         ("years", "months", 12), ("centimeters", "millimeters", 10), ("liters", "milliliters", 1000), ("feet", "inches", 12),
         ("dozens", "items", 12)]


def t_units(r):
    big, small, k = r.choice(UNITS)
    n = r.randint(2, 9) if r.random() < 0.6 or k in (24, 12) else r.randint(2, 60)
    one = {"feet": "foot"}.get(big, big[:-1])
    if r.random() < 0.6:
        q = r.choice(["How many {s} are in {n} {b}?", "Convert {n} {b} to {s}.", "{n} {b} in {s}?",
                      "How many {s} do {n} {b} have?"]).format(n=n, b=big, s=small)
        if k in (10, 100, 1000):
            think = "1 %s = %d %s. %d*%d=%d." % (one, k, small, n, k, n * k)
        elif n < 10:
            think = "1 %s = %d %s. %s So %d." % (one, k, small, mul_steps(n, k), n * k)
        elif k < 10:
            think = "1 %s = %d %s. %s So %d." % (one, k, small, mul_steps(k, n), n * k)
        else:
            think = "1 %s = %d %s. %d*6: %s So %d." % (one, k, small, n, mul_steps(6, n), n * k)
        return q, think, n * k, ("unit", big, n)
    q = r.choice(["How many {b} are {m} {s}?", "Convert {m} {s} to {b}.", "{m} {s} in {b}?"]).format(m=n * k, b=big, s=small)
    return q, "1 %s = %d %s. %d/%d=%d." % (one, k, small, n * k, k, n), n, ("unit", big, n)


def t_word_problem(r):
    n1, n2 = r.sample(NAMES, 2)
    it = r.choice(ITEMS)
    a, b, c = r.randint(5, 99), r.randint(2, 60), r.randint(2, 30)
    k = r.randrange(6)
    if k == 0:
        q = "%s has %d %s. %s gives %s %d more. How many %s does %s have now?" % (n1, a, it, n2, n1, b, it, n1)
        th, v = "%s had %d and got %d. %s" % (n1, a, b, add_steps(a, b)), a + b
    elif k == 1:
        a = a + b
        q = "%s has %d %s and gives %d to %s. How many %s are left?" % (n1, a, it, b, n2, it)
        th, v = "%s had %d and lost %d. %s" % (n1, a, b, sub_steps(a, b)), a - b
    elif k == 2:
        m, b = r.randint(2, 9), r.randint(2, 30)
        q = "%s has %d boxes with %d %s each. How many %s are there in total?" % (n1, m, b, it, it)
        th, v = "%d boxes with %d each. %s" % (m, b, mul_steps(m, b)), m * b
        a = m
    elif k == 3:
        q = "%s has %d %s and %s has %d. How many %s do they have together?" % (n1, a, it, n2, b, it)
        th, v = "%s %d, %s %d. %s" % (n1, a, n2, b, add_steps(a, b)), a + b
    elif k == 4:
        q = "%s had %d %s, bought %d more and then lost %d. How many %s does %s have?" % (n1, a + c, it, b, c, it, n1)
        th = "First %s Then %s" % (add_steps(a + c, b), sub_steps(a + b + c, c))
        v = a + b
    else:
        q = "A book costs %d dollars and a bag costs %d dollars more. How much is the bag?" % (a, b)
        th, v = "%d more than %d. %s" % (b, a, add_steps(a, b)), a + b
    return q, th, v, ("wp", k, a, b)


def t_series(r):
    a = r.randint(0, 60)
    s = r.choice([1, 1, 1, 2, 5, 10])
    n = r.randint(4, 14)
    b = a + s * (n - 1)
    if s == 1:
        q = r.choice(["Count from {a} to {b}.", "List the numbers from {a} to {b}."]).format(a=a, b=b)
    else:
        q = "Count from %d to %d in steps of %d." % (a, b, s)
    return q, "Start at %d, add %d, stop at %d." % (a, s, b), list(range(a, b + 1, s)), ("ser", a, b, s)


TASKS = {  # name: (function, weight, kind)
    "add": (t_add, 13), "sub": (t_sub, 12), "mul": (t_mul, 10), "compare": (t_compare, 5), "sort": (t_sort, 6),
    "maxmin": (t_maxmin, 5), "reverse": (t_reverse, 5), "count": (t_count, 9), "spell": (t_spell, 4), "length": (t_length, 3),
    "weekday": (t_weekday, 6), "parity": (t_parity, 3), "units": (t_units, 6), "word_problem": (t_word_problem, 8),
    "series": (t_series, 3),
}
WORD_TASKS = {"reverse", "count", "spell", "length"}

SYSTEMS = ["You are a helpful assistant.", "You are a small demo model.", "Answer briefly.", "You are a careful calculator.",
           "Be short and exact."]

CHAT = [  # (questions, reasoning, answers)
    (["Hello!", "Hello", "Hi", "Hi!", "Hi there!", "Hey", "Good morning", "Good evening!", "hello there", "Hey!", "Good day."],
     "A greeting. I greet back.", "Hello! How can I help you?"),
    (["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Introduce yourself.", "who are you",
      "Who made you?", "Are you a human?", "Are you an AI?", "Which model are you?", "What model is this?"],
     "The user asks about me.",
     "I am a tiny demo language model with the DeepSeek-V3 architecture, trained from scratch on synthetic data."),
    (["What can you do?", "Help", "help me", "How can you help me?", "What are your skills?", "What do you know?", "Can you help me?",
      "What should I ask you?"],
     "The user asks what I can do.",
     "I can add, subtract, multiply, compare and sort numbers, spell and reverse words, count letters, and work with days and units."),
    (["Thank you!", "Thanks", "Thanks a lot!", "thank you very much", "Great, thanks.", "Nice work!", "Well done!"],
     "The user says thanks.", "You are welcome!"),
    (["Bye", "Goodbye!", "See you later.", "Good night!", "bye bye", "See you!"], "The user leaves.", "Goodbye!"),
    (["How are you?", "How are you doing?", "How is it going?", "What's up?", "Are you okay?"],
     "Small talk.", "I am fine, thank you. What shall we compute?"),
    (["Tell me a joke.", "Say something funny.", "Do you know a joke?", "Make me laugh."],
     "A joke about numbers.", "Why was six afraid of seven? Because seven ate nine!"),
    (["List the days of the week.", "What are the days of the week?", "Name the seven days."],
     "Seven days.", ", ".join(DAYS) + "."),
]
UNKNOWN = ["What is the capital of {x}?", "Who is the president of {x}?", "Write a poem about {x}.", "Translate {x} into French.",
           "Tell me a story about {x}.", "What is the meaning of {x}?", "How do I cook {x}?", "Explain {x} to me.", "Who invented {x}?",
           "What do you think about {x}?", "Where is {x}?", "Write code for {x}.", "Why is {x} important?", "When was {x} born?",
           "How old is {x}?", "What color is {x}?", "How does {x} work?", "Do you like {x}?", "Can you draw {x}?"]
TOPICS = """France Germany China love physics soup history music Python Paris gravity computers cats dogs time space
the moon the sun the sea a car the internet light water bread rice football chess art money war peace Einstein""".split()
UNKNOWN_THINK = "This is not about numbers, words, days or units. I do not know it."
UNKNOWN_ANSWER = "I am only a tiny demo model, so I do not know that. Try a small sum or a word to spell."

JSON_ASK = ["Answer as JSON.", "Reply in JSON.", "Give the answer as JSON.", "Respond with JSON only.", "Output JSON."]


class Sample:
    """One conversation and the assistant turn to learn (or to check)."""

    def __init__(self, messages, thinking, reasoning, answer, task, value=None, tools=None):
        self.messages, self.thinking, self.tools = messages, thinking, tools
        self.reasoning, self.answer, self.task, self.value = reasoning, answer, task, value

    def prompt(self):
        return render(self.messages, self.thinking, self.tools)

    def target(self):
        after_tool = self.messages[-1]["role"] == "tool"
        think = self.reasoning + END_THINK if self.thinking and not after_tool else ""
        return think + self.answer + EOS


def answer_text(v, as_json):
    if as_json:
        return json.dumps({"answer": v}, ensure_ascii=False)
    return "The answer is %s." % value(v)


def problem(r, test, name=None):
    """A task problem of the wanted split: (task, question, reasoning, value)."""
    names = list(TASKS)
    while True:
        t = name or r.choices(names, [TASKS[n][1] for n in names])[0]
        f = TASKS[t][0]
        if t in WORD_TASKS:
            q, th, v, _ = f(r, pick_word(r, test))
            return t, q, th, v
        q, th, v, key = f(r)
        if is_test(key) == test:
            return t, q, th, v


def chat_turn(r):
    if r.random() < 0.3:
        return r.choice(UNKNOWN).format(x=r.choice(TOPICS)), UNKNOWN_THINK, UNKNOWN_ANSWER
    qs, th, a = r.choice(CHAT)
    return r.choice(qs), th, a


def follow_up(r, prev):
    """A second question about the previous numeric answer."""
    n = number(r, 2)
    k = r.randrange(3)
    if k == 0 or prev < n:
        return (r.choice(["Add %d to that.", "Now add %d.", "Plus %d?", "And %d more?"]) % n,
                "The last result is %d. " % prev + add_steps(prev, n), prev + n)
    if k == 1:
        return (r.choice(["Subtract %d from that.", "Now subtract %d.", "Minus %d?", "And %d less?"]) % n,
                "The last result is %d. " % prev + sub_steps(prev, n), prev - n)
    return (r.choice(["Is that even or odd?", "Is it odd or even?"]),
            "The last result is %d. It ends in %d. %d is %s." % (prev, prev % 10, prev % 10, "odd" if prev % 2 else "even"),
            "odd" if prev % 2 else "even")


def tool_sample(r, test, stage=None):
    """The calculator tool: first the call, then the answer from the tool's output."""
    while True:
        op = r.choice("+-*")
        a, b = r.randint(10, 9999), r.randint(10, 9999)
        if is_test(("tool", op, a, b)) == test:
            break
    word = {"+": "plus", "-": "minus", "*": "times"}[op]
    q = r.choice(["What is {a} {o} {b}?", "Calculate {a} {o} {b}.", "What is {a} {w} {b}?", "Use the calculator: {a} {o} {b}.",
                  "Please compute {a} {o} {b} with the tool."]).format(a=a, b=b, o=op, w=word)
    expr = "%d%s%d" % (a, op, b)
    v = {"+": a + b, "-": a - b, "*": a * b}[op]
    args = json.dumps({"expression": expr})
    msgs = [{"role": "system", "content": r.choice(SYSTEMS)}] if r.random() < 0.5 else []
    msgs.append({"role": "user", "content": q})
    thinking = r.random() < 0.4
    if stage is None:
        stage = r.choice(["call", "call", "answer"])
    if stage == "call":
        call = CALLS + CALL + "calculator" + SEP + args + END_CALL + END_CALLS
        return Sample(msgs, thinking, "I use the calculator for %s." % expr, call, "tool_call", expr, [CALCULATOR])
    msgs.append({"role": "assistant", "content": "",
                 "tool_calls": [{"type": "function", "function": {"name": "calculator", "arguments": args}}]})
    msgs.append({"role": "tool", "content": str(v)})
    return Sample(msgs, thinking, "", "The answer is %d." % v, "tool_answer", v, [CALCULATOR])


def sample(r, test=False, task=None, thinking=None, as_json=None):
    """Draw one sample.  For the test split give the task to draw it from."""
    if thinking is None:
        thinking = r.random() < 0.75
    if task in ("tool_call", "tool_answer"):
        return tool_sample(r, test, "call" if task == "tool_call" else "answer")
    kind = r.random() if task is None else 1.0
    if kind < 0.06:
        return tool_sample(r, test)
    msgs = []
    if r.random() < (0.2 if task is None else 0.1):
        msgs.append({"role": "system", "content": r.choice(SYSTEMS)})
    if kind < 0.13:
        q, th, a = chat_turn(r)
        msgs.append({"role": "user", "content": q})
        return Sample(msgs, thinking, th, a, "chat", a)
    # earlier turns: mostly none, sometimes several (this also trains later positions)
    turns = 0 if task not in (None, "two_turn") else r.choices([0, 1, 2, 3, 5, 7], [80, 9, 5, 3, 2, 1])[0] if task is None else 1
    prev = None
    for _ in range(turns):
        if r.random() < 0.15 and task is None:
            q, _, a = chat_turn(r)
            prev = None
        else:
            t, q, _, prev = problem(r, test, r.choice(["add", "sub", "mul"]) if task == "two_turn" else None)
            while task == "two_turn" and prev < 0:
                t, q, _, prev = problem(r, test, "sub")
            a = answer_text(prev, False)
        msgs += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    if isinstance(prev, int) and prev >= 0 and (task == "two_turn" or r.random() < 0.5):
        q, th, v = follow_up(r, prev)
        t = "two_turn"
    else:
        t, q, th, v = problem(r, test, task)
    if as_json is None:
        as_json = r.random() < 0.1
    if as_json:
        if msgs and msgs[0]["role"] == "system" or r.random() < 0.75:
            q += " " + r.choice(JSON_ASK)
        else:
            msgs.insert(0, {"role": "system", "content": r.choice(JSON_ASK)})
    msgs.append({"role": "user", "content": q})
    return Sample(msgs, thinking, th, answer_text(v, as_json), t, v)


def eval_set(seed=2024, count=300):
    """The held-out prompts: unseen operands and words, all tasks, mostly thinking mode."""
    r = random.Random(seed)
    tasks = list(TASKS) + ["two_turn", "tool_call", "tool_answer"]
    out = []
    for i in range(count):
        t = tasks[i % len(tasks)]
        thinking = (i // len(tasks)) % 4 != 3
        s = sample(r, True, t, thinking, as_json=(i // len(tasks)) % 8 == 5)
        out.append(s)
    return out


if __name__ == "__main__":
    rng = random.Random(1)
    for _ in range(25):
        s = sample(rng)
        print(repr(s.prompt() if not s.tools else s.prompt()[-200:]), "=>", repr(s.target()), s.task)
    for s in eval_set()[:36]:
        print("TEST", s.task, repr(s.messages[-1]["content"]), "=>", repr(s.target()))
