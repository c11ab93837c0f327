// The page as `ferry serve` gives it, with the built-in model behind it. Called as
//   node binary_test.mjs NODE_MODULES SCREENSHOTS FERRY
import { arguments_, check, checkWidth, finish, open, shoot, until } from './browser.mjs';
import { serve } from './serve.mjs';

const [ferry] = arguments_;

const server = await serve(ferry);
const { url } = server;

const answers = (page) => page.locator('.message.assistant');
const idle = (page) => until('the answer ends', () => page.locator('button[aria-label="Send"]').isVisible(), 60000);

async function ask(page, text) {
  await page.fill('#message', text);
  await page.keyboard.press('Enter');
  await until('the message is there', async () => (await page.locator('.bubble').last().innerText()) === text);
}

async function headers() {
  const page = await fetch(url);
  check(page.status === 200 && page.headers.get('content-security-policy')?.startsWith("default-src 'none'"), 'policy');
  const again = await fetch(url, { headers: { 'If-None-Match': page.headers.get('etag') } });
  check(again.status === 304, `an unchanged page is sent again: ${again.status}`);
  // fetch() always accepts gzip; a client that does not gets the text.
  const plain = await new Promise((resolve, reject) => {
    import('node:http').then(({ get }) =>
      get(`${url}page.css`, (response) => {
        let text = '';
        response.on('data', (data) => (text += data)).on('end', () => resolve({ text, headers: response.headers }));
      }).on('error', reject),
    );
  });
  check(!plain.headers['content-encoding'] && plain.text.includes('--accent'), 'without gzip');
  check((await fetch(`${url}no-such-file.js`)).status === 404, 'unknown file');
  check((await fetch(url, { method: 'HEAD' })).status === 200, 'HEAD');
}

async function chat(page) {
  await until('the model is named', async () => (await page.locator('.status').innerText()) === 'demo');
  await shoot(page, 'real-welcome');
  await page.locator('.chip').click(); // thinking: on, when its answers are right
  await ask(page, 'What is 12 + 30?');
  await idle(page);
  check((await answers(page).last().innerText()).includes('42'), `12 + 30: ${await answers(page).last().innerText()}`);
  check((await page.getByRole('button', { name: /Thought for/ }).count()) === 1, 'reasoning is folded');
  await page.getByRole('button', { name: /Thought for/ }).click();
  check((await page.locator('.reasoning-body').innerText()).length > 3, 'reasoning');
  await shoot(page, 'real-answer');

  await page.getByRole('button', { name: 'Regenerate' }).click();
  await until('two versions', async () => (await page.locator('.versions').count()) === 1);
  await idle(page);
  check((await page.locator('.versions').innerText()).includes('2 / 2'), 'versions');

  await page.getByRole('button', { name: 'Edit message' }).click();
  await page.locator('textarea[aria-label="Edit message"]').fill('What is 20 + 30?');
  await page.keyboard.press('Enter');
  await until('the edited message', async () => (await page.locator('.bubble').last().innerText()) === 'What is 20 + 30?');
  await idle(page);
  check((await answers(page).last().innerText()).includes('50'), 'edited');
}

async function stop(page) {
  await ask(page, 'Count from 1 to 60.');
  await until('something streams', async () => (await answers(page).last().innerText()).length > 12);
  await page.keyboard.press('Escape');
  await idle(page);
  await until('the server has nothing to do', async () => {
    const metrics = await (await fetch(`${url}metrics`)).text();
    return /^ferry_num_requests_running(\{[^}]*\})? 0(\.0*)?$/m.test(metrics);
  });
}

async function dashboard(page) {
  await page.keyboard.press('Alt+m');
  await until('figures', async () => /\d/.test(await page.locator('.tile', { hasText: 'Tokens written' }).innerText()));
  const written = await page.locator('.tile', { hasText: 'Tokens written' }).locator('dd').innerText();
  check(Number(written.replaceAll(',', '')) > 20, `tokens written: ${written}`);
  const load = Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      fetch(`${url}v1/chat/completions`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: `What is ${i + 3} + 30?` }], thinking: { type: 'enabled' }, max_tokens: 150 }),
      }).then((response) => response.json()),
    ),
  );
  await until('speed', async () => Number(await page.locator('.tile dd').first().innerText().then((text) => text.replace(/[^\d.]/g, ''))) > 0, 30000);
  await load;
  await page.waitForTimeout(3000);
  check((await page.locator('.requests tbody tr').count()) >= 8, 'requests are listed');
  await shoot(page, 'real-dashboard');
  await page.locator('.dashboard').evaluate((box) => (box.scrollTop = box.scrollHeight));
  await shoot(page, 'real-requests');
  await page.keyboard.press('Alt+m');
}

async function phone() {
  const page = await open(url, { width: 390, height: 844, dark: true });
  await ask(page, 'How many r are in strawberry?');
  await idle(page);
  await checkWidth(page, 'phone');
  await shoot(page, 'real-phone');
  await page.context().close();
}

if (server.ready) {
  const page = await open(url);
  for (const part of [headers, chat, stop, dashboard, phone]) {
    console.log(part.name);
    await part(page).catch((error) => check(false, `${part.name}: ${error.stack}`));
  }
}
await server.stop();
await finish();
