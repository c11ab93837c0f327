// A `ferry serve` of the real binary on a free port, for the tests of the page.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { check, until } from './browser.mjs';

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

// { url, ready, stop }: stop() ends it with SIGTERM, and then it must have ended well.
export async function serve(ferry) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const server = spawn(ferry, ['serve', '--port', String(port), '--threads', '1'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  server.stderr.on('data', (data) => (said += data));
  const exited = new Promise((resolve) => server.on('exit', (code, signal) => resolve(code ?? signal)));
  const ready = await until('the server is ready', async () => {
    try {
      return (await fetch(`${url}readyz`)).ok;
    } catch {
      return false;
    }
  }, 60000);
  const stop = async () => {
    server.kill('SIGTERM');
    const code = await Promise.race([exited, new Promise((resolve) => setTimeout(() => resolve('no exit'), 30000))]);
    check(code === 0, `the server ended with ${code}: ${said}`);
    if (code === 'no exit') server.kill('SIGKILL');
  };
  return { url, ready, stop };
}
