#!/bin/sh
# Installs the pinned reference into the build folder, then compares. Exit code 77: not installed.
# Usage: run.sh NODE NPM WORK_FOLDER ENCODE_LINES SOURCE_FOLDER
set -eu
node=$1 npm=$2 work=$3 encode_lines=$4 source=$5
here=$source/tests/tokenizer_oracle
mkdir -p "$work"
if ! cmp -s "$here/package-lock.json" "$work/installed-lock.json"; then
  cp "$here/package.json" "$here/package-lock.json" "$work/"
  if ! (cd "$work" && "$npm" ci --no-audit --no-fund --ignore-scripts); then
    echo "skipped: npm could not install @huggingface/tokenizers"
    exit 77
  fi
  cp "$here/package-lock.json" "$work/installed-lock.json"
fi
# Modules are looked up beside the importing file, so the scripts run from the work folder.
cp "$here"/*.mjs "$work/"
exec "$node" "$work/oracle.mjs" "$encode_lines" "$source" "$work"
