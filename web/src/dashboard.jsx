// The live dashboard: what the server does now and did in the last minutes, from /metrics once a
// second, and its requests one by one from /stats. History is the page's own and starts when it is
// opened.
import { useEffect, useRef, useState } from 'preact/hooks';
import { fetchMetrics, fetchStats } from './api.js';
import { parseMetrics, rowBetween, valueOf } from './metrics.js';
import { Plot } from './plot.jsx';

const INTERVAL_MS = 1000;
const HISTORY = 300; // rows: five minutes

// Polls while the page is visible; keeps its history when the dashboard is left and opened again.
export class Poller {
  rows = [];
  latest = null;
  requests = null;
  uptime = null;
  problem = '';
  settings = null;

  start(changed) {
    this.stop();
    const poll = async () => {
      const begun = performance.now();
      if (!document.hidden) await this.poll();
      changed();
      this.timer = setTimeout(poll, Math.max(200, INTERVAL_MS - (performance.now() - begun)));
    };
    this.timer = setTimeout(poll, 0);
  }

  stop() {
    clearTimeout(this.timer);
  }

  async poll() {
    try {
      const [text, stats] = await Promise.all([fetchMetrics(this.settings), fetchStats(this.settings).catch(() => null)]);
      if (text === null) throw new Error('The server gives no metrics, or wants an API key (settings).');
      this.take(parseMetrics(text), Date.now() / 1000);
      this.requests = Array.isArray(stats?.requests) ? stats.requests : null;
      this.uptime = stats?.uptime_seconds ?? null;
      this.problem = '';
    } catch (error) {
      this.problem = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
      this.latest = null;
    }
  }

  take(sample, time) {
    const before = this.latest;
    this.latest = { sample, time };
    if (!before || time <= before.time) return;
    // After a pause the difference would be a mean over it, drawn as one point: leave a gap.
    const row = time - before.time > 10 ? {} : rowBetween(sample, before.sample, time - before.time);
    const empty = Object.fromEntries(
      Object.keys(rowBetween(sample, sample, 1)).map((key) => [key, null]),
    );
    this.rows = [...this.rows.slice(-(HISTORY - 1)), { ...empty, ...row, time }];
  }
}

const count = (value) => (value === null || value === undefined ? '–' : Math.round(value).toLocaleString());
const decimal = (value) => (value === null || value === undefined ? '–' : value >= 100 ? Math.round(value).toLocaleString() : value.toFixed(1));

function time(ms) {
  if (ms === null || ms === undefined) return '–';
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

function duration(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const at = parts.findIndex(([size]) => seconds >= size);
  if (at < 0) return 'just started';
  const [size, unit] = parts[at];
  const [smaller, smallerUnit] = parts[at + 1] ?? [];
  const rest = smaller ? Math.floor((seconds % size) / smaller) : 0;
  return `up ${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smallerUnit}` : ''}`;
}

function Tile({ name, value, unit }) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        {value}
        {unit && <small>{unit}</small>}
      </dd>
    </div>
  );
}

function Requests({ requests }) {
  if (requests === null) return null;
  return (
    <section class="requests" aria-label="Requests">
      <h2>Requests</h2>
      {requests.length === 0 ? (
        <p class="quiet">None yet.</p>
      ) : (
        <div class="table" tabIndex="0">
          <table>
            <thead>
              <tr>
                <th>Started</th>
                <th>State</th>
                <th>Route</th>
                <th class="number">Prompt</th>
                <th class="number">Cached</th>
                <th class="number">Output</th>
                <th class="number">First token</th>
                <th class="number">Tokens/s</th>
                <th class="number">Time</th>
              </tr>
            </thead>
            <tbody>
              {requests.map((request) => (
                <tr key={request.id}>
                  <td>{new Date(request.started * 1000).toLocaleTimeString()}</td>
                  <td>
                    <span class={`state state-${request.state === 'done' ? request.finish_reason : request.state}`}>
                      {request.state === 'done' ? request.finish_reason : request.state}
                    </span>
                  </td>
                  <td class="mono">{request.route}</td>
                  <td class="number">{count(request.prompt_tokens)}</td>
                  <td class="number">{count(request.cached_tokens)}</td>
                  <td class="number">{count(request.output_tokens)}</td>
                  <td class="number">{time(request.ttft_ms)}</td>
                  <td class="number">{decimal(request.tokens_per_s)}</td>
                  <td class="number">{time(request.duration_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

export function Dashboard({ poller, settings, model }) {
  const [, draw] = useState(0);
  const drawn = useRef(0);
  poller.settings = settings;
  useEffect(() => {
    poller.start(() => draw(++drawn.current));
    return () => poller.stop();
  }, []);
  const { rows, latest, problem } = poller;
  const now = rows.at(-1) ?? {};
  const total = (name) => (latest ? valueOf(latest.sample, name) : null);
  const queries = total('prefix_cache_queries');
  const hits = total('prefix_cache_hits');
  const plot = (title, unit, lines, max) => (
    <Plot key={title} title={title} unit={unit} lines={lines} rows={rows} max={max} theme={settings.theme} />
  );
  return (
    <section class="dashboard" aria-label="Dashboard" tabIndex="-1">
      <div class="dashboard-inner">
        <header>
          <h1>Dashboard</h1>
          <p class="quiet">
            {model}
            {poller.uptime !== null && ` · ${duration(poller.uptime)}`}
          </p>
        </header>
        {problem && (
          <div class="notice error" role="alert">
            {problem}
          </div>
        )}
        <dl class="tiles">
          <Tile name="Generating" value={decimal(now.generated)} unit="tokens/s" />
          <Tile name="Running" value={count(total('num_requests_running'))} />
          <Tile name="Waiting" value={count(total('num_requests_waiting'))} />
          <Tile name="Cache in use" value={now.cache === null || now.cache === undefined ? '–' : decimal(now.cache)} unit="%" />
          <Tile name="Prefix hits, so far" value={queries > 0 ? decimal((100 * hits) / queries) : '–'} unit="%" />
          <Tile name="Tokens written" value={count(total('generation_tokens'))} />
        </dl>
        <div class="plots">
          {plot('Throughput', 'tokens/s', [['generated', 'output'], ['prompted', 'prompt']])}
          {plot('Time to first token', 'ms', [['ttft', 'mean'], ['ttftHigh', 'p90']])}
          {plot('Between tokens', 'ms', [['gap', 'mean'], ['gapHigh', 'p99']])}
          {plot('Requests', '', [['running', 'running'], ['waiting', 'waiting']])}
          {plot('Tokens in a step', '', [['batch', 'mean']])}
          {plot('Cache', '%', [['cache', 'in use'], ['hits', 'prefix hits']], 100)}
        </div>
        <Requests requests={poller.requests} />
      </div>
    </section>
  );
}
