// Kept answers with the official library: polled, cut off and resumed, cancelled, continued, deleted.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8080/v1", apiKey: "any", maxRetries: 0 });
const asked = { model: "fast", input: "Say hello.", background: true };
const say = (what, said) => console.log(`${what}: ${said}`);

async function ended(id) {
  for (;;) {
    const got = await client.responses.retrieve(id);
    if (!["queued", "in_progress"].includes(got.status)) return got;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const queued = await client.responses.create(asked);
say("created", queued.status);
const polled = await ended(queued.id);
say("polled", polled.output_text);

const seen = [];
const stream = await client.responses.create({ ...asked, input: "Say it again.", stream: true });
for await (const event of stream) {
  seen.push(event);
  if (event.type === "response.output_text.delta") break;
}
const id = seen[0].response.id;
const after = seen.at(-1).sequence_number;
const rest = [];
for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: after })) {
  rest.push(event);
}
say("resumed", [...seen, ...rest].every((event, place) => event.sequence_number === place));
say("ended", rest.at(-1).response.output_text ?? rest.at(-1).response.output.at(-1).content[0].text);
const helped = client.responses.stream({ response_id: id, starting_after: after });
say("stream", (await helped.finalResponse()).output_text);

const next = await client.responses.create({ model: "fast", input: "And now?", previous_response_id: id });
say("continued", next.previous_response_id === id);
const items = [];
for await (const item of client.responses.inputItems.list(next.id, { order: "asc", limit: 1 })) items.push(item);
say("items", items.map((item) => item.content[0].text).join(" | "));

say("cancelled", (await client.responses.cancel(id)).status);
await client.responses.delete(id);
say("deleted", await client.responses.retrieve(id).catch((error) => error.status));
