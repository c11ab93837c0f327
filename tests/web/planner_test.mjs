// The planner of the page as `ferry serve` gives it, and the report of `ferry plan --html`. What the
// page shows is compared with what the command prints. Called as
//   node planner_test.mjs NODE_MODULES SCREENSHOTS FERRY
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { arguments_, check, checkWidth, finish, open, shoot, until } from './browser.mjs';
import { serve } from './serve.mjs';

const [ferry] = arguments_;
const PATIENCE = 60000;
const CHIPS = ['H20 96GB', 'H800 SXM 80GB', 'Ascend 910B4 (A2-280T, 32G)', 'MI300X', 'Ascend 910D'];

const rows = (page) => page.locator('.plan-table').first().locator('tbody');
const chipsOf = (page) => rows(page).locator('td:first-child [title]').evaluateAll((all) => all.map((small) => small.parentElement.firstChild.textContent));

// What the command prints that the page gives for its answer.
async function printed(page) {
  const command = await page.locator('.plan-command code').innerText();
  check(command.startsWith('ferry plan compare deepseek-v3 '), `the command: ${command}`);
  const run = spawnSync('sh', ['-c', `"$0" ${command.slice('ferry '.length)} --json`, ferry], { encoding: 'utf8' });
  check(run.status === 0, `${command}: ${run.stderr}`);
  return JSON.parse(run.stdout);
}

// Table, plots and rules show what the answer has.
async function showsPlan(page, plan, what) {
  const names = plan.options.map((option) => option.chip);
  check(names.length >= 2, `${what}: ${names.length} options`);
  check(JSON.stringify(await chipsOf(page)) === JSON.stringify(names), `${what}: the table has ${await chipsOf(page)} for ${names}`);
  check((await rows(page).first().innerText()).includes(`would help: ${plan.options[0].helps}`), `${what}: what would help`);
  check((await page.locator('.plan-line').count()) === names.length, `${what}: lines of the frontier`);
  check((await page.locator('.plan-line circle').count()) === names.length, `${what}: options on the frontier`);
  const priced = plan.options.filter((option) => option.usd_per_million_output).length;
  check(priced > 0 && (await page.locator('.plan-whisker').count()) === priced, `${what}: ranges of costs`);
  check((await page.getByText('price unknown').count()) === names.length - priced, `${what}: prices that are not known`);
  check((await page.locator('.plan-bars').last().locator('li').count()) === names.length, `${what}: what binds`);
  const widths = await page.locator('.plan-plot', { hasText: 'Memory of a chip' }).locator('.plan-track').first().locator('.plan-bar').evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect().width));
  check(widths.length === 5 && widths[0] > 1, `${what}: parts of the memory are ${widths} px`);
  check((await page.locator('.plan-chip').count()) === plan.chips.length, `${what}: chips that something is known of`);
  const chip = plan.chips.find((known) => known.price_usd === null || known.rental_usd_h === null);
  const facts = page.locator('.plan-chip', { hasText: chip.name });
  await facts.locator('summary').click();
  const known = await facts.innerText();
  check(known.includes('unknown') && known.includes(chip.source), `${what}: what is known of ${chip.name}: ${known}`);
  await facts.locator('summary').click();
  check((await page.locator('.plan-rules tbody').count()) === plan.rules.positions.length, `${what}: positions`);
  check((await page.locator('.plan-events li').count()) === plan.rules.events.length, `${what}: dates`);
  check(await page.getByText('no legal advice').isVisible(), `${what}: no legal advice`);
  const rejected = await page.locator('.plan-rejected li').evaluateAll((lines) => lines.map((line) => line.textContent));
  check(JSON.stringify(rejected) === JSON.stringify(plan.rejected), `${what}: without an option are ${rejected}`);
}

// The frontier is drawn for the width it has.
const drawn = (page) =>
  until('the plot has the width of its box', () => page.locator('.plan-frontier').evaluate((box) => box.firstChild.getBoundingClientRect().width === box.clientWidth));

async function ask(page) {
  await page.keyboard.press('Alt+p');
  await until('the form', () => page.locator('.plan-form').isVisible());
  await page.locator('summary', { hasText: 'Chips' }).focus();
  await page.keyboard.press('Enter');
  for (const name of CHIPS) {
    await page.getByLabel('Find chips').fill(name);
    await page.getByLabel(name, { exact: true }).focus();
    await page.keyboard.press('Space');
  }
  await until('five chips are chosen', async () => (await page.locator('summary', { hasText: 'Chips' }).innerText()).includes('5 of'));
  await page.fill('[name=rate]', '20');
  await page.fill('[name=tpot]', '50');
  await page.fill('[name=ttft]', '2');
  await page.fill('[name=max_chips]', '256');
  await page.keyboard.press('Enter');
  await until('the answer', () => page.locator('.plan-result').isVisible(), PATIENCE);
}

async function answer(page) {
  await ask(page);
  await drawn(page);
  const plan = await printed(page);
  check(plan.rejected.some((line) => line.startsWith('Ascend 910D')), `rejected: ${plan.rejected}`); // its memory is not known
  await showsPlan(page, plan, 'page');
  await until('it is read out', async () => (await page.locator('#announcement').innerText()) === `${plan.options.length} options.`);
  await checkWidth(page, 'planner');
  await shoot(page, 'planner-light');

  const line = page.locator('.plan-legend button').nth(1);
  await line.focus();
  await until('a line alone', async () => (await page.locator('.plan-line.is-faded').count()) === plan.options.length - 1);
  check((await page.locator('.plan-reading').innerText()).startsWith(plan.options[1].chip), 'the reading of a line');
  await shoot(page, 'planner-plots-light');

  const header = page.locator('.plan-table th button', { hasText: /^Chips/ });
  await header.click();
  const sorted = plan.options.map((option, i) => [option.chips, i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, i]) => plan.options[i].chip);
  await until('sorted by chips', async () => JSON.stringify(await chipsOf(page)) === JSON.stringify(sorted));
  await header.click();
  await until('as ranked', async () => (await chipsOf(page))[0] === plan.options[0].chip);
}

async function mistakes(page) {
  await page.fill('[name=rate]', '-3');
  await page.keyboard.press('Enter');
  await until('the error', () => page.getByRole('alert').isVisible(), PATIENCE);
  check((await page.getByRole('alert').innerText()).startsWith('rate: '), `the error: ${await page.getByRole('alert').innerText()}`);
  check((await page.locator('[name=rate]').getAttribute('aria-invalid')) === 'true', 'the field of the error');
  await page.fill('[name=rate]', '2');
  await until('no error', async () => (await page.getByRole('alert').count()) === 0);
  await page.fill('[name=tpot]', 'soon');
  await page.keyboard.press('Enter');
  await until('the error of a level', () => page.getByRole('alert').isVisible(), PATIENCE);
  check((await page.locator('[name=tpot]').getAttribute('aria-invalid')) === 'true', 'the field of a level');
  await page.fill('[name=tpot]', '');
  await page.getByRole('button', { name: 'Start over' }).click();
  await until('an empty form', async () => (await page.inputValue('[name=rate]')) === '');
}

// A search of many seconds is given up, and the next one does not wait for it.
async function stopped(page) {
  await page.locator('summary', { hasText: 'More' }).click();
  await page.fill('[name=max_chips]', '65536');
  await page.fill('[name=precision]', 'bf16,fp8,int8,fp4,mxfp4,int4');
  await page.getByRole('button', { name: 'Plan', exact: true }).click();
  await until('it can be stopped', () => page.getByRole('button', { name: 'Stop' }).isVisible());
  await page.getByRole('button', { name: 'Stop' }).click();
  await until('it is stopped', () => page.getByRole('button', { name: 'Plan', exact: true }).isVisible());
  const small = await fetch(`${server.url}plan`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: 'qwen3-8b', chips: ['A100 80GB SXM'] }),
  });
  check(small.ok && (await small.json()).options.length > 0, 'a search after one that was stopped');
}

async function kept(page) {
  await page.selectOption('[name=model]', 'qwen3-32b');
  await page.keyboard.press('Alt+m');
  await until('the dashboard', () => page.locator('.tiles').isVisible());
  await page.keyboard.press('Alt+p');
  await until('the answer, which is still there', () => page.locator('.plan-result').isVisible());
  await page.reload();
  await until('the planner again', () => page.locator('.plan-form').isVisible());
  check((await page.inputValue('[name=model]')) === 'qwen3-32b', 'the form is kept');
  check(page.url().endsWith('#planner'), page.url());
}

async function elsewhere(name, options) {
  const page = await open(server.url, options);
  await ask(page);
  await drawn(page);
  await checkWidth(page, name);
  await shoot(page, `planner-${name}`);
  await page.locator('.plan-plots').evaluate((plots) => plots.scrollIntoView());
  await shoot(page, `planner-plots-${name}`);
  await page.context().close();
}

const dark = () => elsewhere('dark', { dark: true });
const phone = () => elsewhere('phone', { width: 390, height: 844 });

async function report() {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-report-'));
  const file = join(folder, 'plan.html');
  const run = spawnSync(ferry, ['plan', 'compare', 'deepseek-v3', '--chips', 'H20,H800,910B4,MI300X,Ascend 910D', '--slo', 'tpot=50ms', '--html', file, '--json'], { encoding: 'utf8' });
  check(run.status === 0, `--html: ${run.stderr}`);
  const plan = JSON.parse(run.stdout);
  for (const [name, options] of Object.entries({ light: {}, dark: { dark: true }, phone: { width: 390, height: 844 } })) {
    const page = await open(pathToFileURL(file).href, { ...options, ready: '.plan' });
    await drawn(page);
    await showsPlan(page, plan, `report, ${name}`);
    check((await page.title()) === 'ferry plan deepseek-v3', await page.title());
    await checkWidth(page, `report, ${name}`);
    await shoot(page, `report-${name}`);
    await page.context().close();
  }
  // Without an option it says why.
  const none = spawnSync(ferry, ['plan', 'deepseek-v3', '--chips', 'Ascend 910D', '--html', file], { encoding: 'utf8' });
  check(none.status === 1, `no option: ${none.status} ${none.stderr}`);
  const page = await open(pathToFileURL(file).href, { ready: '.plan' });
  check(await page.getByText('its memory size is not known').isVisible(), 'why there is no option');
  check((await page.locator('table').count()) === 0 && (await page.getByText('no legal advice').isVisible()), 'a report without an option');
  await page.context().close();
  rmSync(folder, { recursive: true });
}

const server = await serve(ferry);
if (server.ready) {
  const page = await open(server.url, { expected: /status of 400/ }); // of mistakes()
  for (const part of [answer, mistakes, stopped, kept, dark, phone, report]) {
    console.log(part.name);
    await part(page).catch((error) => check(false, `${part.name}: ${error.stack}`));
  }
}
await server.stop();
await finish();
