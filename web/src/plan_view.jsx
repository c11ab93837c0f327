// An answer of the planner (`ferry plan --json`, POST /plan) as a person reads it: the ranked table
// with what binds and what would help, plots, export rules. The page and the report show the same.
import { useState } from 'preact/hooks';
import { duration, factsLevel, isUncertain, label, memoryParts, percent, range, short, split, stepParts } from './plan_format.js';
import { CostBars, Frontier, gigabytes, milliseconds, Stacked } from './plan_plots.jsx';

const PLOTTED = 12;

const number = (value) => value ?? Infinity; // unknown comes last

// name, what it is sorted by (none: it is not), how it is shown
const columns = [
  ['Chip', (o) => o.chip, (o) => <Name option={o} />],
  ['Chips', (o) => o.chips, (o) => o.chips],
  ['Split', null, split],
  ['Weights', (o) => o.precision, (o) => o.precision],
  ['Batch', (o) => -o.batch, (o) => o.batch.toLocaleString('en')],
  ['Tokens/s/chip', (o) => -o.tokens_s_per_chip, (o) => <WithError value={short(o.tokens_s_per_chip)} error={`±${percent(o.error)}`} />],
  ['TPOT', (o) => o.tpot_s, (o) => duration(o.tpot_s)],
  ['TTFT', (o) => o.ttft_s, (o) => duration(o.ttft_s)],
  ['$/M out', (o) => number(o.usd_per_million_output?.value), (o) => <Cost cost={o.usd_per_million_output} />],
  ['$/M in', (o) => number(o.usd_per_million_input?.value), (o) => <Cost cost={o.usd_per_million_input} />],
  ['Tokens/J', (o) => (o.tokens_per_joule === null ? Infinity : -o.tokens_per_joule), (o) => (o.tokens_per_joule === null ? 'unknown' : short(o.tokens_per_joule))],
];
const texts = new Set(['Chip', 'Split', 'Weights']);

function Name({ option }) {
  return (
    <span>
      {option.chip}{' '}
      <small class={isUncertain(option) ? 'plan-caution' : 'quiet'} title={option.confidence}>
        facts: {factsLevel(option)}
      </small>
    </span>
  );
}

function WithError({ value, error }) {
  return (
    <span>
      {value} <small class="quiet">{error}</small>
    </span>
  );
}

function Cost({ cost }) {
  return cost ? <WithError value={short(cost.value)} error={range(cost)} /> : 'unknown';
}

function sorted(options, by) {
  const key = columns.find(([name]) => name === by)?.[1];
  if (!key) return options;
  const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : a - b);
  return [...options].sort((a, b) => compare(key(a), key(b)));
}

function OptionTable({ options }) {
  const [by, setBy] = useState(''); // '': as ranked
  return (
    <div class="table plan-table" tabIndex="0" role="region" aria-label="Options, the best first">
      <table>
        <thead>
          <tr>
            {columns.map(([name, key]) => (
              <th key={name} class={texts.has(name) ? '' : 'number'} aria-sort={by === name ? 'other' : undefined}>
                {key ? (
                  <button type="button" title={by === name ? 'As ranked again' : `Sort by ${name}`} onClick={() => setBy(by === name ? '' : name)}>
                    {name}
                    {by === name && ' ▾'}
                  </button>
                ) : (
                  name
                )}
              </th>
            ))}
          </tr>
        </thead>
        {sorted(options, by).map((option) => (
          <tbody key={label(option)}>
            <tr>
              {columns.map(([name, , show]) => (
                <td key={name} data-name={name} class={texts.has(name) ? '' : 'number'}>
                  {show(option)}
                </td>
              ))}
            </tr>
            <tr class="plan-more">
              <td colSpan={columns.length}>
                <b>{option.binds}</b> binds; would help: {option.helps}
              </td>
            </tr>
          </tbody>
        ))}
      </table>
    </div>
  );
}

function Lead({ best }) {
  const m = best.memory_bytes;
  const weights = m.expert_weights + m.other_weights + m.embeddings;
  return (
    <div class="plan-lead">
      <p>
        First: <b>{label(best)}</b>. <b>{best.binds}</b> binds; what would help: {best.helps}.
      </p>
      <p class="quiet">
        Memory of a chip: {gigabytes(weights / 1e9)} weights, {gigabytes((m.workspace + m.reserve) / 1e9)} scratch and reserve, {gigabytes(m.free_for_kv / 1e9)} free for{' '}
        {best.max_sequences.toLocaleString('en')} sequences.
      </p>
      {isUncertain(best) && (
        <p class="plan-caution">
          What is known of {best.chip} is uncertain: {best.confidence}.
        </p>
      )}
    </div>
  );
}

const chipFields = {
  fp16_tflops: ['FP16', 'T operations/s'],
  bf16_tflops: ['BF16', 'T operations/s'],
  fp8_tflops: ['FP8', 'T operations/s'],
  int8_tops: ['INT8', 'T operations/s'],
  fp4_tflops: ['FP4', 'T operations/s'],
  int4_tops: ['INT4', 'T operations/s'],
  vector_int8_tops: ['INT8 without matrix units', 'T operations/s'],
  memory_gb: ['Memory', 'GB'],
  memory_gbs: ['Bandwidth', 'GB/s'],
  link_gbs: ['Link, one way', 'GB/s'],
  scaleout_gbs: ['Scale-out, one way', 'GB/s'],
  tdp_w: ['Power', 'W'],
  system_w: ['Power with its share of the system', 'W'],
  price_usd: ['Price', 'USD'],
  rental_usd_h: ['Rental', 'USD/h'],
  die_mm2: ['Die area', 'mm²'],
};

function ChipFacts({ chip }) {
  return (
    <details class="plan-chip">
      <summary>
        <b>{chip.name}</b> <span class="quiet">{chip.vendor}</span>
      </summary>
      <p class="quiet">
        Unless said otherwise from: {chip.source || 'unknown'}; confidence: {chip.confidence || 'unknown'}. {chip.notes}
      </p>
      <dl>
        {Object.entries(chipFields).map(([key, [name, unit]]) => {
          const known = chip[key];
          return (
            <div key={key}>
              <dt>{name}</dt>
              {known ? (
                <dd>
                  {short(known.value)} {unit}
                  {known.low !== known.high && ` (${range(known)})`}
                  {known.source !== chip.source && <small class="quiet"> {known.source}{known.confidence && `; confidence: ${known.confidence}`}</small>}
                </dd>
              ) : (
                <dd class="quiet">unknown</dd>
              )}
            </div>
          );
        })}
      </dl>
    </details>
  );
}

const yes = { true: 'within', false: 'above', null: '–' };

function Rules({ rules, note }) {
  return (
    <section class="plan-rules">
      <h2>Export rules as of {rules.as_of}</h2>
      <p class="plan-note">{note}</p>
      {rules.positions.length > 0 && (
        <div class="table plan-table" tabIndex="0" role="region" aria-label="Export rules by chip">
          <table>
            <thead>
              <tr>
                <th>Chip</th>
                <th class="number">TPP</th>
                <th class="number">Performance density</th>
                <th>Paragraph by arithmetic</th>
                <th>Guidance of 2025-05-13</th>
                <th>Figures of 2026-01-15</th>
              </tr>
            </thead>
            {rules.positions.map((p) => (
              <tbody key={p.chip}>
                <tr>
                  <td>{p.chip}</td>
                  <td data-name="TPP" class="number">{p.tpp === null ? 'unknown' : <WithError value={short(p.tpp)} error={p.tpp_format} />}</td>
                  <td data-name="Performance density" class="number">{p.performance_density === null ? 'unknown' : short(p.performance_density)}</td>
                  <td data-name="Paragraph">{p.paragraphs.join(' or ')}</td>
                  <td data-name="Guidance of 2025-05-13">{p.named_in_gp10 ? 'named' : p.gp10_may_apply ? 'may apply' : '–'}</td>
                  <td data-name="Figures of 2026-01-15">{yes[p.case_by_case_figures]}</td>
                </tr>
                <tr class="plan-more">
                  <td colSpan="6">{p.notes.join('; ')}</td>
                </tr>
              </tbody>
            ))}
          </table>
        </div>
      )}
      <h3>Up to then</h3>
      {rules.events.length === 0 && <p class="quiet">Nothing that is known here.</p>}
      <ol class="plan-events">
        {rules.events.map((event) => (
          <li key={event.date}>
            <time dateTime={event.date}>{event.date}</time> {event.text}
          </li>
        ))}
      </ol>
    </section>
  );
}

export function workloadText({ workload, slo }) {
  const parts = [`${short(workload.input)} tokens in (${percent(workload.cached)} cached), ${short(workload.output)} out`];
  if (workload.rate > 0) parts.push(`${workload.rate} requests/s`);
  if (slo.tpot_s) parts.push(`TPOT at most ${+(slo.tpot_s * 1e3).toPrecision(6)} ms`);
  if (slo.ttft_s) parts.push(`TTFT at most ${slo.ttft_s} s`);
  return parts.join(', ');
}

const gigabytesOf = (bytes) => gigabytes(bytes / 1e9);
const orUnknown = (value) => (value === null ? 'unknown' : short(value));
const largerColumns = [
  ['Chip', (row) => row.chip],
  ['Weights', (row) => row.precision],
  ['File', (row) => gigabytesOf(row.weight_bytes)],
  ['Always in memory', (row) => gigabytesOf(row.stay_bytes)],
  ['Experts in memory', (row) => `${gigabytesOf(row.expert_memory_bytes)} (${percent(row.expert_share)})`],
  ['Read a token', (row) => gigabytesOf(row.read_bytes_per_token)],
  ['Tokens/s computed', (row) => orUnknown(row.tokens_s_computed)],
  ['Per GB/s of disk', (row) => short(row.tokens_s_per_disk_gb_s)],
  ['Tokens/s at most', (row) => orUnknown(row.tokens_s_at_most)],
];

// What one machine does whose memory the weights exceed.
function Larger({ rows }) {
  return (
    <section class="plan-larger">
      <h2>Larger than one machine's memory</h2>
      <p class="quiet plan-fine">
        Experts stay in the file, those used last in memory (--expert-memory). Assumed: {rows[0].assumes}.
        {rows[0].disk_gb_s === null && ' What the disk reads is not known (--disk-gbs).'}
      </p>
      <div class="table plan-table" tabIndex="0" role="region" aria-label="Larger than one machine's memory">
        <table>
          <thead>
            <tr>
              {largerColumns.map(([name]) => (
                <th key={name} class={texts.has(name) ? '' : 'number'}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.chip + row.precision}>
                {largerColumns.map(([name, show]) => (
                  <td key={name} data-name={name} class={texts.has(name) ? '' : 'number'}>
                    {show(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function PlanView({ plan }) {
  const { options, rejected } = plan;
  const plotted = options.slice(0, PLOTTED);
  return (
    <div class="plan">
      {options.length === 0 ? <p class="plan-lead">No chip has an option that fits and keeps to the levels.</p> : <Lead best={options[0]} />}
      {options.length > 0 && (
        <>
          <OptionTable options={options} />
          <p class="quiet plan-fine">
            Predictions; ± is the median error of the speed model on measurements that it was not fitted on. Costs: value and range. Facts: how much of the chip is known for sure.
            {options.length > PLOTTED && ` Plots show the first ${PLOTTED}.`}
          </p>
          <div class="plan-plots">
            <Frontier options={plotted} />
            <CostBars options={plotted} />
            <Stacked title="Memory of a chip" unit="GB" options={plotted} partsOf={memoryParts} format={gigabytes} />
            <Stacked title="What binds: a step of decoding" unit="time" options={plotted} partsOf={stepParts} format={milliseconds} />
          </div>
        </>
      )}
      {plan.larger_than_memory.length > 0 && <Larger rows={plan.larger_than_memory} />}
      {rejected.length > 0 && (
        <details class="plan-rejected" open={options.length === 0}>
          <summary>Without an option: {rejected.length}</summary>
          <ul>
            {rejected.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </details>
      )}
      {plan.chips.length > 0 && (
        <section class="plan-chips">
          <h2>What is known of these chips</h2>
          {plan.chips.map((chip) => (
            <ChipFacts key={chip.name} chip={chip} />
          ))}
        </section>
      )}
      <Rules rules={plan.rules} note={plan.note} />
    </div>
  );
}
