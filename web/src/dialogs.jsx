// The dialogs: settings, keyboard shortcuts, and "are you sure". All are <dialog>, which keeps the
// focus inside and closes with Escape.
import { useEffect, useRef, useState } from 'preact/hooks';
import { IconButton } from './icons.jsx';

function Dialog({ title, onClose, children, small }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={small ? 'small' : ''}
      aria-labelledby="dialog-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div class="dialog-box">
        <header>
          <h2 id="dialog-title">{title}</h2>
          <IconButton icon="close" label="Close" onClick={() => dialog.current.close()} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

function NumberField({ label, hint, value, min, max, step, onValue }) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        min={min}
        max={max}
        step={step}
        placeholder="the model's own"
        value={value ?? ''}
        onInput={(event) => {
          const text = event.target.value;
          const number = Number(text);
          if (text === '') onValue(null);
          else if (number >= min && number <= max) onValue(number);
        }}
      />
      {hint && <small class="quiet">{hint}</small>}
    </label>
  );
}

// Why the text is no list of tools; '' if it is one, or empty.
export function toolsProblem(text) {
  if (!text.trim()) return '';
  try {
    const tools = JSON.parse(text);
    if (!Array.isArray(tools)) return 'Expected a JSON array.';
    return tools.every((tool) => tool?.function?.name) ? '' : 'Each tool needs a function with a name.';
  } catch (error) {
    return error.message;
  }
}

export function Settings({ settings, onSettings: set, onClose, onExport, onImport, onDeleteAll }) {
  const [tools, setTools] = useState(settings.tools);
  const problem = toolsProblem(tools);
  return (
    <Dialog title="Settings" onClose={onClose}>
      <div class="fields">
        <label class="field wide">
          <span>System prompt</span>
          <textarea rows="3" value={settings.system} onInput={(event) => set({ system: event.target.value })} />
        </label>
        <NumberField label="Temperature" value={settings.temperature} min={0} max={2} step={0.1} onValue={(temperature) => set({ temperature })} />
        <NumberField label="Top p" value={settings.topP} min={0.01} max={1} step={0.05} onValue={(topP) => set({ topP })} />
        <NumberField label="Longest answer, in tokens" value={settings.maxTokens} min={1} max={1000000} step={1} onValue={(maxTokens) => set({ maxTokens })} />
        <label class="field">
          <span>Thinking</span>
          <select value={settings.thinking} onChange={(event) => set({ thinking: event.target.value })}>
            <option value="auto">As the model does by itself</option>
            <option value="on">On</option>
            <option value="off">Off</option>
          </select>
        </label>
        <label class="field">
          <span>Theme</span>
          <select value={settings.theme} onChange={(event) => set({ theme: event.target.value })}>
            <option value="auto">As the system</option>
            <option value="light">Light</option>
            <option value="dark">Dark</option>
          </select>
        </label>
        <label class="field">
          <span>API key</span>
          <input type="password" autocomplete="off" value={settings.apiKey} onInput={(event) => set({ apiKey: event.target.value.trim() })} />
          <small class="quiet">Only if this server wants one. Kept in this browser.</small>
        </label>
        <label class="field wide">
          <span>Tools</span>
          <textarea
            rows="4"
            class="mono"
            spellcheck={false}
            placeholder='[{"type": "function", "function": {"name": "add", "parameters": {…}}}]'
            value={tools}
            aria-invalid={problem !== ''}
            aria-describedby="tools-hint"
            onInput={(event) => {
              setTools(event.target.value);
              if (toolsProblem(event.target.value) === '') set({ tools: event.target.value });
            }}
          />
          <small id="tools-hint" class={problem ? 'wrong' : 'quiet'}>
            {problem || 'A JSON array, as the OpenAI API takes it. You write what a called tool returns.'}
          </small>
        </label>
      </div>
      <h3>Conversations</h3>
      <p class="quiet">They are kept in this browser and sent nowhere but to this server.</p>
      <div class="button-row">
        <button type="button" class="button" onClick={onExport}>
          Export all
        </button>
        <label class="button file">
          Import
          <input
            type="file"
            accept="application/json,.json"
            onChange={(event) => {
              const [file] = event.target.files;
              if (file) onImport(file);
              event.target.value = '';
            }}
          />
        </label>
        <button type="button" class="button danger" onClick={onDeleteAll}>
          Delete all
        </button>
      </div>
    </Dialog>
  );
}

const shortcuts = [
  ['Enter', 'Send'],
  ['Shift + Enter', 'New line'],
  ['Esc', 'Stop the answer'],
  ['↑', 'Edit your last message (in an empty box)'],
  ['Alt + N', 'New chat'],
  ['Alt + R', 'Regenerate the last answer'],
  ['Alt + L', 'Show or hide the list'],
  ['Alt + M', 'Dashboard and back'],
  ['Alt + P', 'Planner and back'],
  ['Ctrl + ,', 'Settings'],
  ['Ctrl + /', 'This list'],
];

export function Keys({ onClose }) {
  return (
    <Dialog title="Keyboard" onClose={onClose} small>
      <dl class="keys">
        {shortcuts.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(' + ').map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

export function Confirm({ question, detail, verb, onConfirm, onClose }) {
  return (
    <Dialog title={question} onClose={onClose} small>
      <p class="quiet">{detail}</p>
      <div class="button-row end">
        <button type="button" class="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="button danger" onClick={onConfirm}>
          {verb}
        </button>
      </div>
    </Dialog>
  );
}
