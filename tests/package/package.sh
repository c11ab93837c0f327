#!/usr/bin/env bash
# Installs ferry into an empty folder and uses it from there as a stranger would: the binary, the
# example through find_package, the example through pkg-config, the completions.
#   package.sh SOURCE_DIR BUILD_DIR
set -euo pipefail
source_dir=$1 build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

DESTDIR='' cmake --install "$build_dir" --prefix "$prefix" >"$work/install.log"
(cd "$work" && "$prefix/bin/ferry" --version)
test -s "$prefix/share/bash-completion/completions/ferry"

prompt='<｜begin▁of▁sentence｜><｜User｜>What is 12 + 30?<｜Assistant｜><think>'
check() {
  local answer
  answer=$("$1" "$source_dir/demo" "$prompt")
  echo "$1: $answer"
  grep -q 'The answer is 42' <<<"$answer"
}

cmake -S "$source_dir/examples" -B "$work/example" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake.log"
cmake --build "$work/example" >>"$work/cmake.log"
check "$work/example/answer"

libdir=$(dirname "$(find "$prefix" -name ferry.pc)")
sed -i "s|^prefix=.*|prefix=$prefix|" "$libdir/ferry.pc"
# shellcheck disable=SC2046
c++ -o "$work/answer" "$source_dir/examples/answer.cc" \
  $(PKG_CONFIG_PATH=$libdir pkg-config --cflags --libs --static ferry)
check "$work/answer"

status=0
"$work/answer" "$work/nowhere" "Hi" 2>"$work/error" || status=$?
test $status -eq 2
cat "$work/error"
