// What the page asks of the server it came from: models, streamed chat completions, metrics, plans. Nothing
// here names another host, and the page's Content-Security-Policy would not allow one.

function headers(settings, more = {}) {
  return settings.apiKey ? { ...more, Authorization: `Bearer ${settings.apiKey}` } : more;
}

// The message of an error answer, in any of the shapes servers use.
async function errorOf(response) {
  return (await fieldErrorOf(response)).message;
}

// The same as an Error, with the field that is to blame as `param`.
async function fieldErrorOf(response) {
  const text = await response.text().catch(() => '');
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // not JSON: the text itself, if it is short
  }
  const message = body.error?.message ?? body.error ?? body.message;
  const error = new Error(typeof message === 'string' ? message : plainMessage(response, text));
  error.param = body.error?.param;
  return error;
}

function plainMessage(response, text) {
  if (response.status === 401) return 'The server wants an API key: put it into the settings.';
  return text.length > 0 && text.length < 200 ? text : `The server answered ${response.status}.`;
}

export async function listModels(settings) {
  const response = await fetch('v1/models', { headers: headers(settings) });
  if (!response.ok) throw new Error(await errorOf(response));
  const body = await response.json();
  return Array.isArray(body.data) ? body.data : [];
}

// The text of /metrics; null where the server does not give it.
export async function fetchMetrics(settings) {
  const response = await fetch('metrics', { headers: headers(settings) });
  return response.ok ? response.text() : null;
}

// Running and recent requests; null where the server does not give them.
export async function fetchStats(settings) {
  const response = await fetch('stats', { headers: headers(settings) });
  return response.ok ? response.json() : null;
}

// Chips, models and workloads that a plan may name.
export async function fetchCatalogue(settings) {
  const response = await fetch('plan/catalogue', { headers: headers(settings) });
  if (response.status === 404) throw new Error('This server has no planner.');
  if (!response.ok) throw await fieldErrorOf(response);
  return response.json();
}

export async function fetchPlan(settings, body, signal) {
  const response = await fetch('plan', {
    method: 'POST',
    headers: headers(settings, { 'Content-Type': 'application/json' }),
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await fieldErrorOf(response);
  return response.json();
}

// The data of each server-sent event of a response, as it comes.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:')) yield line.slice(5).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function addCalls(calls, pieces) {
  for (const piece of pieces) {
    const index = piece.index ?? calls.length;
    calls[index] ??= { id: '', name: '', arguments: '' };
    const call = calls[index];
    if (piece.id) call.id = piece.id;
    if (piece.function?.name) call.name += piece.function.name;
    if (piece.function?.arguments) call.arguments += piece.function.arguments;
  }
}

// Streams one answer into `answer` (see store.js: newAnswer) and calls `changed` with every piece.
// What goes wrong ends up in answer.error; an abort is no error.
export async function streamAnswer({ body, settings, answer, signal, changed }) {
  const start = performance.now();
  let first = 0;
  let last = 0;
  let pieces = 0;
  let done = false;
  let begun = false;
  try {
    const response = await fetch('v1/chat/completions', {
      method: 'POST',
      headers: headers(settings, { 'Content-Type': 'application/json' }),
      body: JSON.stringify(body),
      signal,
    });
    if (!response.ok) throw new Error(await errorOf(response));
    begun = true;
    for await (const data of events(response)) {
      if (data === '[DONE]') {
        done = true;
        break;
      }
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message ?? 'The server reported an error.');
      if (event.usage) answer.usage = event.usage;
      const choice = event.choices?.[0];
      if (!choice) continue;
      const delta = choice.delta ?? {};
      const thought = delta.reasoning_content ?? delta.reasoning ?? '';
      if (thought || delta.content || delta.tool_calls) {
        last = performance.now();
        if (pieces++ === 0) first = last;
      }
      if (thought) answer.reasoning += thought;
      if (delta.content) {
        if (answer.reasoning && answer.thoughtMs === null) answer.thoughtMs = last - first;
        answer.content += delta.content;
      }
      if (delta.tool_calls) addCalls(answer.calls, delta.tool_calls);
      if (choice.finish_reason) answer.finish = choice.finish_reason;
      changed();
    }
    if (!done) throw new TypeError('no [DONE]');
  } catch (error) {
    if (signal.aborted) {
      answer.finish = 'stopped';
    } else if (error instanceof TypeError) {
      answer.error = begun ? 'The connection broke off before the answer was complete.' : 'The server cannot be reached.';
    } else {
      answer.error = error.message;
    }
  }
  if (answer.reasoning && answer.thoughtMs === null && pieces > 0) answer.thoughtMs = last - first;
  const tokens = answer.usage?.completion_tokens ?? pieces;
  answer.stats = {
    ttftMs: pieces > 0 ? first - start : null,
    tokens,
    tokensPerSecond: tokens > 1 && last > first ? ((tokens - 1) * 1000) / (last - first) : null,
    promptTokens: answer.usage?.prompt_tokens ?? null,
    cachedTokens: answer.usage?.prompt_tokens_details?.cached_tokens ?? null,
  };
  changed();
}
