// The interactive planner: a form for what `ferry plan` takes, and its answer. The server does the
// arithmetic (POST /plan); nothing of it leaves this machine.
import { useEffect, useRef, useState } from 'preact/hooks';
import { commandOf } from './planner_state.js';
import { percent, short } from './plan_format.js';
import { PlanView, workloadText } from './plan_view.jsx';

function count(parameters) {
  return parameters >= 1e12 ? `${short(parameters / 1e12)} T` : `${short(parameters / 1e9)} B`;
}

function modelText(model) {
  const active = model.active_parameters < 0.9 * model.parameters ? `, ${count(model.active_parameters)} active` : '';
  return `${model.name} (${count(model.parameters)}${active})`;
}

function Field({ planner, name, label, unit, wide, children }) {
  const help = planner.catalogue.fields.find((field) => field.name === name)?.help;
  return (
    <label class={`field ${wide ? 'is-wide' : ''}`} title={help}>
      <span>
        {label} {unit && <small class="quiet">{unit}</small>}
      </span>
      {children}
    </label>
  );
}

function TextField({ planner, name, label, unit, placeholder, mode = 'decimal' }) {
  return (
    <Field planner={planner} name={name} label={label} unit={unit}>
      <input
        name={name}
        inputMode={mode}
        autocomplete="off"
        spellcheck={false}
        placeholder={placeholder}
        aria-invalid={planner.problem?.field === name}
        value={planner.form[name]}
        onInput={(event) => planner.set({ [name]: event.target.value.trim() })}
      />
    </Field>
  );
}

function SelectField({ planner, name, label, wide, options }) {
  return (
    <Field planner={planner} name={name} label={label} wide={wide}>
      <select name={name} value={planner.form[name]} aria-invalid={planner.problem?.field === name} onChange={(event) => planner.set({ [name]: event.target.value })}>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
}

function Toggle({ planner, name, label }) {
  return (
    <label class="plan-check">
      <input type="checkbox" name={name} checked={planner.form[name]} onChange={(event) => planner.set({ [name]: event.target.checked })} /> {label}
    </label>
  );
}

function Chips({ planner }) {
  const chosen = planner.form.chips;
  const [wanted, setWanted] = useState('');
  const { chips } = planner.catalogue;
  const fits = (chip) => [chip.name, chip.vendor, ...chip.aliases].some((name) => name.toLowerCase().includes(wanted.toLowerCase()));
  const vendors = [...new Set(chips.map((chip) => chip.vendor))];
  const toggle = (name) => planner.set({ chips: chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name] });
  return (
    <details class="plan-fold">
      <summary>
        <b>Chips</b> <span class="quiet">{chosen.length === 0 ? `all ${chips.length}` : chosen.length <= 3 ? chosen.join(', ') : `${chosen.length} of ${chips.length}`}</span>
      </summary>
      <div class="plan-chip-tools">
        <input type="search" aria-label="Find chips" placeholder="Find chips" value={wanted} onInput={(event) => setWanted(event.target.value)} />
        <button type="button" class="button" disabled={chosen.length === 0} onClick={() => planner.set({ chips: [] })}>
          All
        </button>
      </div>
      {vendors.map((vendor) => {
        const own = chips.filter((chip) => chip.vendor === vendor && fits(chip));
        if (own.length === 0) return null;
        return (
          <fieldset key={vendor}>
            <legend>{vendor}</legend>
            {own.map((chip) => (
              <label key={chip.name} class="plan-check" title={chip.confidence}>
                <input type="checkbox" checked={chosen.includes(chip.name)} onChange={() => toggle(chip.name)} /> {chip.name}
              </label>
            ))}
          </fieldset>
        );
      })}
    </details>
  );
}

function More({ planner }) {
  const text = (name, label, unit, placeholder, mode) => <TextField planner={planner} name={name} label={label} unit={unit} placeholder={placeholder} mode={mode} />;
  const preset = planner.catalogue.workloads.find((workload) => workload.name === planner.form.workload);
  return (
    <details class="plan-fold">
      <summary>
        <b>More</b> <span class="quiet">lengths, formats, splits, costs, day of the rules</span>
      </summary>
      <h3>Lengths</h3>
      <div class="plan-fields">
        {text('input', 'Prompt', 'tokens', short(preset?.input))}
        {text('output', 'Answer', 'tokens', short(preset?.output))}
        {text('cached', 'In the prefix cache', '%', preset ? String(Math.round(preset.cached * 100)) : '')}
        {text('context', 'Longest sequence', 'tokens', 'a mean one')}
      </div>
      <h3>Deployment</h3>
      <div class="plan-fields">
        {text('precision', 'Formats of weights', '', 'fp8,int8: searched', 'text')}
        <SelectField
          planner={planner}
          name="kv_dtype"
          label="Cache"
          options={[['', 'bf16'], ['fp8', 'fp8'], ['int8', 'int8'], ['f32', 'f32']]}
        />
        <SelectField planner={planner} name="stack" label="Software" options={[['', 'tuned for the chip'], ['general', 'general']]} />
        {text('count', 'Chips of one deployment', '', 'searched')}
        {text('tp', 'Tensor parallel', '', 'searched')}
        {text('ep', 'Expert parallel', '', 'searched')}
        {text('pp', 'Pipeline stages', '', '1')}
        {text('batch', 'Sequences at once', '', 'searched')}
        {text('mtp', 'Drafted tokens', '', '0')}
        {text('accepted', 'Of them accepted', '', '0.8, 0.64, …')}
      </div>
      <Toggle planner={planner} name="disaggregated" label="Prompts on deployments of their own" />
      <h3>Cost</h3>
      <div class="plan-fields">
        {text('years', 'A chip is paid off over', 'years', '4')}
        {text('usd_per_kwh', 'Power', 'USD/kWh', '0.1')}
        {text('utilisation', 'Hours in use', '%', '100')}
      </div>
      <h3>Answer</h3>
      <div class="plan-fields">
        {text('top', 'Rows', '', '20')}
        {text('as_of', 'Export rules of', 'date', planner.catalogue.rules_until, 'text')}
      </div>
    </details>
  );
}

function Form({ planner }) {
  const { catalogue, form, abort, problem } = planner;
  const text = (name, label, unit, placeholder) => <TextField planner={planner} name={name} label={label} unit={unit} placeholder={placeholder} />;
  const preset = catalogue.workloads.find((workload) => workload.name === form.workload);
  const named = catalogue.models.some((model) => model.name === form.model);
  return (
    <form
      class="plan-form"
      aria-label="What to plan"
      onSubmit={(event) => {
        event.preventDefault();
        planner.search();
      }}
    >
      <div class="plan-fields">
        <SelectField planner={planner} name="model" label="Model" wide options={[...(named ? [] : [[form.model, form.model]]), ...catalogue.models.map((model) => [model.name, modelText(model)])]} />
        <SelectField planner={planner} name="workload" label="Workload" wide options={catalogue.workloads.map((workload) => [workload.name, `${workload.name}: ${short(workload.input)} in, ${short(workload.output)} out`])} />
        {text('rate', 'Requests', '/s', 'all it can take')}
        {text('tpot', 'Time per token at most', 'ms', 'any')}
        {text('ttft', 'Time to first token at most', 's', 'any')}
        {text('max_chips', 'Chips at most', '', '64')}
      </div>
      {preset && (
        <p class="quiet plan-fine">
          {preset.name}: {preset.basis}; {percent(preset.cached)} of prompts in the prefix cache.
        </p>
      )}
      <Chips planner={planner} />
      <More planner={planner} />
      <Toggle planner={planner} name="compare" label="One row per chip" />
      {problem && (
        <div class="notice error" role="alert">
          {problem.message}
        </div>
      )}
      <div class="button-row plan-buttons">
        {abort ? (
          <button type="button" class="button" onClick={() => planner.stop()}>
            Stop
          </button>
        ) : (
          <button type="submit" class="button primary">
            Plan
          </button>
        )}
        <button type="button" class="button" onClick={() => planner.clear()}>
          Start over
        </button>
        {abort && <span class="quiet">Searching…</span>}
      </div>
    </form>
  );
}

function Command({ planner }) {
  return (
    <p class="plan-command">
      <span class="quiet">The same in a terminal, as a page with --html FILE:</span> <code>{commandOf(planner.asked, planner.catalogue)}</code>
    </p>
  );
}

export function Planner({ planner }) {
  const result = useRef(null);
  const { catalogue, answer, problem } = planner;
  useEffect(() => {
    planner.open();
  }, []);
  // A new answer comes into view, also below a long form on a phone.
  const shown = useRef(answer);
  useEffect(() => {
    if (answer && answer !== shown.current) result.current.scrollIntoView({ block: 'start' });
    shown.current = answer;
  }, [answer]);
  return (
    <section class="dashboard planner" aria-label="Planner" tabIndex="-1">
      <div class="dashboard-inner">
        <header>
          <h1>Planner</h1>
          <p class="quiet">Which chips serve a model, how fast, at what cost, under which export rule</p>
        </header>
        {catalogue ? (
          <Form planner={planner} />
        ) : (
          problem && (
            <div class="notice error" role="alert">
              {problem.message}
              <button type="button" class="button" onClick={() => planner.open()}>
                Try again
              </button>
            </div>
          )
        )}
        {answer && catalogue && (
          <div ref={result} class="plan-result">
            <h2>{answer.model}</h2>
            <p class="quiet plan-fine">{workloadText(answer)}</p>
            <PlanView key={JSON.stringify(planner.asked)} plan={answer} />
            <Command planner={planner} />
          </div>
        )}
      </div>
    </section>
  );
}
