// The texts that both tokenizers read: generated from a seed, so every run sees the same ones.
//
// Left out, because the reference is known to differ from what it stands for (Oniguruma) there:
//   U+017F            (?i:'s) matches it under Unicode case folding; the reference folds ASCII only
//   code points newer than Unicode 14, which the two sides' character tables may not share
// U+0085 and U+FEFF are kept apart by the callers that need it: see oracle.mjs.

// A small generator of 32-bit numbers with good spread (mulberry32).
export function makeRandom(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return {
    below: (n) => next() % n,
    pick: (list) => list[next() % list.length],
  };
}

// Blocks of the world's scripts and signs, first and last code point.
const kBlocks = [
  [0x20, 0x7e], [0x20, 0x7e], [0x20, 0x7e], [0xa1, 0xff], [0x100, 0x17e], [0x180, 0x24f],
  [0x250, 0x2af], [0x2b0, 0x2ff], [0x300, 0x36f], [0x370, 0x377], [0x384, 0x3ff],
  [0x400, 0x52f], [0x531, 0x556], [0x561, 0x587], [0x591, 0x5c7], [0x5d0, 0x5ea],
  [0x600, 0x6ff], [0x710, 0x74a], [0x780, 0x7b1], [0x905, 0x96f], [0x985, 0x9b9],
  [0xa05, 0xa39], [0xb05, 0xb39], [0xb85, 0xbb9], [0xc05, 0xc39], [0xe01, 0xe3a], [0xe81, 0xeb0],
  [0xf00, 0xf47], [0x1000, 0x109f], [0x10a0, 0x10c5], [0x10d0, 0x10ff], [0x1100, 0x11ff],
  [0x1200, 0x1248], [0x13a0, 0x13f5], [0x1401, 0x1500], [0x1680, 0x169c], [0x1780, 0x17dd],
  [0x1820, 0x1878], [0x1c90, 0x1cba], [0x1d00, 0x1dbf], [0x1e00, 0x1eff], [0x1f00, 0x1fff],
  [0x2000, 0x206f], [0x2070, 0x209c], [0x20a0, 0x20bf], [0x20d0, 0x20f0], [0x2100, 0x218b],
  [0x2190, 0x23ff], [0x2460, 0x24ff], [0x2500, 0x27bf], [0x2c00, 0x2c5f], [0x2d00, 0x2d25],
  [0x3000, 0x303f], [0x3041, 0x3096], [0x30a0, 0x30ff], [0x3105, 0x312f], [0x3200, 0x32ff],
  [0x3400, 0x3450], [0x4e00, 0x9fa5], [0x4e00, 0x4e80], [0x9fa6, 0x9ffc], [0xa000, 0xa080],
  [0xa4d0, 0xa4ff], [0xa640, 0xa69f], [0xa722, 0xa7bf], [0xab30, 0xabbf], [0xac00, 0xd7a3],
  [0xf900, 0xfa6d], [0xfb00, 0xfb06], [0xfb1d, 0xfb36], [0xfe00, 0xfe0f], [0xfe10, 0xfe19],
  [0xff01, 0xffee], [0x10000, 0x1004d], [0x10400, 0x1044f], [0x104b0, 0x104d3],
  [0x118a0, 0x118df], [0x12000, 0x12040], [0x13000, 0x13040], [0x1d400, 0x1d454],
  [0x1d7ce, 0x1d7ff], [0x1e900, 0x1e943], [0x1f1e6, 0x1f1ff], [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6d2], [0x1f900, 0x1f9ff], [0x20000, 0x20040], [0xe000, 0xe010],
];
const kSpecialSigns = [
  0x00, 0x01, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9f, 0xa0,
  0xad, 0x378, 0x61c, 0x1680, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x2028, 0x2029, 0x202e,
  0x202f, 0x205f, 0x2060, 0x2581, 0x3000, 0xfeff, 0xff5c, 0xfffd, 0xfffe, 0x10ffff,
];
const kPhrases = [
  "Hello, world!", " Hello World", "I'm you're HE'LL we've I'D don't CAN'T 'tis '", "3.14159",
  "1234567890", "12 345 6789", "0x1F", "٣٤٥", "½²③Ⅳ", "a1b2c3", "x=1;y=2", "$100.00 €5 ¥7 #1",
  "for (int i = 0; i < n; ++i) {\n\treturn a[i] & 0xFF;\n}\n", "def f(x):\n    return x**2\n\n\n",
  "https://example.org/a?b=c&d=%20#e", "{\"key\": [1, 2.5e-3, null]}", "<b>bold</b>", "C:\\dir\\x",
  "我想在apple工作1314151天～", "日本語のテキスト、カタカナ。", "한국어 텍스트", "ภาษาไทย", "हिन्दी में",
  "עברית", "العربية ١٢٣", "Ελληνικά ΆΈ", "нещо на Български", "Հայերեն", "ქართული", "ᏣᎳᎩ",
  "Cửa Việt", "Äpfel", "e\u0301a\u0308o\u0323\u0308", "\u1112\u1161\u11ab", "ﬁ Å Ω", "कि",
  "👨‍👩‍👧‍👦", "😶‍🌫️", "🇩🇪🇫🇷", "👍🏽", "❤️", "✅", "......", "!!!???", "------=======", "''''\"\"\"``",
  "\r\n\r\n", "\n \n  \n", "\t\t x", "a\u00a0b", "  two  spaces   ", "trailing ", "\n\n\n", " \n",
];
const kAdded = [
  "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>", "<｜User｜>",
  "<｜Assistant｜>", "<｜tool▁sep｜>", "<think", "<｜", "｜>", "<mask>", " <mask> ", "ab", "abc",
];

function randomText(random) {
  const blocks = Array.from({ length: 1 + random.below(3) }, () => random.pick(kBlocks));
  let text = "";
  for (let i = 1 + random.below(14); i > 0; --i) {
    switch (random.below(9)) {
      case 0: text += random.pick(kPhrases); break;
      case 1: text += random.pick(kAdded); break;
      case 2: text += " ".repeat(1 + random.below(6)); break;
      case 3: text += random.pick(["\n", "\r\n", "\t", " \n", "\n\n", "  "]).repeat(1 + random.below(3)); break;
      case 4: text += String.fromCodePoint(random.pick(kSpecialSigns)); break;
      case 5: text += String(random.below(1e9)).slice(0, 1 + random.below(9)); break;
      default: {
        const [first, last] = random.pick(blocks);
        for (let n = 1 + random.below(6); n > 0; --n) {
          text += String.fromCodePoint(first + random.below(last - first + 1));
        }
      }
    }
  }
  return text;
}

// Bytes, most of them broken UTF-8.
function randomBytes(random) {
  const leads = [0x41, 0x20, 0xc3, 0xe2, 0xf0, 0xed, 0xf4, 0xe0, 0xc0, 0xff, 0x80, 0x9f, 0xbf, 0xa0, 0x98];
  const length = 1 + random.below(24);
  return Buffer.from(Array.from({ length }, () =>
    random.below(4) ? random.pick(leads) : random.below(256)));
}

const kTooNew = /[\u017f\p{Cn}]/u;
const isKept = (c) => !kTooNew.test(c) || c.codePointAt(0) === 0x378 || c.codePointAt(0) >= 0xfffe;

// Buffers of bytes, not all of them valid UTF-8.
export function makeCorpus(seed, count) {
  const random = makeRandom(seed);
  const texts = kPhrases.concat(kAdded, ["", " ".repeat(1000), "\n".repeat(500), " ".repeat(999) + "x",
    "a".repeat(2000), "ab ".repeat(700), "中".repeat(700), "1".repeat(1000), " \n".repeat(400)]);
  for (let i = 0; i < count; ++i) texts.push(randomText(random));
  const out = texts.map((text) => Buffer.from([...text].filter(isKept).join(""), "utf8"));
  for (let i = 0; i < count / 5; ++i) out.push(randomBytes(random));
  return out;
}

export const readText = (bytes) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
