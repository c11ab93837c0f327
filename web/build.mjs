// Builds the page: bundles src/ with esbuild and writes dist/, each file gzipped, which the binary
// embeds (src/server/page_files.S). The result depends on the sources and package-lock.json alone,
// so that a test can build it again and compare.
//
//   node build.mjs DIRECTORY
import { build } from 'esbuild';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, 'dist');

const result = await build({
  entryPoints: [join(here, 'src/main.jsx')],
  outfile: 'page.js',
  bundle: true,
  minify: true,
  write: false,
  format: 'iife',
  target: ['es2022'],
  charset: 'utf8',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  alias: { react: 'preact/compat', 'react-dom': 'preact/compat' },
  legalComments: 'none', // in licenses.txt
  logLevel: 'warning',
});

const files = {};
for (const file of result.outputFiles) files[file.path.endsWith('.css') ? 'page.css' : 'page.js'] = file.text;
for (const name of ['index.html', 'favicon.svg']) files[name] = readFileSync(join(here, 'src', name), 'utf8');
files['licenses.txt'] = ['preact', 'marked', 'dompurify', 'uplot']
  .map((name) => {
    const folder = join(here, 'node_modules', name);
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
  })
  .join(`\n${'-'.repeat(80)}\n\n`);

mkdirSync(out, { recursive: true });
let total = 0;
for (const [name, text] of Object.entries(files)) {
  const zipped = gzipSync(text, { level: 9 });
  zipped[9] = 255; // the system it was made on: unknown, so that every machine writes the same
  writeFileSync(join(out, `${name}.gz`), zipped);
  total += zipped.length;
  console.log(`${name.padEnd(14)} ${String(text.length).padStart(8)} → ${zipped.length}`);
}
console.log(`${'all'.padEnd(14)} ${''.padStart(8)}   ${total}`);
