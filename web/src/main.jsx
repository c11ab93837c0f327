// The page that ferry serves at /: chat, live dashboard and planner. This file is the frame: layout, dialogs
// and keyboard; app_state.js is what it does.
import { render } from 'preact';
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { AppState } from './app_state.js';
import { Chat } from './chat.jsx';
import { Dashboard, Poller } from './dashboard.jsx';
import { Confirm, Keys, Settings } from './dialogs.jsx';
import { IconButton } from './icons.jsx';
import { Planner } from './planner.jsx';
import { Sidebar } from './sidebar.jsx';
import 'uplot/dist/uPlot.min.css';
import './theme.css';
import './style.css';
import './plan.css';

const poller = new Poller();

function useApp() {
  const [, draw] = useReducer((n) => n + 1, 0);
  const held = useRef(null);
  held.current ??= new AppState(draw);
  useEffect(() => {
    held.current.start();
  }, []);
  return held.current;
}

// Handed to memoised messages: the same functions for as long as the page lives.
function useActions(app) {
  const held = useRef(null);
  held.current ??= {
    send: (text) => app.send(text),
    stop: () => app.stop(),
    resend: (message, text) => app.resend(message, text),
    regenerate: (message) => app.regenerate(message),
    showVersion: (message, at) => app.showVersion(message, at),
    returnResult: (call, text) => app.returnResult(call, text),
  };
  return held.current;
}

// In a layout effect: a key that comes between a draw and the next frame must not meet the state
// before it.
function useKeys(app, { dialog, setDialog, toggleSidebar }) {
  useLayoutEffect(() => {
    const onKey = (event) => {
      if (dialog) return;
      const command = event.ctrlKey || event.metaKey;
      const act = (what) => {
        event.preventDefault();
        what();
      };
      if (event.key === 'Escape' && app.abort) act(() => app.stop());
      else if (command && event.key === ',') act(() => setDialog({ name: 'settings' }));
      else if (command && event.key === '/') act(() => setDialog({ name: 'keys' }));
      else if (event.altKey && !command && event.code === 'KeyN') act(() => app.create());
      else if (event.altKey && !command && event.code === 'KeyR') act(() => app.regenerateLast());
      else if (event.altKey && !command && event.code === 'KeyL') act(toggleSidebar);
      else if (event.altKey && !command && event.code === 'KeyM') {
        act(() => app.show(app.view === 'dashboard' ? 'chat' : 'dashboard'));
      } else if (event.altKey && !command && event.code === 'KeyP') {
        act(() => app.show(app.view === 'planner' ? 'chat' : 'planner'));
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  });
}

const narrow = () => matchMedia('(max-width: 800px)').matches;

function Dialogs({ app, dialog, setDialog }) {
  const close = () => setDialog(null);
  if (dialog?.name === 'settings') {
    return (
      <Settings
        settings={app.settings}
        onSettings={(change) => app.setSettings(change)}
        onClose={close}
        onExport={() => app.exportAll()}
        onImport={(file) => app.importFile(file)}
        onDeleteAll={() => setDialog({ name: 'delete-all' })}
      />
    );
  }
  if (dialog?.name === 'keys') return <Keys onClose={close} />;
  if (dialog?.name === 'delete') {
    return (
      <Confirm
        question="Delete this conversation?"
        detail={`“${dialog.conversation.title}” is gone for good.`}
        verb="Delete"
        onClose={close}
        onConfirm={() => {
          app.remove(dialog.conversation);
          close();
        }}
      />
    );
  }
  if (dialog?.name === 'delete-all') {
    return (
      <Confirm
        question="Delete all conversations?"
        detail="They are gone for good. Export them first if you may want them back."
        verb="Delete all"
        onClose={close}
        onConfirm={() => {
          app.removeAll();
          close();
        }}
      />
    );
  }
  return null;
}

function Header({ app, open, onToggle }) {
  const title = app.view === 'chat' ? app.current.title : '';
  return (
    <header class="top">
      <IconButton icon="menu" label={open ? 'Hide the list' : 'Show the list'} aria-expanded={open} aria-controls="sidebar" onClick={onToggle} />
      <span class="top-title">{title}</span>
      {app.view === 'chat' && app.current.messages.length > 0 && (
        <IconButton icon="export" label="Export this conversation" onClick={() => app.exportOne(app.current)} />
      )}
      {app.modelsError ? (
        <button type="button" class="status is-down" onClick={() => app.findModels()}>
          {app.modelsError} <u>Try again</u>
        </button>
      ) : (
        <span class="status">{app.model}</span>
      )}
    </header>
  );
}

function App() {
  const app = useApp();
  const actions = useActions(app);
  const input = useRef(null);
  const [dialog, setDialog] = useState(null);
  const [open, setOpen] = useState(!narrow());
  const toggleSidebar = () => setOpen(!open);
  useKeys(app, { dialog, setDialog, toggleSidebar });
  useEffect(() => {
    if (!narrow()) input.current?.focus();
  }, [app.current.id, app.view]);
  const leave = (act) => (argument) => {
    act(argument);
    if (narrow()) setOpen(false);
  };
  return (
    <div class={`app ${open ? 'with-sidebar' : ''}`}>
      <a class="skip" href="#message">
        Skip to the message box
      </a>
      <Sidebar
        conversations={app.conversations}
        current={app.current.id}
        view={app.view}
        open={open}
        settings={app.settings}
        on={{
          close: () => setOpen(false),
          create: leave(() => app.create()),
          open: leave((conversation) => app.open(conversation)),
          rename: (conversation, title) => app.rename(conversation, title),
          remove: (conversation) => setDialog({ name: 'delete', conversation }),
          dashboard: leave(() => app.show('dashboard')),
          planner: leave(() => app.show('planner')),
          settings: leave(() => setDialog({ name: 'settings' })),
          keys: leave(() => setDialog({ name: 'keys' })),
          theme: () => app.nextTheme(),
        }}
      />
      {open && <div class="shade" onClick={() => setOpen(false)} />}
      <main>
        <Header app={app} open={open} onToggle={toggleSidebar} />
        {app.view === 'dashboard' && <Dashboard poller={poller} settings={app.settings} model={app.model} />}
        {app.view === 'planner' && <Planner planner={app.planner} />}
        {app.view === 'chat' && (
          <Chat
            conversation={app.current}
            busy={app.busy}
            actions={actions}
            model={app.model}
            builtIn={app.model === 'demo'}
            editing={app.editing}
            onEditing={(id) => app.setEditing(id)}
            draft={app.draft}
            onDraft={(text) => app.setDraft(text)}
            settings={app.settings}
            onSettings={(change) => app.setSettings(change)}
            onEditLast={() => app.editLast()}
            input={input}
          />
        )}
      </main>
      <div class="off-screen" aria-live="polite" id="announcement">
        {app.announcement}
      </div>
      {app.notice && <div class="toast">{app.notice}</div>}
      <Dialogs app={app} dialog={dialog} setDialog={setDialog} />
    </div>
  );
}

render(<App />, document.getElementById('page'));
