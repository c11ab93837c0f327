#!/bin/sh
# run.sh install|NAME NODE NPM FOLDER SOURCE_DIR FERRY: installs the pinned client libraries into
# FOLDER, or runs NAME.mjs there against FERRY. Exit code 77: they are not installed.
set -eu
what=$1 node=$2 npm=$3 folder=$4 source=$5 ferry=$6
here=$source/tests/clients
mkdir -p "$folder"
if [ "$what" = install ]; then
  cmp -s "$here/package-lock.json" "$folder/installed-lock.json" && exit 0
  cp "$here/package.json" "$here/package-lock.json" "$folder/"
  (cd "$folder" && "$npm" ci --no-audit --no-fund --ignore-scripts --loglevel=error) || exit 0 # the tests say so
  cp "$here/package-lock.json" "$folder/installed-lock.json"
  exit 0
fi
[ -f "$folder/installed-lock.json" ] || { echo "npm could not install the client libraries: skipped" >&2; exit 77; }
# Modules are looked up beside the importing file, so the scripts run from there.
cp "$here/server.mjs" "$here/$what.mjs" "$folder/"
exec "$node" "$folder/$what.mjs" "$ferry"
