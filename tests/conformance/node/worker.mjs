// Runs calls of official SDKs as a user's program would: one JSON object a line in, what the SDK showed a line out.
// Nothing here knows of a gateway but the environment; Node's own fetch reads no proxy variable, hence undici's agent.

import { createInterface } from "node:readline";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { AzureOpenAI } from "openai";
import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

setGlobalDispatcher(new EnvHttpProxyAgent());

const GIVE_UP_MS = 400;
const clients = new Map();

function kept(key, make) {
  if (!clients.has(key)) clients.set(key, make());
  return clients.get(key);
}

// Join a stream's text; of a call that is abandoned, take one piece and go.
async function read(call, stream, text) {
  let all = "";
  for await (const piece of stream) {
    all += text(piece) ?? "";
    if (call.abort) {
      stream.controller.abort();
      break;
    }
  }
  return all;
}

const ENDINGS = ["/chat/completions", "/completions", "/responses", "/embeddings", "/moderations"];

async function openai(call) {
  const { url, model, text, stream } = call;
  const ending = ENDINGS.find((end) => url.endsWith(end));
  const azure = url.includes("/openai/deployments/") || (url.includes(".azure.com/openai/") && !url.includes("/openai/v1/"));
  const base = azure ? url.slice(0, url.indexOf("/openai/")) : url.slice(0, -ending.length);
  const client = kept(`openai ${base} ${azure}`, () =>
    azure
      ? new AzureOpenAI({ apiKey: "azure-test-EXAMPLE", endpoint: base, apiVersion: "2024-10-21" })
      : new OpenAI({ apiKey: "sk-test-EXAMPLE", baseURL: base }),
  );
  const options = { maxRetries: call.retries, ...(call.abort && !stream ? { timeout: GIVE_UP_MS } : {}) };
  if (ending === "/chat/completions") {
    const asked = await client.chat.completions.create({ model, messages: [{ role: "user", content: text }], stream }, options);
    return stream ? read(call, asked, (c) => c.choices[0]?.delta?.content) : asked.choices[0].message.content;
  }
  if (ending === "/responses") {
    const asked = await client.responses.create({ model, input: text, stream }, options);
    return stream ? read(call, asked, (e) => (e.type === "response.output_text.delta" ? e.delta : "")) : asked.output_text;
  }
  if (ending === "/completions") {
    const asked = await client.completions.create({ model, prompt: text, stream }, options);
    return stream ? read(call, asked, (c) => c.choices[0]?.text) : asked.choices[0].text;
  }
  if (ending === "/embeddings") return String((await client.embeddings.create({ model, input: text }, options)).data.length);
  return String((await client.moderations.create({ model, input: text }, options)).results.length);
}

async function anthropic(call) {
  const { url, model, text, stream } = call;
  const counts = url.endsWith("/count_tokens");
  const base = url.slice(0, url.lastIndexOf("/v1/messages"));
  const client = kept(`anthropic ${base}`, () => new Anthropic({ apiKey: "sk-ant-test-EXAMPLE", baseURL: base }));
  const options = { maxRetries: call.retries, ...(call.abort && !stream ? { timeout: GIVE_UP_MS } : {}) };
  const messages = [{ role: "user", content: text }];
  if (counts) return String((await client.messages.countTokens({ model, messages }, options)).input_tokens);
  const asked = await client.messages.create({ model, max_tokens: 100, messages, stream }, options);
  if (stream) return read(call, asked, (e) => (e.type === "content_block_delta" ? e.delta.text : ""));
  return asked.content.map((block) => block.text ?? "").join("");
}

const RUN = { "openai-node": openai, "anthropic-node": anthropic };

for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  let answer;
  try {
    answer = { text: await RUN[call.sdk](call), status: 200 };
  } catch (error) {
    answer = { raised: error.constructor.name, status: error.status ?? 0, code: String(error.code ?? "") };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
