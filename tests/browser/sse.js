// Subscribes with npm's graphql-sse in a real browser, while the server is restarted. Run by
// tests/it/sse.rs.

const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [origin, executablePath] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
// The build for pages without a bundler.
const LIBRARY = path.join(require.resolve("graphql-sse/package.json"), "../umd/graphql-sse.js");
const QUERY = `subscription($after: String) { inboxEvents(after: $after) {
  ... on TicketEvent { cursor }
  ... on CommentAdded { comment { body } }
  ... on Checkpoint { cursor } } }`;

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to do something; returns its answer. */
async function ask(...words) {
  console.log(`>${words.join("\t")}`);
  return (await lines.next()).value;
}

/** Runs in the page. */
function watch({ token, query }) {
  const variables = { after: null };
  const client = window.graphqlSse.createClient({
    url: "/graphql",
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: Infinity,
    retry: () => new Promise((resolve) => setTimeout(resolve, 100)),
  });
  window.seen = [];
  client.subscribe(
    { query, variables },
    {
      next: ({ data, errors }) => {
        if (errors) window.seen.push(errors[0].extensions.code);
        const message = data?.inboxEvents;
        if (message?.comment) window.seen.push(message.comment.body);
        variables.after = message?.cursor ?? variables.after;
        window.live = true;
      },
      error: (error) => window.seen.push(`failed: ${error}`),
      complete: () => window.seen.push("complete"),
    },
  );
}

async function visit() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    // The page's Content-Security-Policy would block the library.
    const context = await browser.newContext({ bypassCSP: true });
    const page = await context.newPage();
    await page.goto(`${origin}healthz`);
    await page.addScriptTag({ path: LIBRARY });
    const seen = (...expected) =>
      page.waitForFunction((all) => JSON.stringify(window.seen) === all, JSON.stringify(expected));
    await page.evaluate(watch, { token: await ask("token"), query: QUERY });
    await page.waitForFunction(() => window.live);
    await ask("comment", "one");
    await seen("one");
    await ask("kill");
    await ask("comment", "two");
    await ask("start");
    await ask("comment", "three");
    await seen("one", "two", "three");
    await ask("revoke");
    await seen("one", "two", "three", "UNAUTHENTICATED", "complete");
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
