// A server that gives the page everything it asks for, with answers that a test decides: what a
// model may say at its worst, and servers that fail. The page is what web/dist holds.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const types = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', txt: 'text/plain' };
export const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class StandIn {
  requests = []; // bodies of /v1/chat/completions
  // (body) → { status?, error?, pieces: [delta | () => Promise], pause, cut, event }: a function
  // holds the stream until what it promises has come, so that a test can look at what is half said.
  script = () => ({ pieces: [{ content: 'Hello.' }] });
  tick = 0;
  key = '';
  records = [];

  constructor(dist) {
    this.dist = dist;
    this.server = createServer((request, response) => {
      this.handle(request, response).catch(() => response.destroy());
    });
  }

  async start() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    return this;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  json(response, status, value) {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(value));
  }

  async handle(request, response) {
    const { pathname } = new URL(request.url, this.url);
    const file = { '/': 'index.html' }[pathname] ?? pathname.slice(1);
    if (request.method === 'GET' && /^[a-z]+\.(html|js|css|svg|txt)$/.test(file)) {
      response.writeHead(200, { 'Content-Type': types[file.split('.')[1]], 'Content-Security-Policy': policy });
      return response.end(gunzipSync(readFileSync(join(this.dist, `${file}.gz`))));
    }
    if (this.key && request.headers.authorization !== `Bearer ${this.key}`) {
      return this.json(response, 401, { error: { message: 'Incorrect API key', code: 'invalid_api_key' } });
    }
    if (pathname === '/v1/models') return this.json(response, 200, { data: [{ id: 'demo' }] });
    if (pathname === '/metrics') return response.end(this.metrics());
    if (pathname === '/stats') return this.json(response, 200, { uptime_seconds: 4000 + this.tick, requests: this.records });
    if (pathname === '/v1/chat/completions') return this.complete(request, response);
    return this.json(response, 404, { error: { message: 'no such route' } });
  }

  // A busy server whose figures move.
  metrics() {
    const t = ++this.tick;
    const wave = 1 + Math.sin(t / 4) / 3;
    this.total = (this.total ?? 1000) + Math.round(180 * wave);
    this.prompt = (this.prompt ?? 5000) + Math.round(640 / wave);
    this.first = (this.first ?? 10) + 3;
    this.sum = (this.sum ?? 1) + 3 * 0.12 * wave;
    const lines = [
      '# HELP ferry_num_requests_running Requests in the batch.',
      `ferry_num_requests_running{model="demo"} ${Math.round(5 * wave)}`,
      `ferry_num_requests_waiting ${t % 3}`,
      `ferry_kv_cache_usage_perc ${0.4 + Math.sin(t / 6) / 5}`,
      `ferry_prefix_cache_queries_total ${t * 100}`,
      `ferry_prefix_cache_hits_total ${t * 62}`,
      `ferry_prompt_tokens_total ${this.prompt}`,
      `ferry_generation_tokens_total ${this.total}`,
      'ferry_num_preemptions_total 0',
    ];
    for (const [name, unit] of [['time_to_first_token_seconds', 1], ['inter_token_latency_seconds', 0.1], ['iteration_tokens_total', 200]]) {
      [0.05, 0.1, 0.25, 0.5].forEach((le, i) => {
        lines.push(`ferry_${name}_bucket{le="${le * unit}"} ${Math.round(this.first * [0.1, 0.4, 0.9, 1][i])}`);
      });
      lines.push(`ferry_${name}_bucket{le="+Inf"} ${this.first}`, `ferry_${name}_sum ${this.sum * unit}`, `ferry_${name}_count ${this.first}`);
    }
    return `${lines.join('\n')}\n`;
  }

  async complete(request, response) {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text);
    this.requests.push(body);
    const plan = { pause: 2, pieces: [], ...this.script(body) };
    if (plan.status) return this.json(response, plan.status, { error: { message: plan.error } });
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const event = (value) => response.write(`data: ${JSON.stringify(value)}\n\n`);
    const choice = (delta, finish_reason = null) => event({ choices: [{ index: 0, delta, finish_reason }] });
    choice({ role: 'assistant', content: '' });
    for (const piece of plan.pieces) {
      if (response.destroyed) return undefined;
      if (typeof piece === 'function') {
        await piece();
        continue;
      }
      choice(piece);
      await sleep(plan.pause);
    }
    if (plan.cut) {
      await sleep(100); // what was sent arrives first
      return response.destroy();
    }
    if (plan.event) {
      event(plan.event);
      return response.end();
    }
    choice({}, plan.pieces.some((piece) => piece.tool_calls) ? 'tool_calls' : 'stop');
    event({ choices: [], usage: { prompt_tokens: 20, completion_tokens: plan.pieces.length, prompt_tokens_details: { cached_tokens: 12 } } });
    response.write('data: [DONE]\n\n');
    return response.end();
  }
}

// Text as a model would stream it: a few characters at a time.
export const streamed = (text, key = 'content') => (text.match(/[\s\S]{1,6}/g) ?? []).map((piece) => ({ [key]: piece }));
