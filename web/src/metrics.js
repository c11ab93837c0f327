// Prometheus text → what the dashboard plots. One sample is a snapshot of all series; rates and
// distributions come from the difference of two samples.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

// name → sum over all label sets; for buckets, name → { le: count }.
export function parseMetrics(text) {
  const values = {};
  const buckets = {};
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const match = LINE.exec(line);
    if (!match) continue;
    const name = match[1].replace(/^(ferry_|vllm:)/, '');
    const value = Number(match[3]);
    if (Number.isNaN(value)) continue;
    if (name.endsWith('_bucket')) {
      const labels = Object.fromEntries(Array.from((match[2] ?? '').matchAll(LABEL), (m) => [m[1], m[2]]));
      const base = (buckets[name.slice(0, -7)] ??= {});
      base[labels.le] = (base[labels.le] ?? 0) + value;
    } else {
      values[name] = (values[name] ?? 0) + value;
    }
  }
  return { values, buckets };
}

export const valueOf = (sample, name) => sample.values[name] ?? sample.values[`${name}_total`] ?? null;

function difference(now, before, name) {
  const a = valueOf(before, name);
  const b = valueOf(now, name);
  return a === null || b === null || b < a ? null : b - a;
}

// Mean of a histogram between two samples; null when nothing was counted.
export function meanBetween(now, before, name) {
  const count = difference(now, before, `${name}_count`);
  const sum = difference(now, before, `${name}_sum`);
  return count && sum !== null ? sum / count : null;
}

// Quantile of a histogram between two samples, linear inside a bucket, as Prometheus has it.
export function quantileBetween(now, before, name, quantile) {
  const later = now.buckets[name];
  const earlier = before.buckets[name];
  if (!later || !earlier) return null;
  const limits = Object.keys(later).sort((a, b) => Number(a.replace('+Inf', 'Infinity')) - Number(b.replace('+Inf', 'Infinity')));
  const counts = limits.map((le) => later[le] - (earlier[le] ?? 0));
  const total = counts.at(-1);
  if (!(total > 0)) return null;
  const rank = quantile * total;
  const at = counts.findIndex((count) => count >= rank);
  const low = at > 0 ? Number(limits[at - 1]) : 0;
  if (limits[at] === '+Inf') return low;
  const below = at > 0 ? counts[at - 1] : 0;
  const inside = counts[at] - below;
  return low + ((Number(limits[at]) - low) * (rank - below)) / (inside || 1);
}

// One row of the dashboard's history from two samples `seconds` apart.
export function rowBetween(now, before, seconds) {
  const rate = (name) => {
    const grown = difference(now, before, name);
    return grown === null ? null : grown / seconds;
  };
  const queries = difference(now, before, 'prefix_cache_queries');
  const hits = difference(now, before, 'prefix_cache_hits');
  const milliseconds = (value) => (value === null ? null : value * 1000);
  const usage = valueOf(now, 'kv_cache_usage_perc');
  return {
    generated: rate('generation_tokens'),
    prompted: rate('prompt_tokens'),
    ttft: milliseconds(meanBetween(now, before, 'time_to_first_token_seconds')),
    ttftHigh: milliseconds(quantileBetween(now, before, 'time_to_first_token_seconds', 0.9)),
    gap: milliseconds(meanBetween(now, before, 'inter_token_latency_seconds')),
    gapHigh: milliseconds(quantileBetween(now, before, 'inter_token_latency_seconds', 0.99)),
    running: valueOf(now, 'num_requests_running'),
    waiting: valueOf(now, 'num_requests_waiting'),
    cache: usage === null ? null : usage * 100,
    hits: queries > 0 && hits !== null ? (100 * hits) / queries : null,
    batch: meanBetween(now, before, 'iteration_tokens_total'),
    preemptions: valueOf(now, 'num_preemptions'),
  };
}
