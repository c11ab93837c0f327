// How the planner's numbers are written, and what an option is called.

// Three significant digits, as `ferry plan` writes them: "0.0123", "1.00", "12.3", "1,234".
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 99.95) return Math.round(value).toLocaleString('en');
  return size >= 9.995 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : `${+value.toPrecision(3)}`;
}

export function duration(seconds) {
  return seconds < 1 ? `${short(seconds * 1e3)} ms` : `${short(seconds)} s`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;

export function range(cost) {
  return cost ? `${short(cost.low)}–${short(cost.high)}` : '';
}

// "tp4 ep32 ×2", as `ferry plan` writes it.
export function split(option) {
  const degrees = ['tp', 'dp', 'ep', 'pp'].filter((key) => option[key] > 1).map((key) => `${key}${option[key]}`);
  const replicas = option.replicas > 1 ? ` ×${option.replicas}` : '';
  const prompts = option.prefill_replicas > 0 ? ` + ${option.prefill_replicas} for prompts` : '';
  return (degrees.join(' ') || 'single') + replicas + prompts;
}

export const label = (option) => `${option.chip} ×${option.chips} ${option.precision}`;

// "very low" of "very low: a reseller says …": how sure the catalogue is, without the reasons.
export const factsLevel = (option) => option.confidence.split(/[(:;,]/)[0].trim() || 'unknown';
export const isUncertain = (option) => !['high', 'medium'].includes(factsLevel(option));

// Nine lines of eight colours: the ninth is dashed.
export const seriesColour = (i) => `var(--series-${i % 8})`;
export const seriesDash = (i) => [undefined, '6 3', '2 3'][Math.floor(i / 8) % 3];

// Parts of a chip's memory in GB, and of a step of decoding in ms.
export function memoryParts(option) {
  const m = option.memory_bytes;
  return [
    ['experts', m.expert_weights, 0],
    ['other weights', m.other_weights + m.embeddings, 5],
    ['scratch and reserve', m.workspace + m.reserve, 7],
    ['cache in use', m.kv_in_use, 1],
    ['free', Math.max(m.free_for_kv - m.kv_in_use, 0), null],
  ].map(([name, bytes, series]) => ({ name, value: bytes / 1e9, series }));
}

export function stepParts(option) {
  const s = option.step_s;
  return [
    ['memory', s.memory, 1],
    ['compute', s.compute, 0],
    ['network', s.network, 3],
    ['overhead', s.overhead, 7],
  ].map(([name, seconds, series]) => ({ name, value: seconds * 1e3, series }));
}
