// Calls servers of other origins from a page, in a real browser. Run by tests/it/origins.rs.

const assert = require("node:assert/strict");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [page, executablePath] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(word) {
  console.log(`>${word}`);
  return (await lines.next()).value;
}

/** Runs in the page: tries a query, an event stream and a websocket; returns what happened. */
async function call({ address, token }) {
  const read = async (accept, query) => {
    const response = await fetch(`http://${address}/graphql`, {
      method: "POST",
      headers: {
        accept,
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "last-event-id": "",
      },
      body: JSON.stringify({ query }),
    });
    // A heartbeat may come at any time, also between the two events.
    const text = (await response.text()).replaceAll(/^:\n\n/gm, "");
    return `${response.headers.has("x-request-id")} ${text}`;
  };
  const refused = () => "refused";
  const query = await read("application/json", "{ viewer { name } }").catch(refused);
  const events = await read("text/event-stream", "{ viewer { name } }").catch(refused);
  const socket = await new Promise((resolve) => {
    const opened = new WebSocket(`ws://${address}/graphql`, "graphql-transport-ws");
    opened.onopen = () => resolve("open");
    opened.onerror = () => resolve("refused");
  });
  return { query, events, socket };
}

async function visit() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const tab = await browser.newPage();
    await tab.goto(page);
    const token = await ask("token");
    const answer = '{"data":{"viewer":{"name":"Anna"}}}';
    assert.deepEqual(await tab.evaluate(call, { address: await ask("open"), token }), {
      query: `true ${answer}`,
      events: `true event: next\ndata: ${answer}\n\nevent: complete\ndata:\n\n`,
      socket: "open",
    });
    assert.deepEqual(await tab.evaluate(call, { address: await ask("closed"), token }), {
      query: "refused",
      events: "refused",
      socket: "refused",
    });
  } finally {
    await browser.close();
  }
}

visit().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
