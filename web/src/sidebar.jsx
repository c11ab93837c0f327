// The list of conversations, and the ways to everything else.
import { useState } from 'preact/hooks';
import { Icon, IconButton } from './icons.jsx';

function groupsOf(conversations) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const day = 86400000;
  const groups = [
    { name: 'Today', from: midnight },
    { name: 'Yesterday', from: midnight - day },
    { name: 'Last week', from: midnight - 7 * day },
    { name: 'Earlier', from: -Infinity },
  ].map((group) => ({ ...group, items: [] }));
  for (const conversation of conversations) {
    groups.find((group) => conversation.updated >= group.from).items.push(conversation);
  }
  return groups.filter((group) => group.items.length > 0);
}

function Entry({ conversation, current, onOpen, onRename, onDelete }) {
  const [name, setName] = useState(null);
  if (name !== null) {
    const keep = () => {
      if (name.trim()) onRename(conversation, name.trim());
      setName(null);
    };
    return (
      <li>
        <input
          class="rename"
          aria-label="Name of the conversation"
          value={name}
          ref={(input) => input && document.activeElement !== input && input.focus()}
          onInput={(event) => setName(event.target.value)}
          onBlur={keep}
          onKeyDown={(event) => {
            if (event.key === 'Enter') keep();
            if (event.key === 'Escape') {
              event.stopPropagation();
              setName(null);
            }
          }}
        />
      </li>
    );
  }
  return (
    <li class={`entry ${current ? 'is-current' : ''}`}>
      <button type="button" class="entry-open" aria-current={current ? 'page' : undefined} onClick={() => onOpen(conversation)}>
        {conversation.title}
      </button>
      <IconButton icon="edit" label={`Rename ${conversation.title}`} onClick={() => setName(conversation.title)} />
      <IconButton icon="trash" label={`Delete ${conversation.title}`} onClick={() => onDelete(conversation)} />
    </li>
  );
}

const themes = { auto: ['auto', 'Theme: as the system'], light: ['sun', 'Theme: light'], dark: ['moon', 'Theme: dark'] };

export function Sidebar({ conversations, current, view, open, settings, on }) {
  const [icon, themeName] = themes[settings.theme] ?? themes.auto;
  return (
    <nav class={`sidebar ${open ? 'is-open' : ''}`} aria-label="Conversations" id="sidebar">
      <div class="brand">
        <svg class="mark" viewBox="0 0 48 48" aria-hidden="true">
          <path d="M8 27h32l-4.5 9h-23z" />
          <path d="M15 27v-8h14l5 8M22 19v-6" />
        </svg>
        <span>ferry</span>
        <IconButton icon="close" label="Close the list" class="icon-button only-narrow" onClick={on.close} />
      </div>
      <button type="button" class="new-chat" onClick={on.create}>
        <Icon name="plus" /> New chat
      </button>
      <div class="entries">
        {groupsOf(conversations).map((group) => (
          <section key={group.name}>
            <h2>{group.name}</h2>
            <ul>
              {group.items.map((conversation) => (
                <Entry
                  key={conversation.id}
                  conversation={conversation}
                  current={view === 'chat' && conversation.id === current}
                  onOpen={on.open}
                  onRename={on.rename}
                  onDelete={on.remove}
                />
              ))}
            </ul>
          </section>
        ))}
      </div>
      <div class="sidebar-foot">
        <button type="button" class={`foot-link ${view === 'dashboard' ? 'is-current' : ''}`} aria-current={view === 'dashboard' ? 'page' : undefined} onClick={on.dashboard}>
          <Icon name="chart" /> Dashboard
        </button>
        <button type="button" class={`foot-link ${view === 'planner' ? 'is-current' : ''}`} aria-current={view === 'planner' ? 'page' : undefined} onClick={on.planner}>
          <Icon name="planner" /> Planner
        </button>
        <button type="button" class="foot-link" onClick={on.settings}>
          <Icon name="sliders" /> Settings
        </button>
        <div class="foot-row">
          <IconButton icon={icon} label={themeName} onClick={on.theme} />
          <IconButton icon="keys" label="Keyboard shortcuts" onClick={on.keys} />
        </div>
      </div>
    </nav>
  );
}
