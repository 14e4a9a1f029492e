// What the scripts of the portal share. tests/it/portal.rs runs them.

const assert = require("node:assert/strict");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [origin, executablePath, pictures, ...words] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
const PASSWORD = "ticketwire-demo";
const TIMEOUT = 30_000;
const CUSTOMER = "customer@demo.example";
const OTHER_CUSTOMER = "other-customer@demo.example";
const AGENT = "agent@demo.example";
const ADMIN = "admin@demo.example";

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test do something with the server or its connections. */
async function ask(command) {
  console.log(`>${command}`);
  assert.equal((await answers.next()).value, "done");
}

/** Calls until the result is true. What it looks at takes time, so this does not spin. */
async function until(look, message) {
  const deadline = Date.now() + TIMEOUT;
  while (!(await look())) assert.ok(Date.now() < deadline, message ?? look.toString());
}

/** Waits until an element has the focus. */
async function hasFocus(locator) {
  const look = async () => (await locator.count()) === 1 && locator.evaluate((element) => element === document.activeElement);
  await until(look, `${locator} has the focus`);
}

/** Waits until the page has shown what its scripts have changed so far. */
function painted(page) {
  return page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

/** Reloads the page. Returns whether the browser asks first; if it does, the page stays. */
async function asksBeforeAReload(page) {
  const asked = page.waitForEvent("dialog").then(async (dialog) => (await dialog.dismiss(), true));
  const loaded = page.waitForEvent("load").then(() => false);
  await page.evaluate(() => void setTimeout(() => location.reload()));
  return Promise.race([asked, loaded]);
}

/** A person who uses the API beside the browser. */
class Person {
  static async signIn(email) {
    const person = new Person();
    const document = `mutation($i: SignInInput!) { signIn(input: $i) { session { token account { id } } } }`;
    const { session } = (await person.call(document, { i: { email, password: PASSWORD } })).signIn;
    return Object.assign(person, { token: session.token, id: session.account.id });
  }

  async call(query, variables = {}) {
    const headers = { "content-type": "application/json", ...(this.token && { authorization: `Bearer ${this.token}` }) };
    const send = async () => (await fetch(`${origin}graphql`, { method: "POST", headers, body: JSON.stringify({ query, variables }) })).json();
    let answer = null;
    // A query can be repeated if the script has just cut its line.
    if (!query.startsWith("mutation")) await until(async () => (answer = await send().catch(() => null)) !== null);
    const { data, errors } = answer ?? (await send());
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  /** Calls a mutation with an input, which must succeed. */
  async mutate(name, input, fields = "") {
    const type = `${name[0].toUpperCase()}${name.slice(1)}Input`;
    const data = await this.call(`mutation($i: ${type}!) { ${name}(input: $i) { ${fields} userErrors { code field } } }`, { i: input });
    assert.deepEqual(data[name].userErrors, []);
    return data[name];
  }

  async openTicket(summary, description = "Since this morning.", more = {}) {
    const { categories } = await this.call("{ categories { id slug } }");
    const input = { categoryId: categories.find(({ slug }) => slug === "technical-support").id, summary, description, ...more };
    return (await this.mutate("createTicket", input, "ticket { id number }")).ticket;
  }

  /** Continues a closed ticket. */
  followUp(ticket, summary) {
    return this.openTicket(summary, undefined, { followUpToId: ticket.id });
  }

  comment(ticket, body) {
    return this.mutate("addComment", { ticketId: ticket.id, body }, "comment { id }");
  }

  /** Returns the comments of a ticket, oldest first. */
  async comments(ticket) {
    const document = `query($n: String!) { ticket(number: $n) { timeline(last: 100) { nodes {
      ... on CommentAdded { actor { id } comment { id body attachments { name } } } } } } }`;
    const data = await this.call(document, { n: ticket.number });
    return data.ticket.timeline.nodes.filter(({ comment }) => comment).map(({ actor, comment }) => ({ author: actor.id, ...comment }));
  }

  async bodies(ticket) {
    return (await this.comments(ticket)).map(({ body }) => body);
  }

  /** Returns the tickets that the person has opened, newest first. */
  async tickets() {
    const document = "query($r: ID!) { tickets(first: 100, filter: { reporterId: $r }) { nodes { id number summary description } } }";
    return (await this.call(document, { r: this.id })).tickets.nodes;
  }
}

const problems = [];

/** Opens a browser in which a person is signed in, at a page. */
async function visit(browser, { email = CUSTOMER, path = "", isStrict = false, ...options } = {}) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  context.setDefaultTimeout(TIMEOUT);
  context.on("page", (page) => listen(page, isStrict));
  const page = await context.newPage();
  await page.goto(origin + path);
  await signIn(page, email);
  return page;
}

function listen(page, isStrict) {
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    const isProblem = ["error", "warning"].includes(message.type());
    // Scripts that take the network away make the browser itself complain.
    if (isProblem && (isStrict || !/Failed to load resource|WebSocket connection|ERR_/.test(message.text()))) problems.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (!["data:", "blob:"].includes(protocol) && host !== new URL(origin).host) problems.push(request.url());
  });
}

async function signIn(page, email) {
  // The page before can have fields for addresses and passwords too.
  await page.locator("input[autocomplete=username]").fill(email);
  await page.locator("input[autocomplete=current-password]").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await page.locator("header nav").waitFor();
}

/** Whether a request contains a text, such as the name of an operation. */
const mentions = (request, text) => (request.postData() ?? "").includes(text);

/** Has requests of a kind wait. Returns what lets them go. */
async function hold(page, isOfKind) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route("**/graphql", async (route) => {
    if (isOfKind(route.request())) await released;
    await route.continue();
  });
  return release;
}

/** Passes a mutation on and loses the answer, as a cut line does. */
async function loseAnswer(page, name) {
  await page.route("**/graphql", async (route) => {
    if (!mentions(route.request(), `mutation ${name}`)) return route.fallback();
    await route.fetch();
    return route.abort();
  });
}

/** Passes requests of a kind on and keeps their answers. Returns what lets each of them go, as it comes. */
async function holdAnswers(page, isOfKind) {
  const answers = [];
  await page.route("**/graphql", async (route) => {
    if (!isOfKind(route.request())) return route.fallback();
    const response = await route.fetch();
    return answers.push(() => route.fulfill({ response }));
  });
  return answers;
}

/** Follows the streams of the pages that are loaded next. Returns what ends the last one of a field with an error. */
async function controlStreams(page) {
  const streams = [];
  await page.context().routeWebSocket(/\/graphql$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      const { type, id, payload } = JSON.parse(message);
      if (type === "subscribe") streams.push({ id, query: payload.query, socket });
      server.send(message);
    });
  });
  return async (field) => {
    const find = () => streams.findLast(({ query }) => query.includes(`${field}(`));
    await until(async () => (await page.evaluate(() => true)) && find() !== undefined, `${field} is followed`);
    const { id, socket } = find();
    socket.send(JSON.stringify({ id, type: "error", payload: [{ message: "refused", extensions: { code: "FORBIDDEN" } }] }));
    await page.getByText("You may not do this.").waitFor();
  };
}

/** Runs a script in a browser; a failure leaves a picture of each open page. */
function main(name, run) {
  const script = async () => {
    const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
    try {
      await run(browser);
      assert.deepEqual(problems, [], "the pages report no problems");
    } catch (error) {
      const pages = browser.contexts().flatMap((context) => context.pages());
      for (const [index, page] of pages.entries()) {
        await page.screenshot({ path: `${pictures}/${name}-failed-${index}.png`, timeout: 5_000 }).catch(() => {});
      }
      throw error;
    } finally {
      await browser.close();
    }
  };
  script().then(
    () => process.exit(0),
    (error) => {
      console.error(error, { problems });
      process.exit(1);
    },
  );
}

module.exports = { ADMIN, AGENT, ask, asksBeforeAReload, assert, controlStreams, CUSTOMER, hasFocus, hold, holdAnswers, loseAnswer, main, mentions, origin, OTHER_CUSTOMER, painted, PASSWORD, Person, pictures, problems, signIn, until, visit, words };
