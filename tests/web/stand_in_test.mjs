// The page against a server whose every answer the test decides. Called as
//   node stand_in_test.mjs NODE_MODULES SCREENSHOTS DIST
import { readFileSync } from 'node:fs';
import { arguments_, check, checkWidth, finish, open, shoot, until } from './browser.mjs';
import { StandIn, streamed } from './stand_in.mjs';

const server = await new StandIn(arguments_[0]).start();
const answers = (page) => page.locator('.message.assistant');
// To be called when something of the new question or answer has been drawn: the page draws at most
// once a frame, and until then it still shows the button of the time before.
const idle = (page) => until('the answer ends', () => page.locator('button[aria-label="Send"]').isVisible());

async function ask(page, text) {
  await page.fill('#message', text);
  await page.keyboard.press('Enter');
  await until('the message is there', async () => (await page.locator('.bubble').last().innerText()) === text);
}

const essay = `## Crossing a river

There are **three** ways, in order of *comfort*:

1. Take the ferry
2. Build a bridge
3. Swim, if \`depth < 2\`

| way | time | cost |
|:----|-----:|-----:|
| ferry | 12 min | 3.50 |
| bridge | 2 years | 4,000,000 |

\`\`\`python
def cross(river, ferry):
    """Carry everyone across, a boat at a time."""
    while river.waiting:
        ferry.carry(river.waiting[:ferry.seats])
\`\`\`

> The far bank is where the near one was a moment ago.

See [the timetable](https://example.org/times).`;

// A point of a script that waits until the test has looked.
function gate() {
  let open = null;
  const opened = new Promise((resolve) => (open = resolve));
  return { hold: () => opened, open };
}

async function streaming() {
  const page = await open(server.url);
  await shoot(page, 'welcome');
  const [thought, halfSaid] = [gate(), gate()];
  const reasoning = streamed('The user wants to cross. Let me list the ways. ', 'reasoning_content');
  const text = streamed(essay);
  const half = text.length / 2;
  server.script = () => ({ pieces: [...reasoning, thought.hold, ...text.slice(0, half), halfSaid.hold, ...text.slice(half)], pause: 4 });
  await ask(page, 'How do I get across the river?');
  await until('thinking shows', () => page.getByText('Thinking…').isVisible());
  thought.open();
  await until('text shows while it streams', async () => (await answers(page).last().innerText()).includes('three'));
  check(await page.locator('button[aria-label="Stop"]').isVisible(), 'no stop button while streaming');
  halfSaid.open();
  await idle(page);
  const answer = answers(page).last();
  check((await answer.locator('h2').innerText()) === 'Crossing a river', 'heading');
  check((await answer.locator('td').count()) === 6, 'table');
  check((await answer.locator('td').nth(2).getAttribute('align')) === 'right', 'alignment in tables');
  check((await answer.locator('a').getAttribute('rel')).includes('noreferrer'), 'links tell where they come from');
  check((await answer.innerText()).includes('tokens/s'), 'no figures below the answer');
  await answer.getByRole('button', { name: 'Copy', exact: true }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  check(copied.startsWith('def cross') && copied.includes('    while'), `copied: ${copied}`);
  await page.getByRole('button', { name: /Thought for/ }).click();
  check((await page.locator('.reasoning-body').innerText()).includes('list the ways'), 'reasoning opens');
  await until('the announcement', async () => (await page.locator('#announcement').innerText()).includes('Crossing a river'));
  await shoot(page, 'answer-light');
  await page.getByRole('button', { name: /Theme/ }).click();
  await page.getByRole('button', { name: /Theme/ }).click();
  check((await page.evaluate(() => document.documentElement.dataset.theme)) === 'dark', 'theme');
  await shoot(page, 'answer-dark');
  await page.reload();
  await page.waitForSelector('.entry');
  check((await page.evaluate(() => document.documentElement.dataset.theme)) === 'dark', 'the theme is kept');
  await page.locator('.entry-open').first().click();
  check((await answers(page).last().locator('h2').innerText()) === 'Crossing a river', 'the conversation is kept');
  await page.context().close();
}

async function stopRegenerateEdit(how) {
  const page = await open(server.url, how);
  server.script = () => ({ pieces: streamed('again and '.repeat(4000)), pause: 10 });
  await ask(page, 'Go on for ever');
  await until('text', async () => (await answers(page).last().innerText()).includes('again and again'));
  await page.keyboard.press('Escape');
  await until('stopped', () => page.getByText('Stopped.', { exact: true }).first().isVisible());
  const half = await answers(page).last().locator('.markdown').innerText();
  check(half.length < 30000, 'Escape did not stop it');

  server.script = () => ({ pieces: streamed('Second try.') });
  await page.getByRole('button', { name: 'Regenerate' }).click();
  await until('second version', async () => (await answers(page).last().innerText()).includes('Second try.'));
  await idle(page);
  check(server.requests.at(-1).messages.length === 1, 'a regenerated answer saw the old one');
  check((await page.locator('.versions').innerText()).includes('2 / 2'), 'versions');
  await page.getByRole('button', { name: 'Earlier version' }).click();
  await until('the first version is kept', async () => (await answers(page).last().locator('.markdown').innerText()) === half);
  await page.getByRole('button', { name: 'Later version' }).click();

  await page.focus('#message');
  await page.keyboard.press('ArrowUp');
  await page.locator('textarea[aria-label="Edit message"]').fill('Something else');
  await page.keyboard.press('Enter');
  // Not the request: it can reach the server a frame before the page shows that it is busy.
  await until('the edited question', async () => (await page.locator('.bubble').last().innerText()) === 'Something else');
  await idle(page);
  check(server.requests.at(-1).messages[0].content === 'Something else', 'the edited question is sent');
  check((await page.locator('.message').count()) === 2, 'what came after the edited message is gone');

  server.script = (body) => ({ pieces: streamed(`You said ${body.messages.filter((m) => m.role === 'user').length} things.`) });
  await ask(page, 'And now?');
  await until('history is sent', async () => (await answers(page).last().innerText()).includes('You said 2 things.'));
  await page.context().close();
}

async function settings() {
  const page = await open(server.url);
  await page.keyboard.press('Control+,');
  await page.getByLabel('System prompt').fill('Be brief.');
  await page.getByLabel('Temperature').fill('0.3');
  await page.getByLabel('Top p').fill('0.9');
  await page.getByLabel('Longest answer, in tokens').fill('77');
  await page.locator('dialog').getByLabel('Thinking').selectOption('on');
  await page.getByLabel('Tools').fill('[{"broken": ');
  check((await page.getByLabel('Tools').getAttribute('aria-invalid')) === 'true', 'broken tools are not marked');
  await page.getByLabel('Tools').fill('[{"type":"function","function":{"name":"add"}}]');
  await shoot(page, 'settings');
  await page.keyboard.press('Escape');
  server.script = () => ({ pieces: streamed('Yes.') });
  await ask(page, 'Hm?');
  await idle(page);
  const body = server.requests.at(-1);
  check(body.messages[0].role === 'system' && body.messages[0].content === 'Be brief.', 'system prompt');
  check(body.temperature === 0.3 && body.top_p === 0.9 && body.max_tokens === 77, 'sampling');
  check(body.thinking.type === 'enabled' && body.tools.length === 1 && body.stream_options.include_usage, 'thinking, tools');
  await page.keyboard.press('Control+/');
  await page.getByText('Regenerate the last answer').waitFor();
  await shoot(page, 'keys');
  await page.keyboard.press('Escape');
  await page.context().close();
}

async function tools() {
  const page = await open(server.url);
  server.script = (body) =>
    body.messages.at(-1).role === 'tool'
      ? { pieces: streamed('It is 21 °C.') }
      : {
          pieces: [
            ...streamed('I should ask the thermometer.', 'reasoning_content'),
            { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'temperature', arguments: '' } }] },
            { tool_calls: [{ index: 0, function: { arguments: '{"place": "qu' } }] },
            { tool_calls: [{ index: 0, function: { arguments: 'ay"}' } }] },
          ],
        };
  await ask(page, 'How warm is it?');
  await idle(page);
  check((await page.locator('.call pre').innerText()).includes('"place": "quay"'), 'arguments');
  await page.getByPlaceholder('What the tool returns').fill('21');
  await shoot(page, 'tool-call');
  await page.getByRole('button', { name: 'Return result' }).click();
  await until('the answer', async () => (await answers(page).last().innerText()).includes('21 °C'));
  const [, asked, result] = server.requests.at(-1).messages;
  check(asked.tool_calls[0].id === 'call_1' && asked.reasoning_content.includes('thermometer'), 'the call goes back with its reasoning');
  check(result.tool_call_id === 'call_1' && result.content === '21', 'the result goes back');
  await page.context().close();
}

async function hostile() {
  const page = await open(server.url);
  const bad = [
    '<script>window.hit = 1</script><img src=x onerror="window.hit = 2">',
    '![a picture](https://evil.example/leak?x=1)',
    '[click](javascript:window.hit=3) <a href="javascript:window.hit=4">x</a>',
    '<iframe src="https://evil.example"></iframe><style>body{display:none}</style>',
    '<svg onload="window.hit=5"></svg> <form action="https://evil.example"><input name=q></form>',
    '```"><script>window.hit=6</script>\ncode\n```',
    '[x](data:text/html,<script>window.hit=7</script>)',
  ].join('\n\n');
  server.script = () => ({ pieces: streamed(bad) });
  await ask(page, '<img src=x onerror="window.hit = 8">');
  await idle(page);
  await page.waitForTimeout(200);
  check((await page.evaluate(() => window.hit)) === undefined, 'a script of the model ran');
  check((await page.locator('.markdown img, .markdown iframe, .markdown script, .markdown style, .markdown form, .markdown svg').count()) === 0, 'an element that should not be there');
  for (const link of await page.locator('.markdown a').all()) {
    const href = await link.getAttribute('href');
    check(href === null || href.startsWith('https://'), `a link to ${href}`);
  }
  check((await page.locator('.bubble').innerText()).includes('onerror'), 'what the user writes is text');
  await page.context().close();
}

async function failures(how) {
  const page = await open(server.url, { ...how, expected: /401|429|Failed to load|ERR_/ });
  const expectError = async (text) => {
    await until(`"${text}" is shown`, async () => (await page.locator('.notice.error').allInnerTexts()).some((t) => t.includes(text)));
    await idle(page);
  };
  server.script = () => ({ status: 429, error: 'The queue is full.' });
  await ask(page, 'One');
  await expectError('The queue is full.');
  await shoot(page, 'error');
  server.script = () => ({ pieces: streamed('half an ans'), cut: true });
  await page.getByRole('button', { name: 'Try again' }).click();
  await expectError('broke off');
  const kept = await answers(page).last().innerText();
  check(kept.includes('half an ans'), `what had come is kept: ${kept}`);
  server.script = () => ({ pieces: streamed('abc'), event: { error: { message: 'The chip caught fire.' } } });
  await page.getByRole('button', { name: 'Try again' }).click();
  await expectError('The chip caught fire.');
  server.key = 'secret';
  await page.reload();
  await until('the key is asked for', async () => (await page.locator('.status').innerText()).includes('Incorrect API key'));
  await page.keyboard.press('Control+,');
  await page.getByLabel('API key').fill('secret');
  await until('the key is used', async () => (await page.locator('.status').innerText()) === 'demo');
  server.key = '';
  await page.context().close();
}

async function keeping() {
  const page = await open(server.url);
  server.script = () => ({ pieces: streamed('Fine.') });
  for (const text of ['First talk', 'Second talk']) {
    await page.keyboard.press('Alt+n');
    await ask(page, text);
    await idle(page);
  }
  check((await page.locator('.entry').count()) === 2, 'two conversations');
  await page.locator('.entry').first().hover();
  await page.getByRole('button', { name: 'Rename Second talk' }).click();
  await page.getByLabel('Name of the conversation').fill('Renamed');
  await page.keyboard.press('Enter');
  await until('renamed', () => page.getByRole('button', { name: 'Renamed', exact: true }).isVisible());

  await page.keyboard.press('Control+,');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export all' }).click()]);
  const path = await download.path();
  const file = JSON.parse(readFileSync(path, 'utf8'));
  check(file.format === 'ferry-conversations' && file.conversations.length === 2, 'export');
  await page.locator('input[type=file]').setInputFiles({ name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{"format": 3}') });
  await until('a foreign file is refused', () => page.locator('.toast', { hasText: 'not exported from here' }).isVisible());
  await page.locator('input[type=file]').setInputFiles({ name: 'y.json', mimeType: 'application/json', buffer: readFileSync(path) });
  await until('imported', async () => (await page.locator('.entry').count()) === 4);
  await page.getByRole('button', { name: 'Close', exact: true }).click();

  await page.locator('.entry').first().hover();
  await page.getByRole('button', { name: 'Delete Renamed' }).first().click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  check((await page.locator('.entry').count()) === 4, 'cancelled, yet deleted');
  await page.locator('.entry').first().hover();
  await page.getByRole('button', { name: 'Delete Renamed' }).first().click();
  await page.locator('dialog').getByRole('button', { name: 'Delete' }).click();
  await until('deleted', async () => (await page.locator('.entry').count()) === 3);
  await page.reload();
  await until('still deleted', async () => (await page.locator('.entry').count()) === 3);
  await page.context().close();
}

async function dashboard() {
  const page = await open(server.url);
  server.records = [
    { id: 'a', route: '/v1/chat/completions', state: 'running', started: Date.now() / 1000, prompt_tokens: 812, cached_tokens: 512, output_tokens: 40, ttft_ms: 131, tokens_per_s: 18.2, duration_ms: 2400, finish_reason: null },
    { id: 'b', route: '/v1/responses', state: 'done', started: Date.now() / 1000 - 30, prompt_tokens: 90, cached_tokens: 0, output_tokens: 256, ttft_ms: 88, tokens_per_s: 20.1, duration_ms: 12800, finish_reason: 'stop' },
    { id: 'c', route: '/v1/completions', state: 'waiting', started: Date.now() / 1000 - 1, prompt_tokens: 15, cached_tokens: null, output_tokens: 0, ttft_ms: null, tokens_per_s: null, duration_ms: 900, finish_reason: null },
    { id: 'd', route: '/v1/messages', state: 'done', started: Date.now() / 1000 - 60, prompt_tokens: 1500, cached_tokens: 1488, output_tokens: 12, ttft_ms: 21, tokens_per_s: 19, duration_ms: 620, finish_reason: 'cancelled' },
  ];
  await page.keyboard.press('Alt+m');
  await until('figures', async () => /\d/.test(await page.locator('.tile dd').first().innerText()));
  check((await page.locator('.plot canvas').count()) === 6, 'plots');
  check((await page.locator('.requests tbody tr').count()) === 4, 'requests');
  check((await page.locator('.tiles').innerText()).includes('62'), 'prefix hits');
  await page.waitForTimeout(14000);
  await shoot(page, 'dashboard-light');
  await page.getByRole('button', { name: /Theme/ }).click();
  await page.getByRole('button', { name: /Theme/ }).click();
  await shoot(page, 'dashboard-dark');
  await page.locator('.requests').scrollIntoViewIfNeeded();
  await page.locator('.dashboard').evaluate((box) => (box.scrollTop = box.scrollHeight));
  await shoot(page, 'dashboard-requests');
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForTimeout(300);
  if (await page.locator('.shade').isVisible()) await page.locator('.shade').click({ position: { x: 380, y: 400 } });
  await shoot(page, 'dashboard-phone');
  await checkWidth(page, 'dashboard on a phone');
  await page.context().close();
}

async function phone() {
  const page = await open(server.url, { width: 390, height: 844 });
  server.script = () => ({ pieces: streamed(essay), pause: 1 });
  await shoot(page, 'phone-welcome');
  await ask(page, 'How do I get across the river, and what if the river is wider than any word I could write here?');
  await idle(page);
  await checkWidth(page, 'chat on a phone');
  await shoot(page, 'phone-chat');
  await page.getByRole('button', { name: 'Show the list' }).click();
  await shoot(page, 'phone-list');
  await page.getByRole('button', { name: 'Close the list' }).click();
  await page.context().close();
}

async function manyMessages() {
  const page = await open(server.url);
  server.script = () => ({ pieces: streamed('A line.\n\n'.repeat(30)), pause: 0 });
  for (const text of ['one', 'two', 'three']) {
    await ask(page, text);
    await idle(page);
  }
  const gap = () => page.locator('.scroll').evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  check((await gap()) < 5, 'the end is followed');
  await page.locator('.scroll').evaluate((box) => (box.scrollTop = 0));
  await page.getByRole('button', { name: 'To the end' }).click();
  check((await gap()) < 5, 'back to the end');
  await page.context().close();
}

// Everything that can be operated has a name, and no id is there twice.
async function names(how) {
  const page = await open(server.url, how);
  server.script = () => ({ pieces: [...streamed('Hm. ', 'reasoning_content'), ...streamed(essay)], pause: 0 });
  await ask(page, 'A question');
  await idle(page);
  for (const [keys, ready] of [['Control+,', 'dialog[open]'], ['Escape', '.chat'], ['Alt+m', '.tiles']]) {
    await page.keyboard.press(keys);
    await page.waitForSelector(ready);
    await until('the dialog', async () => (await page.locator('dialog').count()) === (keys === 'Control+,' ? 1 : 0));
    const wrong = await page.evaluate(() => {
      const nameless = [...document.querySelectorAll('button, input, textarea, select, a, figure, nav, dialog')].filter((element) => {
        const label = element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.textContent.trim();
        return !label && !element.labels?.length;
      });
      const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
      return [...nameless.map((element) => element.outerHTML.slice(0, 120)), ...ids.filter((id, i) => ids.indexOf(id) !== i)];
    });
    check(wrong.length === 0, `without a name, or twice: ${wrong.join(' ')}`);
  }
  await page.keyboard.press('Alt+m');
  // The page itself puts the focus there, after it has drawn the chat.
  await until('the box has the focus', () => page.evaluate(() => document.activeElement.id === 'message'));
  await page.keyboard.press('Tab');
  check((await page.evaluate(() => document.activeElement.className)).includes('chip'), 'Tab goes from the box to the next control');
  await page.context().close();
}

// Text against what lies behind it: at least 4.5 : 1 (WCAG AA), in both themes.
async function contrast() {
  for (const dark of [false, true]) {
    const page = await open(server.url, { dark });
    const low = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const channels = (name) => style.getPropertyValue(name).match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16) / 255);
      const luminance = (name) => {
        const [r, g, b] = channels(name).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const pairs = [];
      for (const back of ['--paper', '--side', '--raised', '--bubble']) for (const text of ['--ink', '--soft', '--quiet', '--accent', '--wrong']) pairs.push([text, back]);
      pairs.push(['--accent-ink', '--accent'], ['--wrong', '--wrong-wash']);
      return pairs
        .map(([text, back]) => [text, back, (Math.max(luminance(text), luminance(back)) + 0.05) / (Math.min(luminance(text), luminance(back)) + 0.05)])
        .filter(([, , ratio]) => ratio < 4.5);
    });
    check(low.length === 0, `contrast (${dark ? 'dark' : 'light'}): ${low.join('; ')}`);
    await page.context().close();
  }
}

for (const part of [names, contrast, streaming, stopRegenerateEdit, settings, tools, hostile, failures, keeping, dashboard, phone, manyMessages]) {
  console.log(part.name);
  await part().catch((error) => check(false, `${part.name}: ${error.stack}`));
}
for (const part of [names, stopRegenerateEdit, failures]) {
  console.log(`${part.name}, frames late`);
  await part({ late: true }).catch((error) => check(false, `${part.name}, frames late: ${error.stack}`));
}
server.stop();
await finish();
