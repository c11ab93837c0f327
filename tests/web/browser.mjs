// What the page's tests share: a headless Chromium that notes everything it should not do, checks
// that are counted, and screenshots.
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [, , modules, shots] = process.argv;
export const arguments_ = process.argv.slice(4);

const { chromium } = createRequire(join(modules, 'here.js'))('playwright-core');
mkdirSync(shots, { recursive: true });

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = process.env.FERRY_CHROMIUM ?? places.find((path) => existsSync(path));

let failures = 0;
export function check(condition, what) {
  if (condition) return;
  ++failures;
  console.log(`FAILED: ${what}`);
}

export async function until(what, condition, timeoutMs = 20000) {
  const end = Date.now() + timeoutMs;
  while (Date.now() < end) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  check(false, `waited in vain: ${what}`);
  return false;
}

let browser = null;

// Frames come late on a busy machine; what a page does must not depend on when it is drawn.
function delayFrames() {
  const inTime = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (draw) => setTimeout(() => inTime(draw), 120);
}

// A page of a fresh profile. `expected`: messages of the console that belong to the test.
// `late`: each frame comes late. `ready`: what is there when the page is.
export async function open(url, { width = 1280, height = 820, dark = false, late = false, expected = null, ready = '.composer' } = {}) {
  browser ??= await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--force-color-profile=srgb'] });
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? 'dark' : 'light',
    permissions: ['clipboard-read', 'clipboard-write'],
    reducedMotion: 'reduce',
  });
  const page = await context.newPage();
  if (late) await page.addInitScript(delayFrames);
  const origin = url.startsWith('file:') ? url : new URL(url).origin;
  page.on('request', (request) => {
    const to = request.url();
    check(to.startsWith(origin) || to.startsWith('blob:') || to.startsWith('data:'), `a request left the machine: ${to}`);
  });
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    if (expected?.test(message.text())) return;
    check(false, `console: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => check(false, `uncaught: ${error.stack}`));
  await page.goto(url);
  await page.waitForSelector(ready);
  return page;
}

export const shoot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`) });

// No part of the page is wider than the window.
export async function checkWidth(page, what) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(content <= window, `${what}: ${content} px wide in a window of ${window}`);
}

export async function finish() {
  await browser?.close();
  console.log(`${failures} failures`);
  process.exit(failures > 0 ? 1 : 0);
}
