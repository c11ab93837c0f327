// Codex, the program itself: `codex exec`, and its app server with a tool of ours. Called as
// node codex.mjs FERRY
//
// Codex's own prompt and tools are some 18,000 tokens and the built-in model holds 1,024, so its
// tools are switched off here; that the whole of them is refused as too long is a test, too.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import readline from 'node:readline';
import { calculator, check, main, system } from './server.mjs';

const folder = mkdtempSync(join(tmpdir(), 'ferry-codex-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

// npm gives the program of this machine as a package of its own, or none.
function program() {
  try {
    const require = createRequire(import.meta.url);
    const home = dirname(require.resolve(`@openai/codex-linux-${process.arch}/package.json`));
    const triple = process.arch === 'arm64' ? 'aarch64-unknown-linux-musl' : 'x86_64-unknown-linux-musl';
    const found = join(home, 'vendor', triple, 'bin', 'codex');
    return existsSync(found) ? found : null;
  } catch {
    return null;
  }
}
const codex = program();
if (codex === null) {
  console.log('npm has no Codex for this machine: skipped');
  process.exit(77);
}

const keys = `model = "demo"
model_provider = "ferry"
model_context_window = 1024
model_instructions_file = "${folder}/instructions.md"
approval_policy = "never"
check_for_update_on_startup = false
`;
const provider = (url) => `[model_providers.ferry]
name = "ferry"
base_url = "${url}/v1"
env_key = "FERRY_TEST_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
`;
const short = `web_search = "disabled"
include_permissions_instructions = false
include_apps_instructions = false
include_environment_context = false
include_collaboration_mode_instructions = false
[skills]
include_instructions = false
[skills.bundled]
enabled = false
[agents]
enabled = false
[tools.experimental_request_user_input]
enabled = false
[features]
apps = false
goals = false
plugins = false
shell_tool = false
unified_exec = false
view_image = false
`;

function start(url, args, key = 'secret', config = short) {
  const home = mkdtempSync(join(folder, 'home-'));
  writeFileSync(join(folder, 'instructions.md'), system);
  writeFileSync(join(home, 'config.toml'), keys + config + provider(url));
  const env = { PATH: process.env.PATH, HOME: home, CODEX_HOME: home, FERRY_TEST_KEY: key };
  return spawn(codex, args, { cwd: home, stdio: ['pipe', 'pipe', 'ignore'], env });
}

// What `codex exec` reports, event by event, and its exit code.
async function exec(url, prompt, key, config) {
  const child = start(url, ['exec', '--skip-git-repo-check', '--json', '-s', 'read-only', prompt], key, config);
  const exited = new Promise((resolve) => child.on('exit', resolve));
  child.stdin.end();
  const events = [];
  for await (const line of readline.createInterface({ input: child.stdout })) events.push(JSON.parse(line));
  return { events, code: await exited };
}

async function answers(url) {
  const { events, code } = await exec(url, 'Hello!');
  const said = events.filter((event) => event.type === 'item.completed' && event.item.type === 'agent_message').map((event) => event.item.text);
  check(code === 0 && said.join('|') === 'Hello! How can I help you?', JSON.stringify(events));
  const usage = events.find((event) => event.type === 'turn.completed')?.usage;
  check(usage?.input_tokens > 3 && usage.output_tokens > 3, `usage: ${JSON.stringify(usage)}`);
}

async function refusals(url) {
  const text = (run) => run.events.filter((event) => event.type === 'turn.failed').map((event) => event.error.message).join();
  const long = await exec(url, 'Hello!', 'secret', '');
  check(long.code !== 0 && /ran out of room/.test(text(long)), `a long prompt: ${JSON.stringify(long.events)}`);
  const wrong = await exec(url, 'Hello!', 'wrong');
  check(wrong.code !== 0 && /401/.test(text(wrong)), `a wrong key: ${JSON.stringify(wrong.events)}`);
}

// One turn of the app server, whose calls of the tool are answered with -230.
async function turn(url, prompt, more = {}) {
  const child = start(url, ['app-server']);
  const exited = new Promise((resolve) => child.on('exit', resolve));
  const send = (message) => child.stdin.write(`${JSON.stringify(message)}\n`);
  const seen = { calls: [], deltas: '', text: '', status: '' };
  send({ id: 1, method: 'initialize', params: { clientInfo: { name: 'ferry', version: '1' }, capabilities: { experimentalApi: true } } });
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const { id, method, params, result, error } = JSON.parse(line);
    if (error !== undefined) {
      seen.status = error.message;
      break;
    }
    if (id === 1) {
      send({ method: 'initialized' });
      const tool = { type: 'function', name: calculator.name, description: calculator.description, inputSchema: calculator.parameters };
      send({ id: 2, method: 'thread/start', params: { ephemeral: true, dynamicTools: [tool] } });
    } else if (id === 2 && result) {
      send({ id: 3, method: 'turn/start', params: { threadId: result.thread.id, input: [{ type: 'text', text: prompt }], ...more } });
    } else if (method === 'item/tool/call') {
      seen.calls.push(params);
      send({ id, result: { contentItems: [{ type: 'inputText', text: '-230' }], success: true } });
    } else if (method === 'item/agentMessage/delta') {
      seen.deltas += params.delta;
    } else if (method === 'item/completed' && params.item.type === 'agentMessage') {
      seen.text += params.item.text;
    } else if (method === 'turn/completed') {
      seen.status = params.turn.status;
      seen.error = params.turn.error;
      break;
    }
  }
  child.stdin.end();
  child.kill();
  await exited;
  return seen;
}

async function tools(url) {
  const seen = await turn(url, 'What is 1377 - 1607?');
  check(seen.status === 'completed' && seen.calls.length === 1 && seen.calls[0].tool === 'calculator', JSON.stringify(seen));
  check(seen.calls[0]?.arguments.expression.replaceAll(' ', '') === '1377-1607', JSON.stringify(seen));
  check(seen.text.includes('-230') && seen.deltas === seen.text, JSON.stringify(seen));
}

async function schema(url) {
  const outputSchema = { type: 'object', properties: { answer: { type: 'integer' } }, required: ['answer'], additionalProperties: false };
  const seen = await turn(url, 'Say a number.', { outputSchema });
  check(seen.status === 'completed' && Number.isInteger(JSON.parse(seen.text || '{}').answer), JSON.stringify(seen));
}

await main(process.argv[2], [answers, refusals, tools, schema]);
