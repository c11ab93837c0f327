// One message of a conversation: what was asked, answered, called or returned.
import { memo } from 'preact/compat';
import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Icon, IconButton } from './icons.jsx';
import { toHtml } from './markdown.js';

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers offer the clipboard only on localhost and over TLS.
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'off-screen';
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    return copied;
  }
}

function CopyButton({ text, label }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await copyText(text))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return <IconButton icon={copied ? 'check' : 'copy'} label={copied ? 'Copied' : label} onClick={copy} />;
}

export function Markdown({ text }) {
  const html = useMemo(() => ({ __html: toHtml(text) }), [text]);
  // One listener for the copy buttons inside.
  const onClick = async (event) => {
    const button = event.target.closest('.copy-code');
    if (!button) return;
    const code = button.closest('.code').querySelector('code').textContent;
    button.textContent = (await copyText(code)) ? 'Copied' : 'Not copied';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  };
  return <div class="markdown" onClick={onClick} dangerouslySetInnerHTML={html} />;
}

function seconds(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

function Reasoning({ answer, live }) {
  const thinking = live && !answer.content && answer.calls.length === 0;
  const [open, setOpen] = useState(false);
  const title = thinking
    ? 'Thinking…'
    : answer.thoughtMs === null
      ? 'Thoughts'
      : `Thought for ${answer.thoughtMs < 1000 ? 'a moment' : seconds(answer.thoughtMs)}`;
  return (
    <div class={`reasoning ${thinking ? 'is-live' : ''}`}>
      <button type="button" class="reasoning-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class={`chevron ${open ? 'is-open' : ''}`}>
          <Icon name="right" />
        </span>
        {title}
      </button>
      {open && <div class="reasoning-body">{answer.reasoning}</div>}
    </div>
  );
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

function Call({ call, result, onResult }) {
  const [text, setText] = useState('');
  return (
    <div class="call">
      <div class="call-head">
        <Icon name="tool" />
        <span class="call-name">{call.name || 'tool'}</span>
        <span class="quiet">{result ? 'answered' : 'called'}</span>
      </div>
      <pre tabIndex="0">{pretty(call.arguments)}</pre>
      {result && (
        <div class="call-result">
          <span class="quiet">Result</span>
          <pre tabIndex="0">{pretty(result.content)}</pre>
        </div>
      )}
      {onResult && !result && (
        <form
          class="call-form"
          onSubmit={(event) => {
            event.preventDefault();
            onResult(call, text);
          }}
        >
          <label>
            <span class="off-screen">Result of {call.name}</span>
            <textarea rows="2" placeholder="What the tool returns" value={text} onInput={(e) => setText(e.target.value)} />
          </label>
          <button type="submit" class="button">
            Return result
          </button>
        </form>
      )}
    </div>
  );
}

function statsLine(answer) {
  const { stats } = answer;
  if (!stats) return '';
  const parts = [];
  if (stats.tokensPerSecond) parts.push(`${stats.tokensPerSecond.toFixed(1)} tokens/s`);
  if (stats.tokens) parts.push(`${stats.tokens} tokens`);
  if (stats.ttftMs !== null) parts.push(`first after ${seconds(stats.ttftMs)}`);
  if (stats.cachedTokens) parts.push(`${stats.cachedTokens} of ${stats.promptTokens} prompt tokens cached`);
  return parts.join(' · ');
}

const endings = {
  length: 'The answer reached the token limit.',
  stopped: 'Stopped.',
  content_filter: 'The answer was withheld.',
  insufficient_system_resource: 'The server ran out of room.',
};

function Versions({ message, onVersion }) {
  const count = message.versions.length;
  if (count < 2) return null;
  return (
    <span class="versions">
      <IconButton icon="left" label="Earlier version" disabled={message.at === 0} onClick={() => onVersion(message, message.at - 1)} />
      <span aria-label={`Version ${message.at + 1} of ${count}`}>
        {message.at + 1} / {count}
      </span>
      <IconButton icon="right" label="Later version" disabled={message.at === count - 1} onClick={() => onVersion(message, message.at + 1)} />
    </span>
  );
}

// `answer` is the version that shows. An answer that is not live is final, so the same one with the
// same stamp looks the same; a new one may have come and ended between two frames.
export const AssistantMessage = memo(function AssistantMessage({ message, answer, live, results, actions, last }) {
  const empty = !answer.content && !answer.reasoning && answer.calls.length === 0;
  return (
    <article class="message assistant" aria-label="Answer" aria-busy={live}>
      {answer.reasoning && <Reasoning answer={answer} live={live} />}
      {answer.content && <Markdown text={answer.content} />}
      {answer.calls.map((call) => (
        <Call
          key={call.id}
          call={call}
          result={results.find((result) => result.callId === call.id)}
          onResult={!live && last ? actions.returnResult : null}
        />
      ))}
      {live && empty && (
        <div class="waiting" role="status">
          <span class="off-screen">Waiting for the answer</span>
          <i />
          <i />
          <i />
        </div>
      )}
      {answer.error && (
        <div class="notice error" role="alert">
          {answer.error}
          <button type="button" class="button" onClick={() => actions.regenerate(message)}>
            Try again
          </button>
        </div>
      )}
      {!live && endings[answer.finish] && <p class="ending quiet">{endings[answer.finish]}</p>}
      {!live && !(empty && message.versions.length === 1) && (
        <div class="actions">
          <Versions message={message} onVersion={actions.showVersion} />
          <CopyButton text={answer.content} label="Copy answer" />
          <IconButton icon="again" label="Regenerate" onClick={() => actions.regenerate(message)} />
          <span class="stats quiet">{statsLine(answer)}</span>
        </div>
      )}
    </article>
  );
}, (before, after) => !after.live && !before.live && before.answer === after.answer && before.stamp === after.stamp);

// Begins with the message's own text, and before the first paint: nothing may overwrite what is
// typed at once.
function MessageEditor({ message, actions, onEditing }) {
  const [text, setText] = useState(message.content);
  const area = useRef(null);
  useLayoutEffect(() => {
    area.current.focus();
    area.current.setSelectionRange(message.content.length, message.content.length);
  }, []);
  const send = () => {
    onEditing(null);
    if (text.trim()) actions.resend(message, text);
  };
  return (
    <article class="message user is-editing" aria-label="Your message">
      <textarea
        ref={area}
        aria-label="Edit message"
        rows={Math.min(12, text.split('\n').length + 1)}
        value={text}
        onInput={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') {
            event.stopPropagation();
            onEditing(null);
          }
          if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
          }
        }}
      />
      <div class="edit-buttons">
        <button type="button" class="button" onClick={() => onEditing(null)}>
          Cancel
        </button>
        <button type="button" class="button primary" onClick={send}>
          Send
        </button>
      </div>
    </article>
  );
}

export function UserMessage({ message, busy, actions, editing, onEditing }) {
  if (editing) return <MessageEditor message={message} actions={actions} onEditing={onEditing} />;
  return (
    <article class="message user" aria-label="Your message">
      <div class="bubble">{message.content}</div>
      <div class="actions">
        <CopyButton text={message.content} label="Copy message" />
        <IconButton icon="edit" label="Edit message" disabled={busy} onClick={() => onEditing(message.id)} />
      </div>
    </article>
  );
}
