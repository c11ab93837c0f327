// Builds the page: bundles src/ with esbuild and writes dist/, each file gzipped, which the binary
// embeds (src/server/page_files.S): the page, and the planner's report as one file that lacks only
// its data. The result depends on the sources and package-lock.json alone, so that a test can build
// it again and compare.
//
//   node build.mjs DIRECTORY
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, 'dist');

// Script and style of one entry.
async function bundle(entry) {
  const result = await build({
    entryPoints: [join(here, 'src', entry)],
    outfile: 'bundle.js',
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
  const text = (type) => result.outputFiles.find((file) => file.path.endsWith(type)).text;
  return { script: text('.js'), style: text('.css') };
}

function license(name) {
  const folder = join(here, 'node_modules', name);
  const { version, license: kind } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return `${name} ${version} (${kind})\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
}

// Whoever writes a report puts JSON into #plan (src/server/page.cc).
function reportAround({ script, style }) {
  const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}">
<title>ferry plan</title>
<style>${style}</style>
</head>
<body>
<div id="page"></div>
<noscript>This report needs JavaScript to be drawn. Its figures stand in this file as JSON.</noscript>
<script type="application/json" id="plan"></script>
<script>${script}</script>
<!-- ${license('preact')}-->
</body>
</html>
`;
}

const page = await bundle('main.jsx');
const files = { 'page.js': page.script, 'page.css': page.style };
for (const name of ['index.html', 'favicon.svg']) files[name] = readFileSync(join(here, 'src', name), 'utf8');
files['report.html'] = reportAround(await bundle('report.jsx'));
files['licenses.txt'] = ['preact', 'marked', 'dompurify', 'uplot'].map(license).join(`\n${'-'.repeat(80)}\n\n`);

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
