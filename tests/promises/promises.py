"""The three promises of docs/ARCHITECTURE.md, kept by doing it:

  a new architecture is one file in src/models/
  a new chip is one folder in src/backends/
  a new storage format is one file in src/quant/formats/

A scratch copy of the tree gets a throw-away one of each. Then: no file that was there before has
changed; CMake finds all three; the house rules still hold; and a program linked from the new files,
the regenerated tables and the library already built runs a model of the new architecture, stored in
the new format, on the new chip.

  promises.py SOURCE_DIR BUILD_DIR
"""
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = (os.path.abspath(p) for p in sys.argv[1:3])
HERE = os.path.dirname(os.path.abspath(__file__))


def run(*command, **kwargs):
    result = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if result.returncode != 0:
        sys.exit("%s\n%s%s" % (" ".join(command), result.stdout, result.stderr))
    return result.stdout


def copy_tree(scratch):
    """The files that git tracks (or all, where there is no git), so that no build comes along."""
    names = run("git", "-c", "safe.directory=*", "-C", SOURCE, "ls-files", "--cached", "--others", "--exclude-standard")
    for name in names.splitlines():
        source = os.path.join(SOURCE, name)
        if not os.path.isfile(source):
            continue
        target = os.path.join(scratch, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)


def fingerprints(folder):
    prints = {}
    for path in glob.glob(os.path.join(folder, "**"), recursive=True, include_hidden=True):
        if os.path.isfile(path):
            with open(path, "rb") as f:
                prints[os.path.relpath(path, folder)] = hashlib.sha256(f.read()).hexdigest()
    return prints


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def add_throw_aways(scratch):
    # An architecture: Qwen2 under another name is enough to be found, read, built and run.
    text = read(os.path.join(scratch, "src/models/qwen2.cc"))
    write(os.path.join(scratch, "src/models/throwaway.cc"),
          text.replace('"qwen2"', '"throwaway"').replace("architecture_qwen2",
                                                         "architecture_throwaway"))
    # A chip: the reference under another name.
    for path in glob.glob(os.path.join(scratch, "src/backends/reference/*")):
        if path.endswith(("_test.cc", "_bench.cc")):
            continue
        text = read(path).replace("reference", "throwaway")
        write(path.replace("/reference/", "/throwaway/"), text)
    # A format: pairs of signed bytes under one f32 scale.
    write(os.path.join(scratch, "src/quant/formats/throwaway.cc"),
          read(os.path.join(HERE, "throwaway_format.cc.in")))


def compile_command(path):
    """The flags the real build compiles with, from one of its own commands."""
    commands = run("ninja", "-C", BUILD, "-t", "compdb")
    match = re.search(r'"command": "([^"]*storage_format\.cc\.o [^"]*)"', commands.replace('\\"', "'"))
    if not match:
        sys.exit("no compile command for storage_format.cc in " + BUILD)
    words = [w for w in match.group(1).split() if not w.endswith("ccache")]
    return [w for w in words[1:] if re.match(r"-(D|W|f|O|std|m)", w) and w not in ("-MD",)]


def main():
    scratch = tempfile.mkdtemp(prefix="ferry-promises-")
    try:
        copy_tree(scratch)
        before = fingerprints(scratch)
        add_throw_aways(scratch)
        run("cmake", "-S", scratch, "-B", os.path.join(scratch, "build/p"), "-G", "Ninja",
            "-DFERRY_TESTS=OFF")
        after = fingerprints(scratch)
        changed = [n for n in before if after.get(n) != before[n]]
        added = [n for n in after if n not in before and not n.startswith("build/")]
        print("existing files that had to change: %d" % len(changed))
        print("files added: " + ", ".join(sorted(added)))
        if changed:
            sys.exit("changed: " + ", ".join(changed))
        print(run(os.path.join(scratch, "tools/tidy"), scratch).strip())

        # Whatever includes a generated table, compiled against the new one and linked before the
        # library, so that the library's own copies stay out.
        sources = [p for p in glob.glob(os.path.join(scratch, "src/**/*.cc"), recursive=True)
                   if re.search(r'_table\.inc"|models/table\.h"', read(p))
                   and not re.search(r"_(test|fuzz|bench)\.cc$|/src/models/[a-z0-9_]+\.cc$", p)]
        sources += [os.path.join(scratch, n) for n in added if n.endswith(".cc")]
        program = os.path.join(scratch, "build/use_throwaways")
        run(os.environ.get("CXX", "c++"), *compile_command(BUILD), "-std=c++20",
            "-I" + os.path.join(scratch, "src"), "-I" + os.path.join(scratch, "include"),
            "-I" + os.path.join(scratch, "build/p/generated"), "-o", program,
            os.path.join(HERE, "use_throwaways.cc"), *sorted(set(sources)),
            os.path.join(BUILD, "libferry.a"), "-lfmt", "-lpcre2-8", "-lutf8proc", "-lpthread",
            "-ldl")
        print(run(program).strip())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
