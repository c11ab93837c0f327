// The tokenizers that are compared: published pre-tokenizers over the built-in model's vocabulary and
// over a dense one, in which almost any neighbouring bytes may join, so that a border in the wrong
// place shows in the ids.
import { makeRandom } from "./corpus.mjs";

const alphabet = (() => {
  const chars = [];
  let next = 256;
  for (let byte = 0; byte < 256; ++byte) {
    const itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    chars.push(String.fromCharCode(itself ? byte : next++));
  }
  return chars;
})();

// Walks random stretches of the corpus and makes a token of every prefix, bytes joined one by one.
export function denseModel(corpus, seed, numTokens) {
  const random = makeRandom(seed);
  const vocab = Object.fromEntries(alphabet.map((c, byte) => [c, byte]));
  const merges = [];
  for (let id = 256; id < numTokens; ) {
    const bytes = random.pick(corpus);
    if (bytes.length < 2) continue;
    const start = random.below(bytes.length - 1);
    let token = alphabet[bytes[start]];
    for (let i = start + 1; i < Math.min(bytes.length, start + 2 + random.below(9)); ++i) {
      const right = alphabet[bytes[i]];
      if (!(token + right in vocab)) {
        vocab[token + right] = id++;
        merges.push(`${token} ${right}`);
      }
      token += right;
    }
  }
  return { type: "BPE", dropout: null, unk_token: null, byte_fallback: false, vocab, merges };
}

const split = (Regex, more = {}) =>
  ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false, ...more });
const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const sequence = (...stages) => ({ type: "Sequence", pretokenizers: [...stages, byteLevel] });

const kTail = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const kContractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const cl100k = (digits) =>
  String.raw`${kContractions}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${kTail}`;
const kGpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const kCjk = "[一-龥ࠀ-一가-\ud7ff]+";
const kDeepseekV3 = [
  String.raw`\p{N}{1,3}`, "[一-龥぀-ゟ゠-ヿ]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" +
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" + kTail];
const kUpper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`;
const kLower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`;
const kKimi = String.raw`[\p{Han}]+|[^\r\n\p{L}\p{N}]?${kUpper}*${kLower}+${kContractions}?` +
  String.raw`|[^\r\n\p{L}\p{N}]?${kUpper}+${kLower}*${kContractions}?|\p{N}{1,3}` +
  String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|${kTail}`;

// deepseek-llm's letters: cased letters as a list, here in hexadecimal ranges.
const kLetters = `41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d
  37f 386 388-38a 38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba
  1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b
  1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4
  1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f
  2145-2149 214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3 a640-a66d a680-a69b a722-a76f
  a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3
  104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943`
  .split(/\s+/).map((range) => range.split("-").map((hex) => String.fromCodePoint(parseInt(hex, 16))).join("-"))
  .join("");
const kDigits = { type: "Digits", individual_digits: true };
const kDeepseekLlm = [split("[\r\n]"), split(`\\s?[${kLetters}]+`),
  split("\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"), split("\\s+$"), split(kCjk), kDigits];
const kDeepseekCoder = [split("[\r\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"), split(kCjk), kDigits];

const added = (id, content, more = {}) => ({
  id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...more });

// name, pre-tokenizer; `gguf`: the name that must mean the same; `plain`: texts without U+0085 and
// U+FEFF, where the white space of JavaScript differs.
export function variants(demo, dense) {
  const make = (pre_tokenizer, more = {}) => ({
    version: "1.0", truncation: null, padding: null, added_tokens: demo.added_tokens,
    normalizer: null, pre_tokenizer, post_processor: null, decoder: byteLevel, model: demo.model, ...more });
  const nfc = { normalizer: { type: "NFC" } };
  const list = [
    { name: "demo", json: demo },
    { name: "qwen2", gguf: "qwen2", json: make(sequence(split(cl100k(String.raw`\p{N}`))), nfc) },
    { name: "llama3", gguf: "llama-bpe", ignoreMerges: true,
      json: make(sequence(split(cl100k(String.raw`\p{N}{1,3}`)))) },
    { name: "deepseek-v3", gguf: "deepseek-v3", json: make(sequence(...kDeepseekV3.map((r) => split(r)))) },
    { name: "deepseek-llm", gguf: "deepseek-llm", json: make(sequence(...kDeepseekLlm)) },
    { name: "deepseek-coder", gguf: "deepseek-coder", json: make(sequence(...kDeepseekCoder)) },
    { name: "kimi-k2", json: make(sequence(split(kKimi))) },
    { name: "gpt-2", gguf: "gpt-2", plain: true, json: make({ ...byteLevel, use_regex: true }) },
    { name: "prefix space", plain: true,
      json: make({ ...byteLevel, use_regex: true, add_prefix_space: true }) },
    { name: "removed", json: make(sequence(split("\\s+", { behavior: "Removed" }))) },
    { name: "inverted", json: make(sequence(
      split(cl100k(String.raw`\p{N}{1,3}`), { behavior: "Removed", invert: true }))) },
    { name: "string", json: make(sequence({ ...split("x"), pattern: { String: "a" } })) },
    { name: "NFKC", json: make(sequence(split(cl100k(String.raw`\p{N}`))), { normalizer: { type: "NFKC" } }) },
    { name: "NFD", json: make(sequence(split(cl100k(String.raw`\p{N}`))), { normalizer: { type: "NFD" } }) },
    { name: "word, boundary, hex", json: make(sequence(split(String.raw`\b\w+\b|\h+|\W`))) },
  ];
  const out = [];
  for (const variant of list) {
    out.push(variant);
    const ids = Object.keys(dense.vocab).length;
    const model = variant.ignoreMerges ? { ...dense, ignore_merges: true } : dense;
    const added_tokens = [
      added(ids, "<｜begin▁of▁sentence｜>", { special: true }), added(ids + 1, "<think>"),
      added(ids + 2, "</think>"), added(ids + 3, "<｜User｜>", { special: true }),
      added(ids + 4, "<mask>", variant.plain || variant.gguf ? {} : { lstrip: true, rstrip: true }),
      added(ids + 5, "a\u0308\u0301", { normalized: !variant.gguf }), added(ids + 6, "abc")];
    out.push({ ...variant, name: `${variant.name}, dense`, json: { ...variant.json, model, added_tokens } });
  }
  return out;
}
