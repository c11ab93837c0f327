// Conversations and settings, kept in this browser and nowhere else: conversations in IndexedDB,
// settings in localStorage. Where the browser denies both (private windows), they last as long as
// the page.
//
//   conversation  { id, title, named, created, updated, messages: [message] }
//   message       { id, role: "user", content }
//                 { id, role: "tool", callId, name, content }
//                 { id, role: "assistant", versions: [answer], at }     one version per regeneration
//   answer        { content, reasoning, calls, finish, error, usage, stats, thoughtMs }

const DATABASE = 'ferry';
const TABLE = 'conversations';
const SETTINGS = 'ferry.settings';

export const defaultSettings = {
  theme: 'auto',
  system: '',
  temperature: null, // null: the server's own default
  topP: null,
  maxTokens: null,
  thinking: 'auto',
  tools: '',
  apiKey: '',
  plan: null, // the planner's form
};

let opened = null;

function open() {
  opened ??= new Promise((resolve) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: 'id' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
    request.onblocked = () => resolve(null);
  }).catch(() => null);
  return opened;
}

async function inTable(mode, act) {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(TABLE, mode);
    const request = act(transaction.objectStore(TABLE));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export async function loadConversations() {
  const all = (await inTable('readonly', (table) => table.getAll())) ?? [];
  return all.filter(isConversation).sort((a, b) => b.updated - a.updated);
}

export const saveConversation = (conversation) =>
  inTable('readwrite', (table) => table.put(structuredClone(conversation)));
export const removeConversation = (id) => inTable('readwrite', (table) => table.delete(id));
export const removeAll = () => inTable('readwrite', (table) => table.clear());

export function loadSettings() {
  try {
    return { ...defaultSettings, ...JSON.parse(localStorage.getItem(SETTINGS) ?? '{}') };
  } catch {
    return { ...defaultSettings };
  }
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // they last as long as the page
  }
}

export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export const newConversation = () => ({
  id: newId(),
  title: 'New chat',
  named: false,
  created: Date.now(),
  updated: Date.now(),
  messages: [],
});

export const newAnswer = () => ({
  content: '',
  reasoning: '',
  calls: [],
  finish: null,
  error: null,
  usage: null,
  stats: null,
  thoughtMs: null,
});

export const answerOf = (message) => message.versions[message.at];

// The first words of the first message.
export function titleFor(text) {
  const line = text.trim().split('\n')[0].trim();
  return line.length > 48 ? `${line.slice(0, 47).trimEnd()}…` : line || 'New chat';
}

// The messages of a request: the system prompt, then what was said. Reasoning goes back only with
// tool calls, where models expect it.
export function toMessages(conversation, system) {
  const messages = system.trim() ? [{ role: 'system', content: system }] : [];
  for (const message of conversation.messages) {
    if (message.role === 'user') messages.push({ role: 'user', content: message.content });
    if (message.role === 'tool') {
      messages.push({ role: 'tool', tool_call_id: message.callId, content: message.content });
    }
    if (message.role !== 'assistant') continue;
    const answer = answerOf(message);
    const entry = { role: 'assistant', content: answer.content };
    if (answer.calls.length > 0) {
      if (answer.reasoning) entry.reasoning_content = answer.reasoning;
      entry.tool_calls = answer.calls.map((call) => ({
        id: call.id,
        type: 'function',
        function: { name: call.name, arguments: call.arguments },
      }));
    }
    messages.push(entry);
  }
  return messages;
}

const isText = (value) => typeof value === 'string';

function isAnswer(answer) {
  return (
    answer && isText(answer.content) && isText(answer.reasoning) && Array.isArray(answer.calls) &&
    answer.calls.every((call) => call && isText(call.id) && isText(call.name) && isText(call.arguments))
  );
}

function isMessage(message) {
  if (!message || !isText(message.id)) return false;
  if (message.role === 'user') return isText(message.content);
  if (message.role === 'tool') return isText(message.content) && isText(message.callId);
  return (
    message.role === 'assistant' && Array.isArray(message.versions) &&
    message.versions.length > 0 && message.versions.every(isAnswer) &&
    Number.isInteger(message.at) && message.at >= 0 && message.at < message.versions.length
  );
}

function isConversation(value) {
  return (
    value && isText(value.id) && isText(value.title) && Number.isFinite(value.updated) &&
    Array.isArray(value.messages) && value.messages.every(isMessage)
  );
}

export function exportText(conversations) {
  return JSON.stringify({ format: 'ferry-conversations', version: 1, conversations }, null, 2);
}

// The conversations of an exported file, under new ids. Throws with what is wrong.
export function parseImport(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error('This file is not JSON.');
  }
  if (file?.format !== 'ferry-conversations' || !Array.isArray(file.conversations)) {
    throw new Error('This file was not exported from here.');
  }
  if (!file.conversations.every(isConversation)) {
    throw new Error('A conversation in this file is not complete.');
  }
  return file.conversations.map((conversation) => ({ ...conversation, id: newId() }));
}

export function download(name, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
