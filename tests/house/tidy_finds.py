"""tools/tidy on small trees that break one rule each: every breach must be reported.

  tidy_finds.py PATH_OF_TIDY
"""
import os
import subprocess
import sys
import tempfile

HEAD = "// What it is.\n"
LONG_FUNCTION = "void f() {\n" + "  g();\n" * 95 + "}\n"
OWN = HEAD + "namespace {\n%s\n}  // namespace\n"

CASES = [  # what is wrong, {path: text}, a part of the message
    ("a wrong direction", {"src/nn/a.cc": HEAD + '#include "engine/b.h"\n'}, "nn may not include"),
    ("a chip that knows another", {"src/backends/cpu/a.cc": HEAD + '#include "backends/cuda/b.h"\n'},
     "backends/cpu may not include"),
    ("a circle", {"src/device/a.cc": HEAD + '#include "quant/b.h"\n',
                  "src/quant/b.cc": HEAD + '#include "device/a.h"\n'}, "in a circle"),
    ("a chip condition", {"src/nn/a.cc": HEAD + "#ifdef __CUDA_ARCH__\n#endif\n"}, "outside backends"),
    ("an instruction set", {"src/text/a.cc": HEAD + "#if defined(__AVX2__)\n#endif\n"},
     "outside backends"),
    ("a long file", {"src/nn/a.cc": HEAD + "int x;\n" * 700}, "lines (limit"),
    ("a long function", {"src/nn/a.cc": HEAD + LONG_FUNCTION}, "function of"),
    ("a long line", {"src/nn/a.cc": HEAD + "int " + "x" * 100 + ";\n"}, "columns"),
    ("a leftover", {"src/nn/a.cc": HEAD + "// TO" + "DO: later\n"}, "leftover"),
    ("no opening comment", {"src/nn/a.h": "#pragma once\n"}, "opening comment"),
    ("no pragma once", {"src/nn/a.h": HEAD}, "pragma once"),
    ("a name kept twice", {"src/nn/a.cc": OWN % "int count(long x) {\n  return 0;\n}",
                           "src/nn/b.cc": OWN % "constexpr int count = 0;"}, "keeps a count"),
    ("a second name kept twice", {"tests/a/a_test.cc": OWN % "constexpr int rows = 1, count = 2;",
                                  "tests/a/b_test.cc": OWN % "const Filters count = {3};"},
     "keeps a count"),
    ("a type kept twice", {"src/nn/a.cc": OWN % "struct Row {\n  int x;\n};",
                           "src/nn/b.cc": OWN % "using Row = int;"}, "keeps a Row"),
    ("an unknown folder", {"src/misc/a.cc": HEAD}, "not in the table"),
]


def tidy(program, files):
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            full = os.path.join(folder, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
        return subprocess.run([sys.executable, program, folder], capture_output=True, text=True)


def main():
    failures = 0
    for what, files, message in CASES:
        result = tidy(sys.argv[1], files)
        if result.returncode != 1 or message not in result.stdout:
            failures += 1
            print("%s was not reported:\n%s%s" % (what, result.stdout, result.stderr))
    clean = tidy(sys.argv[1], {"src/nn/a.cc": HEAD + '#include "device/b.h"\n',
                                 "src/nn/b.cc": OWN % "int count = 0;  // rows {",
                                 "src/nn/b_test.cc": OWN % "int count = 0;",
                                 "src/nn/c.cc": OWN % "int rows(int count) {\n  return count;\n}"})
    if clean.returncode != 0:
        failures += 1
        print("a clean tree was reported:\n" + clean.stdout)
    print("%d of %d breaches found" % (len(CASES) - failures, len(CASES)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
