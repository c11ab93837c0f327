#!/bin/sh
# run.sh install|build|stand_in|binary|planner NODE NPM FOLDER SOURCE_DIR FERRY: one test of the page.
# FOLDER is for what npm installs and for screenshots; the source tree stays clean.
set -eu
what=$1 node=$2 npm=$3 folder=$4 source=$5 ferry=$6
here=$source/tests/web

skip() {
  echo "$1: skipped" >&2
  exit 77
}

if [ "$what" = install ]; then
  mkdir -p "$folder"
  cmp -s "$source/web/package-lock.json" "$folder/installed-lock.json" && exit 0
  cp "$source/web/package.json" "$source/web/package-lock.json" "$folder/"
  (cd "$folder" && "$npm" ci --no-audit --no-fund --loglevel=error) || exit 0 # those who need it say so
  cp "$folder/package-lock.json" "$folder/installed-lock.json"
  exit 0
fi
[ -f "$folder/installed-lock.json" ] || skip "npm could not install web/package-lock.json"

if [ "$what" = build ]; then
  # esbuild and the sources look for packages beside themselves.
  rm -rf "$folder/src" "$folder/dist"
  cp -r "$source/web/src" "$folder/src"
  cp "$source/web/build.mjs" "$folder/build.mjs"
  "$node" "$folder/build.mjs" "$folder/dist"
  exec "$node" "$here/compare.mjs" "$folder/dist" "$source/web/dist"
fi

[ -n "${FERRY_CHROMIUM:-}" ] || command -v chromium >/dev/null || skip "no chromium"
case $what in
  stand_in) exec "$node" "$here/stand_in_test.mjs" "$folder/node_modules" "$folder/screenshots" "$source/web/dist" ;;
  binary | planner) exec "$node" "$here/${what}_test.mjs" "$folder/node_modules" "$folder/screenshots" "$ferry" ;;
esac
echo "run.sh: unknown test $what" >&2
exit 2
