// OpenAI's own library. Called as  node openai.mjs FERRY
import OpenAI from 'openai';
import { calculator, check, main, refused, running, system, until } from './server.mjs';

const thinking = { thinking: { type: 'enabled' } };
const ask = (content, more = {}) => ({ model: 'demo', temperature: 0, messages: [{ role: 'user', content }], ...more });
const client = (url, apiKey = 'secret') => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });

async function chat(url) {
  const ai = client(url);
  const whole = await ai.chat.completions.create(ask('What is 12 + 34?', thinking));
  const { message, finish_reason } = whole.choices[0];
  check(message.content.includes('46') && message.reasoning_content.length > 3 && finish_reason === 'stop', JSON.stringify(whole));
  check(whole.usage.completion_tokens_details.reasoning_tokens > 3 && whole.usage.prompt_tokens > 3, 'usage');
  let text = '';
  let reasoning = '';
  let usage;
  const stream = await ai.chat.completions.create(ask('What is 12 + 34?', { ...thinking, stream: true, stream_options: { include_usage: true } }));
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    reasoning += chunk.choices[0]?.delta.reasoning_content ?? '';
    usage = chunk.usage ?? usage;
  }
  check(text === message.content && reasoning === message.reasoning_content, `streamed: ${text}`);
  check(usage.completion_tokens === whole.usage.completion_tokens, 'usage of a stream');
  const helper = ai.chat.completions.stream(ask('Hello!'));
  check((await helper.finalContent()) === 'Hello! How can I help you?', 'the stream helper');
}

async function tools(url) {
  const ai = client(url);
  const body = {
    model: 'demo', temperature: 0, tools: [{ type: 'function', function: calculator }],
    messages: [{ role: 'system', content: system }, { role: 'user', content: 'What is 1377 - 1607?' }],
  };
  const first = (await ai.chat.completions.create(body)).choices[0];
  const call = first.message.tool_calls?.[0];
  check(first.finish_reason === 'tool_calls' && call?.function.name === 'calculator', JSON.stringify(first));
  check(JSON.parse(call.function.arguments).expression.replaceAll(' ', '') === '1377-1607', call.function.arguments);
  const final = await ai.chat.completions.stream(body).finalChatCompletion();
  check(final.choices[0].message.tool_calls[0].function.arguments === call.function.arguments, 'streamed calls');
  const messages = [...body.messages, first.message, { role: 'tool', tool_call_id: call.id, content: '-230' }];
  const second = (await ai.chat.completions.create({ ...body, messages })).choices[0];
  check(second.message.content.includes('-230') && second.finish_reason === 'stop', JSON.stringify(second));
  const runner = ai.chat.completions.runTools({
    ...body, tools: [{ type: 'function', function: { ...calculator, parse: JSON.parse, function: () => '-230' } }],
  });
  check((await runner.finalContent()).includes('-230'), 'runTools');
}

async function fields(url) {
  const ai = client(url);
  const schema = { type: 'object', properties: { answer: { type: 'integer' } }, required: ['answer'], additionalProperties: false };
  const held = await ai.chat.completions.create(ask('What is 12 + 34?', {
    max_tokens: 200, response_format: { type: 'json_schema', json_schema: { name: 'sum', strict: true, schema } },
  }));
  if (held.choices[0].finish_reason === 'stop') check(Number.isInteger(JSON.parse(held.choices[0].message.content).answer), held.choices[0].message.content);
  const many = await ai.chat.completions.create(ask('Hello!', { n: 3, temperature: 1, seed: 1 }));
  check(many.choices.length === 3 && many.choices[2].index === 2, 'n');
  const logs = (await ai.chat.completions.create(ask('Hello!', { logprobs: true, top_logprobs: 2 }))).choices[0].logprobs.content;
  check(logs.map((entry) => entry.token).join('') === 'Hello! How can I help you?' && logs[0].top_logprobs.length === 2, JSON.stringify(logs[0]));
  const stopped = (await ai.chat.completions.create(ask('Hello!', { stop: [' can'] }))).choices[0];
  check(stopped.message.content === 'Hello! How' && stopped.finish_reason === 'stop', stopped.message.content);
  const short = (await ai.chat.completions.create(ask('Hello!', { max_completion_tokens: 2 }))).choices[0];
  check(short.finish_reason === 'length', 'length');
}

async function others(url) {
  const ai = client(url);
  check((await ai.models.list()).data[0].id === 'demo' && (await ai.models.retrieve('demo')).id === 'demo', 'models');
  const embeddings = await ai.embeddings.create({ model: 'demo', input: ['a', 'b'] });
  check(embeddings.data.length === 2 && Math.abs(embeddings.data[0].embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3, 'embeddings');
  check((await ai.completions.create({ model: 'demo', prompt: 'What is', max_tokens: 3 })).usage.completion_tokens === 3, 'completions');
  const response = await ai.responses.create({ model: 'demo', input: 'Hello!', temperature: 0 });
  check(response.output_text === 'Hello! How can I help you?', response.output_text);
  const stream = await ai.responses.create({ model: 'demo', input: 'Hello!', temperature: 0, stream: true });
  let text = '';
  let last;
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    last = event.type;
  }
  check(text === response.output_text && last === 'response.completed', `streamed response: ${last}`);
}

async function errors(url) {
  const ai = client(url);
  const bad = await refused('a temperature', ai.chat.completions.create(ask('x', { temperature: 1000 })));
  check(bad instanceof OpenAI.BadRequestError && bad.param === 'temperature' && bad.code === 'invalid_value', String(bad));
  const long = await refused('a long prompt', ai.chat.completions.create(ask('a '.repeat(9000))));
  check(long.status === 400 && long.code === 'context_length_exceeded', String(long));
  check((await refused('a wrong key', client(url, 'wrong').models.list())) instanceof OpenAI.AuthenticationError, 'a wrong key');
  check((await refused('no model', ai.models.retrieve('gpt-4'))) instanceof OpenAI.NotFoundError, 'no such model');
}

async function cancel(url) {
  const ai = client(url);
  const stream = await ai.completions.create({ model: 'demo', prompt: 'Count', max_tokens: 1000, n: 16, ignore_eos: true, stream: true });
  for await (const chunk of stream) {
    if (chunk) break; // leaving the loop aborts the request
  }
  const controller = new AbortController();
  const whole = ai.completions.create({ model: 'demo', prompt: 'Count', max_tokens: 1000, n: 16, ignore_eos: true }, { signal: controller.signal });
  setTimeout(() => controller.abort(), 100);
  check((await refused('a cancelled request', whole)) instanceof OpenAI.APIUserAbortError, 'abort');
  await until('an idle engine', async () => (await running(url)) === 0);
}

await main(process.argv[2], [chat, tools, fields, others, errors, cancel]);
