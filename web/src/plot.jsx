// A plot over time with uPlot: thin lines in the colours of the theme, drawn anew when the theme or
// the width changes. The table a screen reader gets is the latest value in the heading.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';

const HEIGHT = 148;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(grid) {
  return {
    stroke: colour('--quiet'),
    grid: { show: grid, stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui, sans-serif',
    size: grid ? 46 : 28,
    gap: 6,
  };
}

const short = (value) =>
  value === null ? '' : value >= 1000 ? `${+(value / 1000).toPrecision(3)}k` : `${+value.toPrecision(3)}`;

function options(width, series, max) {
  const paint = (name, i) => ({
    label: name,
    stroke: colour(i === 0 ? '--accent' : '--accent-2'),
    width: 1.75,
    spanGaps: false,
    points: { show: (plot) => plot.data[0].length < 3, size: 5 },
    fill: i === 0 ? colour('--accent-wash') : undefined,
  });
  return {
    width,
    height: HEIGHT,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, max ?? Math.max(high * 1.15, 1)] } },
    axes: [
      { ...axis(false), space: 72, values: (_, times) => times.map((t) => new Date(t * 1000).toTimeString().slice(0, 8)) },
      { ...axis(true), space: 34, values: (_, values) => values.map(short) },
    ],
    series: [{}, ...series.map(paint)],
  };
}

// `rows` share a clock: [{ time, [key]: value or null }]; `lines`: [[key, name]], at most two.
export function Plot({ title, unit, lines, rows, max, theme }) {
  const box = useRef(null);
  const plot = useRef(null);
  const names = lines.map(([, name]) => name);
  const data = [rows.map((row) => row.time), ...lines.map(([key]) => rows.map((row) => row[key]))];
  useEffect(() => {
    const element = box.current;
    const create = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element.clientWidth, names, max), plot.current?.data ?? data, element);
    };
    create();
    const observer = new ResizeObserver(() => plot.current.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', create);
    return () => {
      observer.disconnect();
      dark.removeEventListener('change', create);
      plot.current.destroy();
      plot.current = null;
    };
  }, [theme]);
  useEffect(() => plot.current?.setData(data));
  const latest = lines.map(([key]) => rows.findLast((row) => row[key] !== null && row[key] !== undefined)?.[key] ?? null);
  return (
    <figure class="plot">
      <figcaption>
        <span class="plot-title">
          {title}
          {unit && <span class="quiet">{unit}</span>}
        </span>
        <span class="plot-latest">
          {lines.map(([key, name], i) => (
            <span key={key} class={`legend legend-${i}`}>
              {lines.length > 1 && <i aria-hidden="true" />}
              {lines.length > 1 && `${name} `}
              <b>{latest[i] === null ? '–' : short(latest[i])}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={box} />
    </figure>
  );
}
