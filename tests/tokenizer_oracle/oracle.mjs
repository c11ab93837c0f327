// Compares ferry's ids and decoded text with those of @huggingface/tokenizers.
// Usage: node oracle.mjs ENCODE_LINES SOURCE_FOLDER WORK_FOLDER
//
// The reference is JavaScript and known to differ from the Rust library it stands for. Where it
// does, it gets an equivalent tokenizer.json, and ferry the original:
//   Digits                    splits ASCII digits only; the Rust library all of \p{N}
//   ByteLevel{use_regex}      JavaScript's \s has U+FEFF and lacks U+0085: texts without those
//   lstrip, rstrip            JavaScript's trim has U+FEFF and lacks U+0085: texts without those
// Not compared, as the reference lacks them: single_word, MergedWithPrevious, MergedWithNext,
// Contiguous.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { makeCorpus, readText } from "./corpus.mjs";
import { denseModel, variants } from "./models.mjs";

const [encodeLines, source, work] = process.argv.slice(2);
const kSeed = 20240611;
const kNumTexts = 3000;

const forReference = (json) => JSON.parse(JSON.stringify(json), (key, value) =>
  value?.type === "Digits"
    ? { type: "Split", pattern: { Regex: "\\p{N}" }, behavior: "Isolated", invert: false }
    : value);

function ferry(path, gguf, texts) {
  const input = texts.map((bytes) => bytes.toString("hex") + "\n").join("");
  const output = execFileSync(encodeLines, gguf ? [path, gguf] : [path], {
    input, encoding: "utf8", maxBuffer: 1 << 30 });
  return output.trimEnd().split("\n").map((line) => JSON.parse(line));
}

let numFailures = 0;
function compare(name, expected, found, texts) {
  let wrong = 0;
  texts.forEach((bytes, i) => {
    const same = JSON.stringify(expected[i].ids) === JSON.stringify(found[i].ids) &&
      expected[i].text === found[i].text;
    if (same) return;
    if (++wrong <= 3) {
      console.log(`${name}: ${JSON.stringify(readText(bytes)).slice(0, 300)}`);
      console.log(`  reference ${JSON.stringify(expected[i]).slice(0, 400)}`);
      console.log(`  ferry     ${JSON.stringify(found[i]).slice(0, 400)}`);
    }
  });
  console.log(`${name}: ${texts.length - wrong} of ${texts.length} texts agree`);
  numFailures += wrong;
}

function check({ name, json, gguf, plain }, corpus) {
  const strips = json.added_tokens.some((token) => token.lstrip || token.rstrip);
  const texts = plain || strips
    ? corpus.filter((bytes) => !/[\u0085\ufeff]/.test(readText(bytes))) : corpus;
  const tokenizer = new Tokenizer(forReference(json), { clean_up_tokenization_spaces: false });
  const expected = texts.map((bytes) => {
    const { ids } = tokenizer.encode(readText(bytes), { add_special_tokens: false });
    return { ids, text: ids.length ? tokenizer.decode(ids) : "" };
  });
  const path = join(work, "tokenizer.json");
  writeFileSync(path, JSON.stringify(json));
  compare(name, expected, ferry(path, "", texts), texts);
  if (gguf) compare(`${name} as GGUF`, expected, ferry(path, gguf, texts), texts);
}

const corpus = makeCorpus(kSeed, kNumTexts);
const demo = JSON.parse(readFileSync(join(source, "demo/tokenizer.json"), "utf8"));
const dense = denseModel(corpus, kSeed + 1, 6000);
for (const variant of variants(demo, dense)) check(variant, corpus);

// Small checkpoints with files of their own, where the shared data is.
const goldens = join(process.env.FERRY_SHARED ?? join(source, "../shared"), "goldens");
for (const model of existsSync(goldens) ? readdirSync(goldens) : []) {
  const path = join(goldens, model, "hf/tokenizer.json");
  if (!existsSync(path)) continue;
  check({ name: `goldens/${model}`, plain: true, json: JSON.parse(readFileSync(path, "utf8")) },
    corpus.slice(0, 500));
}
console.log(numFailures === 0 ? "all agree" : `${numFailures} texts differ`);
process.exit(numFailures === 0 ? 0 : 1);
