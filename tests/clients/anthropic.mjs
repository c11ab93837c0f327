// Anthropic's own library. Called as  node anthropic.mjs FERRY
import Anthropic from '@anthropic-ai/sdk';
import { calculator, check, main, refused, running, system, until } from './server.mjs';

const client = (url, apiKey = 'secret') => new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
const ask = (content, more = {}) => ({ model: 'demo', max_tokens: 200, temperature: 0, messages: [{ role: 'user', content }], ...more });
const thinking = { thinking: { type: 'enabled', budget_tokens: 1024 }, max_tokens: 900 };
const tool = { name: calculator.name, description: calculator.description, input_schema: calculator.parameters };
const text = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');

async function messages(url) {
  const ai = client(url);
  const whole = await ai.messages.create(ask('What is 12 + 34?', thinking));
  check(text(whole).includes('46') && whole.stop_reason === 'end_turn' && whole.role === 'assistant', JSON.stringify(whole));
  check(whole.content[0].type === 'thinking' && whole.content[0].thinking.length > 3, JSON.stringify(whole.content));
  check(whole.usage.input_tokens > 3 && whole.usage.output_tokens > 3, 'usage');
  const streamed = await ai.messages.stream(ask('What is 12 + 34?', thinking)).finalMessage();
  check(JSON.stringify(streamed.content) === JSON.stringify(whole.content), `streamed: ${JSON.stringify(streamed.content)}`);
  check(streamed.usage.output_tokens === whole.usage.output_tokens, 'usage of a stream');
  const count = await ai.messages.countTokens({ model: 'demo', messages: [{ role: 'user', content: 'Hello!' }] });
  check(count.input_tokens > 1, JSON.stringify(count));
  const short = await ai.messages.create(ask('What is 12 + 34?', { max_tokens: 2 }));
  check(short.stop_reason === 'max_tokens', short.stop_reason);
  const stopped = await ai.messages.create(ask('Hello!', { stop_sequences: [' can'] }));
  check(text(stopped) === 'Hello! How' && stopped.stop_reason === 'stop_sequence' && stopped.stop_sequence === ' can', JSON.stringify(stopped));
}

async function tools(url) {
  const ai = client(url);
  const body = { ...ask('What is 1377 - 1607?'), system, tools: [tool] };
  const first = await ai.messages.create(body);
  const call = first.content.find((block) => block.type === 'tool_use');
  check(first.stop_reason === 'tool_use' && call?.name === 'calculator', JSON.stringify(first));
  check(call.input.expression.replaceAll(' ', '') === '1377-1607', JSON.stringify(call));
  const streamed = await ai.messages.stream(body).finalMessage();
  check(JSON.stringify(streamed.content.at(-1).input) === JSON.stringify(call.input), 'streamed calls');
  const second = await ai.messages.create({
    ...body,
    messages: [...body.messages, { role: 'assistant', content: first.content }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: '-230' }] }],
  });
  check(text(second).includes('-230') && second.stop_reason === 'end_turn', JSON.stringify(second));
}

async function errors(url) {
  const ai = client(url);
  const bad = await refused('a temperature', ai.messages.create(ask('x', { temperature: 1000 })));
  check(bad instanceof Anthropic.BadRequestError && bad.error?.error?.type === 'invalid_request_error', String(bad));
  check((await refused('a long prompt', ai.messages.create(ask('a '.repeat(9000))))).status === 400, 'a long prompt');
  check((await refused('a wrong key', client(url, 'wrong').messages.create(ask('x')))) instanceof Anthropic.AuthenticationError, 'a wrong key');
}

async function cancel(url) {
  const stream = client(url).messages.stream(ask('Count to a thousand.', { max_tokens: 900 }));
  for await (const event of stream) {
    if (event.type === 'content_block_delta') break;
  }
  stream.abort();
  await until('an idle engine', async () => (await running(url)) === 0);
}

await main(process.argv[2], [messages, tools, errors, cancel]);
