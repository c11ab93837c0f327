// What applications are built with: Vercel's AI SDK and LangChain. Called as  node frameworks.mjs FERRY
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';
import { calculator, check, main, refused, system } from './server.mjs';

const vercel = (url) => createOpenAICompatible({ name: 'ferry', baseURL: `${url}/v1`, apiKey: 'secret', includeUsage: true })('demo');
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

await main(process.argv[2], [aiSdk, langChain]);
