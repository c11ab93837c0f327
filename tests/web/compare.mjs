// compare.mjs BUILT COMMITTED: two folders of gzipped files hold the same, unpacked (what gzip makes
// of them depends on the version of zlib).
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const [, , built, committed] = process.argv;
const names = new Set([...readdirSync(built), ...readdirSync(committed)]);
const read = (folder, name) => {
  try {
    return gunzipSync(readFileSync(join(folder, name)));
  } catch (error) {
    return Buffer.from(`${error}`);
  }
};
const different = [...names].filter((name) => !read(built, name).equals(read(committed, name)));
for (const name of different) console.log(`${name} differs: run  cd web && npm ci && npm run build  and commit web/dist`);
process.exit(different.length > 0 || names.size === 0 ? 1 : 0);
