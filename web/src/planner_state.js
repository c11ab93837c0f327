// PlannerState: what is asked of the planner and what it said. Lives as long as the page, so that an
// answer is still there when the planner is left and opened again; the form is kept in the settings.
import { fetchCatalogue, fetchPlan } from './api.js';

// As text, as they stand in the form. '' is left to the server's default; a workload of '' is chat.
export const emptyForm = {
  model: 'deepseek-v3',
  chips: [], // names; none: all
  workload: 'chat',
  rate: '',
  tpot: '', // ms
  ttft: '', // s
  max_chips: '',
  compare: true,
  input: '',
  output: '',
  cached: '', // %
  context: '',
  precision: '',
  kv_dtype: '',
  stack: '',
  count: '',
  tp: '',
  ep: '',
  pp: '',
  batch: '',
  mtp: '',
  accepted: '',
  disaggregated: false,
  years: '',
  usd_per_kwh: '',
  utilisation: '', // %
  top: '',
  as_of: '',
};

const shares = new Set(['cached', 'utilisation']);
const texts = new Set(['model', 'workload', 'precision', 'kv_dtype', 'stack', 'as_of']);

// The body of POST /plan. What is no number stays text: the server says what is wrong with it.
export function requestOf(form) {
  const body = {};
  const number = (text, scale) => (Number.isFinite(Number(text)) ? Number((Number(text) * scale).toPrecision(12)) : text);
  for (const [key, value] of Object.entries(form)) {
    if (key === 'tpot' || key === 'ttft') continue;
    if (Array.isArray(value) ? value.length === 0 : value === '' || value === false) continue;
    if (typeof value !== 'string' || texts.has(key)) body[key] = value;
    else body[key] = number(value, shares.has(key) ? 0.01 : 1);
  }
  const levels = [];
  if (form.tpot !== '') levels.push(`tpot=${form.tpot}ms`);
  if (form.ttft !== '') levels.push(`ttft=${form.ttft}s`);
  if (levels.length > 0) body.slo = levels.join(',');
  return body;
}

const quoted = (text) => (/^[\w.,:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// The same on a command line. Chips are named by an alias where their name has a comma.
export function commandOf(body, catalogue) {
  const { model, compare, chips, ...rest } = body;
  const words = ['ferry plan', ...(compare ? ['compare'] : []), quoted(model ?? '')];
  if (chips) {
    const spoken = chips.map((name) => (name.includes(',') ? catalogue.chips.find((chip) => chip.name === name)?.aliases[0] ?? name : name));
    words.push(`--chips ${quoted(spoken.join(','))}`);
  }
  for (const [key, value] of Object.entries(rest)) {
    const flag = `--${key.replaceAll('_', '-')}`;
    words.push(value === true ? flag : `${flag} ${quoted(String(value))}`);
  }
  return words.join(' ');
}

export class PlannerState {
  catalogue = null;
  form = { ...emptyForm };
  answer = null; // of the last search that was finished
  asked = null; // its body
  problem = null; // { message, field }
  abort = null; // of the search that is running

  constructor(app) {
    this.app = app;
    const kept = app.settings.plan;
    for (const key of Object.keys(emptyForm)) {
      if (typeof kept?.[key] === typeof emptyForm[key]) this.form[key] = kept[key];
    }
    if (!Array.isArray(this.form.chips)) this.form.chips = [];
  }

  async open() {
    if (this.catalogue) return;
    try {
      this.catalogue = await fetchCatalogue(this.app.settings);
      const known = new Set(this.catalogue.chips.map((chip) => chip.name));
      this.form.chips = this.form.chips.filter((name) => known.has(name));
      this.problem = null;
    } catch (error) {
      this.fail(error);
    }
    this.app.changed();
  }

  set(change) {
    this.form = { ...this.form, ...change };
    if (this.problem?.field && this.problem.field in change) this.problem = null;
    this.app.setSettings({ plan: this.form });
  }

  clear() {
    this.set(emptyForm);
  }

  async search() {
    this.stop();
    const abort = new AbortController();
    this.abort = abort;
    this.problem = null;
    this.app.announce('Searching.');
    const body = requestOf(this.form);
    try {
      const answer = await fetchPlan(this.app.settings, body, abort.signal);
      if (this.abort !== abort) return;
      this.answer = answer;
      this.asked = body;
      this.app.announce(`${answer.options.length} options.`);
    } catch (error) {
      if (this.abort !== abort) return;
      this.fail(error);
    }
    this.abort = null;
    this.app.changed();
  }

  stop() {
    this.abort?.abort();
    this.abort = null;
    this.app.changed();
  }

  fail(error) {
    const message = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
    const field = { slo: /tpot/.test(message) ? 'tpot' : 'ttft' }[error.param] ?? error.param?.split('[')[0] ?? '';
    this.problem = { message, field };
    this.app.announce(message);
  }
}
