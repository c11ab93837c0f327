// What applications are built with: Vercel's AI SDK, with DeepSeek's provider too, and LangChain. Called as  node frameworks.mjs FERRY
import { createDeepSeek } from '@ai-sdk/deepseek';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';
import { calculator, check, main, refused, system } from './server.mjs';

const vercel = (url) => createOpenAICompatible({ name: 'ferry', baseURL: `${url}/v1`, apiKey: 'secret', includeUsage: true })('demo');
const deep = (url, route = '') => createDeepSeek({ baseURL: `${url}${route}`, apiKey: 'secret' })('demo');
const langchain = (url, more = {}) => new ChatOpenAI({ model: 'demo', temperature: 0, apiKey: 'secret', maxRetries: 0, configuration: { baseURL: `${url}/v1` }, ...more });

async function aiSdk(url) {
  const model = vercel(url);
  const whole = await generateText({ model, temperature: 0, prompt: 'What is 12 + 34?', providerOptions: { ferry: { thinking: { type: 'enabled' } } } });
  check(whole.text.includes('46') && whole.reasoningText.length > 3 && whole.finishReason === 'stop', `${whole.text} ${whole.reasoningText}`);
  const stream = streamText({ model, temperature: 0, prompt: 'Hello!' });
  let text = '';
  for await (const piece of stream.textStream) text += piece;
  check(text === 'Hello! How can I help you?' && (await stream.usage).outputTokens > 3, `streamed: ${text}`);
  const called = await generateText({
    model, temperature: 0, system, prompt: 'What is 1377 - 1607?', stopWhen: stepCountIs(2),
    tools: { calculator: tool({ description: calculator.description, inputSchema: jsonSchema(calculator.parameters), execute: async () => '-230' }) },
  });
  check(called.steps.length === 2 && called.text.includes('-230'), `tools: ${JSON.stringify(called.steps.map((step) => step.toolCalls))} ${called.text}`);
  const error = await refused('a temperature', generateText({ model, temperature: 1000, prompt: 'x', maxRetries: 0 }));
  check(error.statusCode === 400 && /temperature/.test(error.message), String(error));
}

async function deepSeek(url) {
  const model = deep(url);
  const thinking = { providerOptions: { deepseek: { thinking: { type: 'enabled' }, logprobs: true } } };
  const ask = { model, system, prompt: 'What is 12 + 34?', ...thinking };
  const first = await generateText(ask);
  check(first.text.includes('46') && first.reasoningText.length > 3 && first.finishReason === 'stop', `${first.text} ${first.reasoningText}`);
  check(first.usage.outputTokenDetails.reasoningTokens > 3, JSON.stringify(first.usage));
  const stream = streamText(ask);
  let text = '';
  let reasoning = '';
  for await (const part of stream.fullStream) {
    if (part.type === 'text-delta') text += part.text;
    if (part.type === 'reasoning-delta') reasoning += part.text;
  }
  check(text === first.text && reasoning === first.reasoningText, `streamed: ${reasoning} ${text}`);
  // The prompt is the first one's again, so the cache has all of its whole blocks.
  const { promptCacheHitTokens: hit, promptCacheMissTokens: miss } = (await stream.providerMetadata).deepseek;
  const usage = await stream.usage;
  check(hit > 0 && miss > 0 && hit + miss === usage.inputTokens, `cache: ${hit} + ${miss} of ${usage.inputTokens}`);
  check(usage.inputTokenDetails.cacheReadTokens === hit && usage.outputTokens === first.usage.outputTokens, JSON.stringify(usage));
  const called = await generateText({
    model: deep(url, '/beta'), temperature: 0, system, prompt: 'What is 1377 - 1607?', stopWhen: stepCountIs(2),
    tools: { calculator: tool({ description: calculator.description, inputSchema: jsonSchema({ ...calculator.parameters, additionalProperties: false }), strict: true, execute: async () => '-230' }) },
  });
  check(called.steps[0].toolCalls[0]?.input.expression.replaceAll(' ', '') === '1377-1607', JSON.stringify(called.steps[0].toolCalls));
  check(called.steps.length === 2 && called.text.includes('-230'), `tools: ${called.text}`);
  const object = await generateText({ model, temperature: 0, prompt: 'Answer with JSON.', output: Output.json(), maxOutputTokens: 300 });
  check(object.finishReason === 'length' || typeof object.output === 'object', String(object.text));
  const error = await refused('a temperature', generateText({ model, temperature: 1000, prompt: 'x', maxRetries: 0 }));
  check(error.statusCode === 400 && /temperature/.test(error.message), String(error));
}

async function langChain(url) {
  const model = langchain(url);
  const whole = await model.invoke('Hello!');
  check(whole.content === 'Hello! How can I help you?' && whole.usage_metadata.output_tokens > 3, String(whole.content));
  let text = '';
  for await (const chunk of await model.stream('Hello!')) text += chunk.content;
  check(text === whole.content, `streamed: ${text}`);
  const bound = model.bindTools([{ type: 'function', function: calculator }]);
  const messages = [new SystemMessage(system), new HumanMessage('What is 1377 - 1607?')];
  const first = await bound.invoke(messages);
  check(first.tool_calls?.[0]?.name === 'calculator', JSON.stringify(first.tool_calls));
  const second = await bound.invoke([...messages, first, new ToolMessage({ content: '-230', tool_call_id: first.tool_calls[0].id })]);
  check(String(second.content).includes('-230'), String(second.content));
  check((await refused('a key', langchain(url, { apiKey: 'wrong' }).invoke('x'))).status === 401, 'a wrong key');
}

await main(process.argv[2], [aiSdk, deepSeek, langChain]);
