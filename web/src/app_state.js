// AppState: what the page knows and does, apart from how it looks. One object, changed in place;
// `changed()` draws it anew, at most once a frame.
import { listModels, streamAnswer } from './api.js';
import { PlannerState } from './planner_state.js';
import * as store from './store.js';

const samplingKeys = { temperature: 'temperature', topP: 'top_p', maxTokens: 'max_tokens' };

const views = ['chat', 'dashboard', 'planner'];

export class AppState {
  settings = store.loadSettings();
  conversations = [];
  current = store.newConversation();
  view = views.find((view) => location.hash === `#${view}`) ?? 'chat';
  models = null; // null: not known yet
  modelsError = '';
  draft = '';
  editing = null; // id of the message that is being edited
  abort = null; // of the answer that is streaming
  streamingIn = null; // its conversation
  announcement = ''; // read out by screen readers
  notice = '';

  constructor(draw) {
    let scheduled = false;
    this.changed = () => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => {
        scheduled = false;
        draw();
      });
    };
    this.applyTheme();
    this.planner = new PlannerState(this);
  }

  get busy() {
    return this.streamingIn === this.current.id;
  }

  async start() {
    this.conversations = await store.loadConversations().catch(() => []);
    this.changed();
    await this.findModels();
  }

  async findModels() {
    try {
      this.models = await listModels(this.settings);
      this.modelsError = '';
    } catch (error) {
      this.modelsError = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
    }
    this.changed();
  }

  get model() {
    return this.models?.[0]?.id ?? '';
  }

  // `change`: those that are new. Merged here, because what was drawn may be a frame old.
  setSettings(change) {
    const keyChanged = 'apiKey' in change && change.apiKey !== this.settings.apiKey;
    this.settings = { ...this.settings, ...change };
    store.saveSettings(this.settings);
    this.applyTheme();
    if (keyChanged) this.findModels();
    this.changed();
  }

  applyTheme() {
    const { theme } = this.settings;
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    this.themeChanged?.();
  }

  nextTheme() {
    const next = { auto: 'light', light: 'dark', dark: 'auto' };
    this.setSettings({ theme: next[this.settings.theme] ?? 'auto' });
  }

  show(view) {
    this.view = view;
    history.replaceState(null, '', view === 'chat' ? location.pathname : `#${view}`);
    this.changed();
  }

  setDraft(text) {
    this.draft = text;
    this.changed();
  }

  setEditing(id) {
    this.editing = id;
    this.changed();
  }

  editLast() {
    const last = this.current.messages.findLast((message) => message.role === 'user');
    if (last) this.setEditing(last.id);
  }

  open(conversation) {
    this.current = conversation;
    this.editing = null;
    this.show('chat');
  }

  create() {
    this.open(store.newConversation());
  }

  rename(conversation, title) {
    conversation.title = title;
    conversation.named = true;
    this.keep(conversation);
  }

  // Drawn as gone when the browser has let go of it, so that it can't come back with a reload; what
  // is still streaming into it is not kept any more.
  async remove(conversation) {
    if (this.streamingIn === conversation.id) this.stop();
    conversation.gone = true;
    await store.removeConversation(conversation.id).catch(() => this.say('The browser could not delete this conversation.'));
    this.conversations = this.conversations.filter((other) => other !== conversation);
    if (this.current === conversation) this.current = store.newConversation();
    this.changed();
  }

  async removeAll() {
    this.stop();
    for (const conversation of [this.current, ...this.conversations]) conversation.gone = true;
    await store.removeAll().catch(() => this.say('The browser could not delete the conversations.'));
    this.conversations = this.conversations.filter((conversation) => !conversation.gone);
    if (this.current.gone) this.current = store.newConversation();
    this.changed();
  }

  exportAll() {
    store.download('ferry-conversations.json', store.exportText(this.conversations));
  }

  exportOne(conversation) {
    const name = conversation.title.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 40);
    store.download(`ferry-${name}.json`, store.exportText([conversation]));
  }

  async importFile(file) {
    try {
      const imported = store.parseImport(await file.text());
      for (const conversation of imported) await store.saveConversation(conversation);
      this.conversations = [...imported, ...this.conversations].sort((a, b) => b.updated - a.updated);
      this.say(`${imported.length} conversation${imported.length === 1 ? '' : 's'} imported.`);
    } catch (error) {
      this.say(error.message);
    }
  }

  // A line at the bottom of the page that goes away by itself.
  say(text) {
    this.notice = this.announcement = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => {
      this.notice = '';
      this.changed();
    }, 5000);
    this.changed();
  }

  announce(text) {
    this.announcement = text;
    this.changed();
  }

  // Into the list and into the browser's store.
  keep(conversation) {
    if (conversation.gone) return;
    this.conversations = [conversation, ...this.conversations.filter((other) => other !== conversation)].sort(
      (a, b) => b.updated - a.updated,
    );
    store.saveConversation(conversation).catch(() => this.say('The browser could not keep this conversation.'));
    this.changed();
  }

  send(text) {
    if (this.streamingIn) return this.say('Another answer is still being written.');
    const conversation = this.current;
    if (conversation.messages.length === 0 && !conversation.named) conversation.title = store.titleFor(text);
    conversation.messages.push({ id: store.newId(), role: 'user', content: text });
    this.draft = '';
    return this.answer(conversation);
  }

  // Replaces a message of the user, and everything after it.
  resend(message, text) {
    if (this.streamingIn) return this.say('Another answer is still being written.');
    const { messages } = this.current;
    const at = messages.indexOf(message);
    if (at < 0) return undefined;
    messages.splice(at + 1);
    messages[at] = { ...message, id: store.newId(), content: text };
    if (at === 0 && !this.current.named) this.current.title = store.titleFor(text);
    return this.answer(this.current);
  }

  // A further version of an answer; what came after it goes.
  regenerate(message) {
    if (this.streamingIn) return this.say('Another answer is still being written.');
    const { messages } = this.current;
    const at = messages.indexOf(message);
    if (at < 0) return undefined;
    messages.splice(at + 1);
    if (store.answerOf(message).error) message.versions.splice(message.at, 1);
    return this.answer(this.current, message);
  }

  regenerateLast() {
    const last = this.current.messages.at(-1);
    if (last?.role === 'assistant') this.regenerate(last);
  }

  showVersion(message, at) {
    if (at < 0 || at >= message.versions.length) return;
    message.at = at;
    this.keep(this.current);
  }

  // What a called tool returned. When every call has its result, the model goes on.
  returnResult(call, content) {
    const conversation = this.current;
    const { messages } = conversation;
    messages.push({ id: store.newId(), role: 'tool', callId: call.id, name: call.name, content });
    this.keep(conversation);
    const asked = messages.findLast((message) => message.role === 'assistant');
    const open = store.answerOf(asked).calls.some(
      (other) => !messages.some((message) => message.role === 'tool' && message.callId === other.id),
    );
    if (!open && !this.streamingIn) this.answer(conversation);
  }

  requestBody(conversation) {
    const { settings } = this;
    const body = {
      model: this.model,
      messages: store.toMessages(conversation, settings.system),
      stream: true,
      stream_options: { include_usage: true },
    };
    for (const [key, name] of Object.entries(samplingKeys)) {
      if (settings[key] !== null) body[name] = settings[key];
    }
    if (settings.thinking !== 'auto') {
      body.thinking = { type: settings.thinking === 'on' ? 'enabled' : 'disabled' };
    }
    if (settings.tools.trim()) body.tools = JSON.parse(settings.tools);
    return body;
  }

  async answer(conversation, message = null) {
    // The body before the new version: a regenerated answer must not see the old one.
    const before = message ? { ...conversation, messages: conversation.messages.slice(0, -1) } : conversation;
    const body = this.requestBody(before);
    const answer = store.newAnswer();
    const target = message ?? { id: store.newId(), role: 'assistant', versions: [], at: 0 };
    target.versions.push(answer);
    target.at = target.versions.length - 1;
    if (!message) conversation.messages.push(target);
    conversation.updated = Date.now();
    this.keep(conversation);
    this.abort = new AbortController();
    this.streamingIn = conversation.id;
    this.announcement = 'Waiting for the answer.';
    await streamAnswer({
      body,
      settings: this.settings,
      answer,
      signal: this.abort.signal,
      changed: this.changed,
    });
    this.abort = null;
    this.streamingIn = null;
    this.announcement = answer.error ?? (answer.finish === 'stopped' ? 'Stopped.' : answer.content);
    conversation.updated = Date.now();
    this.keep(conversation);
    this.changed();
  }

  stop() {
    this.abort?.abort();
  }
}
