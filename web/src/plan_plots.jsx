// The planner's plots, for the page and for the report: throughput against latency, costs with their
// ranges, stacked parts. Plain elements and SVG in the colours of the theme; every value is also text,
// in the table, in labels or in titles.
import { useEffect, useRef, useState } from 'preact/hooks';
import { duration, label, range, seriesColour, seriesDash, short } from './plan_format.js';

// The width of an element in pixels, so that text in a plot has the size of text.
function useWidth(initial) {
  const element = useRef(null);
  const [width, setWidth] = useState(initial);
  useEffect(() => {
    const box = element.current;
    const observer = new ResizeObserver(() => {
      if (box.isConnected) setWidth(box.clientWidth);
    });
    observer.observe(box);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

function Figure({ title, unit, children, note }) {
  return (
    <figure class="plan-plot">
      <figcaption>
        <b>{title}</b> <span class="quiet">{unit}</span>
      </figcaption>
      {children}
      {note && <p class="quiet plan-plot-note">{note}</p>}
    </figure>
  );
}

// 1, 2 or 5 times a power of ten, at most `count` steps up to `most`.
function ticks(most, count) {
  const power = 10 ** Math.floor(Math.log10(most / count));
  const step = power * [1, 2, 5, 10].find((factor) => most / (power * factor) <= count);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

// The same on a logarithmic axis: all of 1, 2 and 5 where there is room, else powers of ten.
function logTicks(least, most) {
  const decades = Array.from({ length: Math.floor(Math.log10(most)) - Math.floor(Math.log10(least)) + 1 }, (_, i) => 10 ** (Math.floor(Math.log10(least)) + i));
  const factors = decades.length <= 3 ? [1, 2, 5] : [1];
  return decades.flatMap((decade) => factors.map((factor) => decade * factor)).filter((value) => value >= least * 0.999 && value <= most);
}

const plain = (value) => (+value.toPrecision(3)).toLocaleString('en', { maximumSignificantDigits: 3 });

function FrontierLines({ options, active, onActive, width }) {
  const height = Math.max(240, Math.min(380, width * 0.55));
  const [left, right, top, bottom] = [46, width - 12, 12, height - 40];
  const points = options.flatMap((option) => option.frontier);
  const mostUser = Math.max(1, ...points.map((point) => point.tokens_s_per_user)) * 1.03;
  const mostChip = Math.max(...points.map((point) => point.tokens_s_per_chip)) * 1.15;
  const leastChip = Math.max(Math.min(...points.map((point) => point.tokens_s_per_chip)) / 1.15, mostChip / 1e4);
  const x = (point) => left + (point.tokens_s_per_user / mostUser) * (right - left);
  const y = (point) => bottom - (Math.log(Math.max(point.tokens_s_per_chip, leastChip) / leastChip) / Math.log(mostChip / leastChip)) * (bottom - top);
  return (
    <svg width={width} height={height} role="img" aria-label="Tokens per second and chip over tokens per second of one user, one line for each option; the values are in the table.">
      {logTicks(leastChip, mostChip).map((value) => {
        const at = y({ tokens_s_per_chip: value });
        return (
          <g key={value}>
            <line x1={left} x2={right} y1={at} y2={at} class="plan-grid" />
            <text x={left - 7} y={at + 4} text-anchor="end">
              {plain(value)}
            </text>
          </g>
        );
      })}
      {ticks(mostUser, width < 500 ? 5 : 9).map((value) => (
        <text key={value} x={x({ tokens_s_per_user: value })} y={bottom + 17} text-anchor="middle">
          {plain(value)}
        </text>
      ))}
      <text x={right} y={height - 6} text-anchor="end">
        tokens/s of one user →
      </text>
      {options.map((option, i) => {
        const chosen = option.frontier.find((point) => point.batch === option.batch);
        const path = option.frontier.map((point) => `${x(point).toFixed(1)} ${y(point).toFixed(1)}`).join('L');
        const faded = active !== null && active !== i;
        return (
          <g key={label(option)} class={`plan-line ${faded ? 'is-faded' : ''}`} style={{ color: seriesColour(i) }} onPointerEnter={() => onActive(i)} onPointerLeave={() => onActive(null)}>
            <title>{label(option)}</title>
            <path d={`M${path}`} class="plan-line-reach" />
            <path d={`M${path}`} stroke-dasharray={seriesDash(i)} />
            {chosen && <circle cx={x(chosen)} cy={y(chosen)} r={active === i ? 6 : 4.5} />}
          </g>
        );
      })}
    </svg>
  );
}

export function Frontier({ options }) {
  const [box, width] = useWidth(640);
  const [active, setActive] = useState(null);
  const shown = active === null ? null : options[active];
  return (
    <Figure title="Throughput and latency" unit="tokens/s/chip (logarithmic) over tokens/s of one user, as the batch grows">
      <div ref={box} class="plan-frontier">
        <FrontierLines options={options} active={active} onActive={setActive} width={width} />
      </div>
      <p class="plan-reading" aria-live="polite">
        {shown
          ? `${label(shown)}: ${short(shown.tokens_s_per_chip)} tokens/s/chip and ${short(1 / shown.tpot_s)} tokens/s for each of ${shown.batch.toLocaleString('en')} sequences.`
          : 'Dots are the options of the table. Point at a line or a name to see one alone.'}
      </p>
      <ul class="plan-legend">
        {options.map((option, i) => (
          <li key={label(option)}>
            <button
              type="button"
              aria-pressed={active === i}
              onPointerEnter={() => setActive(i)}
              onPointerLeave={() => setActive(null)}
              onFocus={() => setActive(i)}
              onBlur={() => setActive(null)}
              onClick={() => setActive(i)}
            >
              <Swatch series={i} dash={seriesDash(i)} /> {label(option)}
            </button>
          </li>
        ))}
      </ul>
    </Figure>
  );
}

function Swatch({ series, dash }) {
  return (
    <svg class="plan-swatch" width="18" height="10" aria-hidden="true">
      <line x1="0" x2="18" y1="5" y2="5" stroke-dasharray={dash} style={{ stroke: seriesColour(series) }} />
    </svg>
  );
}

const share = (value, most) => `${((100 * value) / most).toFixed(2)}%`;

export function CostBars({ options }) {
  const most = Math.max(0, ...options.map((option) => option.usd_per_million_output?.high ?? 0));
  if (most === 0) return <p class="quiet">No price or rental of these chips is known.</p>;
  return (
    <Figure title="Cost of a million output tokens" unit="USD; the line is the range of prices and of the model's error">
      <ul class="plan-bars">
        {options.map((option) => {
          const cost = option.usd_per_million_output;
          return (
            <li key={label(option)}>
              <span class="plan-bar-name">{label(option)}</span>
              {cost ? (
                <>
                  <span class="plan-track" title={`${range(cost)} USD, by ${option.cost_basis}`}>
                    <span class="plan-bar" style={{ width: share(cost.value, most), background: seriesColour(0) }} />
                    <span class="plan-whisker" style={{ left: share(cost.low, most), width: share(cost.high - cost.low, most) }} />
                  </span>
                  <span class="plan-bar-value">
                    {short(cost.value)} <small class="quiet">{range(cost)}</small>
                  </span>
                </>
              ) : (
                <span class="quiet plan-unknown">price unknown</span>
              )}
            </li>
          );
        })}
      </ul>
    </Figure>
  );
}

const partColour = (part) => (part.series === null ? 'var(--free)' : seriesColour(part.series));

// Rows of parts side by side, each row as long as its share of the longest.
export function Stacked({ title, unit, options, partsOf, format }) {
  const rows = options.map((option) => ({ option, parts: partsOf(option) }));
  const sums = rows.map(({ parts }) => parts.reduce((sum, part) => sum + part.value, 0));
  const most = Math.max(...sums);
  return (
    <Figure title={title} unit={unit}>
      <ul class="plan-legend">
        {rows[0].parts.map((part) => (
          <li key={part.name}>
            <i style={{ background: partColour(part) }} /> {part.name}
          </li>
        ))}
      </ul>
      <ul class="plan-bars">
        {rows.map(({ option, parts }, i) => {
          const text = parts.map((part) => `${part.name} ${format(part.value)}`).join(', ');
          return (
            <li key={label(option)}>
              <span class="plan-bar-name">{label(option)}</span>
              <span class="plan-track" role="img" aria-label={text} title={text}>
                {parts.map((part) => (
                  <span key={part.name} class="plan-bar" style={{ width: share(part.value, most), background: partColour(part) }} />
                ))}
              </span>
              <span class="plan-bar-value">{format(sums[i])}</span>
            </li>
          );
        })}
      </ul>
    </Figure>
  );
}

export const gigabytes = (value) => `${short(value)} GB`;
export const milliseconds = (value) => duration(value / 1e3);
