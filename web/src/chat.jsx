// The chat: the messages of one conversation and the composer below them.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Icon } from './icons.jsx';
import { AssistantMessage, UserMessage } from './message.jsx';
import { answerOf } from './store.js';

const examples = [
  'What is 347 + 589?',
  'How many r are in strawberry?',
  'What day is 10 days after Tuesday?',
  'Sort these numbers: 42, 7, 19, 3',
];

function Welcome({ model, builtIn, onPick }) {
  return (
    <div class="welcome">
      <svg class="mark" viewBox="0 0 48 48" aria-hidden="true">
        <path d="M8 27h32l-4.5 9h-23z" />
        <path d="M15 27v-8h14l5 8M22 19v-6" />
        <path class="wave" d="M5 41c3.2 0 3.2-2 6.3-2s3.2 2 6.4 2 3.1-2 6.3-2 3.2 2 6.3 2 3.2-2 6.4-2 3.1 2 6.3 2" />
      </svg>
      <h1>What can I carry across?</h1>
      <p class="quiet">
        {model ? <>You are talking to {model}. It runs on this machine; nothing you write leaves it.</> : 'Looking for a model…'}
      </p>
      {builtIn && (
        <div class="examples" role="group" aria-label="Examples">
          {examples.map((text) => (
            <button type="button" class="example" key={text} onClick={() => onPick(text)}>
              {text}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

const thinkingNames = { auto: 'Thinking: auto', on: 'Thinking: on', off: 'Thinking: off' };
const nextThinking = { auto: 'on', on: 'off', off: 'auto' };

export function Composer({ draft, onDraft, busy, onSend, onStop, settings, onSettings, onEditLast, input }) {
  useLayoutEffect(() => {
    const area = input.current;
    area.style.height = 'auto';
    area.style.height = `${Math.min(area.scrollHeight, 240)}px`;
  }, [draft]);
  // The box knows more than `draft`: what was typed since the last frame.
  const submit = () => {
    const text = input.current.value.trim();
    if (text && !busy) onSend(text);
  };
  const onKeyDown = (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
    if (event.key === 'ArrowUp' && event.target.value === '' && !busy) {
      event.preventDefault();
      onEditLast();
    }
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label class="off-screen" for="message">
        Message
      </label>
      <textarea
        id="message"
        ref={input}
        rows="1"
        placeholder="Write a message"
        value={draft}
        onInput={(event) => onDraft(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div class="composer-row">
        <button
          type="button"
          class={`chip ${settings.thinking === 'on' ? 'is-on' : ''}`}
          onClick={() => onSettings({ thinking: nextThinking[settings.thinking] })}
        >
          {thinkingNames[settings.thinking]}
        </button>
        <span class="hint quiet">Enter to send, Shift + Enter for a new line</span>
        {busy ? (
          <button type="button" class="send" aria-label="Stop" title="Stop (Esc)" onClick={onStop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="submit" class="send" aria-label="Send" title="Send (Enter)" disabled={!draft.trim()}>
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}

// Follows the end of a growing conversation until the reader scrolls away from it.
function useFollowing(box, dependency) {
  const following = useRef(true);
  const [away, setAway] = useState(false);
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    following.current = scrollHeight - scrollTop - clientHeight < 80;
    setAway(!following.current);
  };
  const toEnd = () => {
    following.current = true;
    box.current.scrollTop = box.current.scrollHeight;
    setAway(false);
  };
  useLayoutEffect(() => {
    if (following.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  });
  useEffect(toEnd, [dependency]);
  return { away, onScroll, toEnd };
}

export function Chat(props) {
  const { conversation, busy, actions, model, builtIn, editing, onEditing } = props;
  const box = useRef(null);
  const { away, onScroll, toEnd } = useFollowing(box, conversation.id);
  const { messages } = conversation;
  const results = messages.filter((message) => message.role === 'tool');
  const visible = messages.filter((message) => message.role !== 'tool');
  return (
    <section class="chat" aria-label="Chat">
      <div class="scroll" ref={box} onScroll={onScroll} tabIndex="-1">
        {visible.length === 0 ? (
          <Welcome model={model} builtIn={builtIn} onPick={actions.send} />
        ) : (
          <div class="messages" role="log" aria-live="off" aria-label="Messages">
            {visible.map((message, i) =>
              message.role === 'user' ? (
                <UserMessage
                  key={message.id}
                  message={message}
                  busy={busy}
                  actions={actions}
                  editing={editing === message.id}
                  onEditing={onEditing}
                />
              ) : (
                <AssistantMessage
                  key={message.id}
                  message={message}
                  answer={answerOf(message)}
                  live={busy && i === visible.length - 1}
                  last={i === visible.length - 1}
                  results={results}
                  actions={actions}
                  stamp={`${i === visible.length - 1}:${message.at}:${message.versions.length}:${results.length}`}
                />
              ),
            )}
          </div>
        )}
      </div>
      <div class="dock">
        {away && (
          <button type="button" class="to-end" onClick={toEnd} aria-label="To the end">
            <Icon name="down" />
          </button>
        )}
        <Composer {...props} onSend={actions.send} onStop={actions.stop} />
      </div>
    </section>
  );
}
