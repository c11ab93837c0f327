"""Checks that the object files of one instruction set (foo_avx2.cc, foo_avx512.cc) can be linked
into a binary for every processor: they must define

  - no static constructors, which would run before anyone asked what the processor can do;
  - no weak symbols (inline functions, templates), of which the linker keeps one copy for the whole
    program: it might be the one compiled for the newest processor.

Usage: check_objects.py NM "OBJECT;OBJECT;..."
"""

import re
import subprocess
import sys

BAD = re.compile(r" [WVu] (?!DW\.ref)|_GLOBAL__sub_I|__static_initialization")


def main() -> int:
    nm, objects = sys.argv[1], sys.argv[2].split(";")
    special = [path for path in objects if re.search(r"_(avx2|avx512|avx512vnni|avx512bf16)\.cc\.o(bj)?$", path)]
    if not special:
        print("no object file of an instruction set among", len(objects))
        return 1
    failures = 0
    for path in special:
        listing = subprocess.run([nm, "-C", "--defined-only", path], check=True,
                                 capture_output=True, text=True).stdout
        for line in listing.splitlines():
            if BAD.search(line):
                print(f"{path}: {line.strip()}")
                failures += 1
    print(f"{len(special)} object files, {failures} symbols that must not be there")
    return 1 if failures else 0


sys.exit(main())
