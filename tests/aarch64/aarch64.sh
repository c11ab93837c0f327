#!/usr/bin/env bash
# aarch64.sh PROJECT BUILD CXX QEMU: builds tests/aarch64/project and runs its tests under qemu. The
# conformance suite takes minutes there and is left out, unless FERRY_AARCH64_TESTS='*' asks for it:
# what it would find in a kernel, the other tests find too.
set -euo pipefail
project=$1 build=$2 cxx=$3 qemu=$4
cmake -S "$project" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER="$cxx" >/dev/null
cmake --build "$build" -j 1
"$qemu" "$build/cpu_test" --gtest_brief=1 --gtest_filter="${FERRY_AARCH64_TESTS:-*neon:*IntMatmul*:-*Conformance*}"
