// `ferry serve` with the built-in model on a free port, and checks that go on after a failure.
import { spawn } from 'node:child_process';

export const calculator = {
  name: 'calculator',
  description: 'Evaluate an arithmetic expression.',
  parameters: { type: 'object', properties: { expression: { type: 'string' } }, required: ['expression'] },
};
export const system = 'You are a helpful assistant.';

let failures = 0;
export function check(condition, text) {
  if (condition) return;
  failures += 1;
  console.log(`FAILED: ${text}`);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(what, question) {
  for (const end = Date.now() + 60000; Date.now() < end; await sleep(50)) {
    if (await question()) return;
  }
  check(false, `never came: ${what}`);
}

// The error that `promise` ends with; a failure where it does not.
export async function refused(what, promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  check(false, `${what}: was not refused`);
  return {};
}

// Runs every test of `tests`, each called with the server's URL; ends the process.
export async function main(ferry, tests) {
  const server = spawn(ferry, ['serve', '--port', '0', '--threads', '1', '--api-key', 'secret'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  server.stderr.on('data', (data) => (said += data));
  const exited = new Promise((resolve) => server.on('exit', (code, signal) => resolve(code ?? signal)));
  await until('the server', () => /is ready at/.test(said));
  const url = /http:\/\/\S+:\d+/.exec(said)?.[0];
  for (const test of tests) {
    console.log(test.name);
    await test(url).catch((error) => check(false, `${test.name}: ${error.stack}`));
  }
  server.kill('SIGTERM');
  check((await exited) === 0, `the server's end: ${said}`);
  console.log(`${failures} failures`);
  process.exit(failures ? 1 : 0);
}

export async function running(url) {
  const text = await (await fetch(`${url}/metrics`, { headers: { Authorization: 'Bearer secret' } })).text();
  return Number(/^ferry_num_requests_running\S* (\d+)/m.exec(text)[1]);
}
