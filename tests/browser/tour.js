// Takes the tour of the playground by clicks, in a real browser. Run by tests/it/playground.rs, which
// starts and stops the server when the script asks for it.

const assert = require("node:assert/strict");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [origin, executablePath, pictures] = process.argv.slice(2);
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const TIMEOUT = 30_000;

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to do something with the server, and waits until it is done. */
async function ask(command, ...words) {
  console.log([`>${command}`, ...words].join("\t"));
  const { value, done } = await answers.next();
  assert.ok(!done && value === "done", `the test answered ${value} to ${command}`);
}

const problems = [];
const foreignRequests = [];
let isServerDown = false;

/** Records errors and warnings of the page, and requests to other origins. */
function listen(page) {
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    // The browser itself reports failed connections.
    if (isServerDown && /ERR_CONNECTION_REFUSED|WebSocket connection/.test(message.text())) return;
    problems.push(message.text());
  });
  const checkOrigin = (url) => {
    const { protocol, host } = new URL(url);
    if (!["data:", "blob:"].includes(protocol) && host !== new URL(origin).host) foreignRequests.push(url);
  };
  page.on("response", async (response) => {
    if (response.status() >= 400) problems.push(`${response.url()}: ${await response.text()}`);
  });
  page.on("request", (request) => checkOrigin(request.url()));
  page.on("websocket", (socket) => checkOrigin(socket.url()));
}

/** Returns the text of an editor of GraphiQL, which draws only the lines that are in view. */
const content = (page, place) =>
  page.evaluate((place) => document.querySelector(`${place} .CodeMirror`).CodeMirror.getValue(), place);
const variables = (page) => content(page, ".graphiql-editor-tool");

/** Waits until an editor contains a text. Playwright's own waitForFunction calls `eval`, which the
    page's Content-Security-Policy forbids. */
const waitForText = (page, place, expected) =>
  page.evaluate(
    ([place, expected, timeout]) =>
      new Promise((resolve, reject) => {
        const deadline = performance.now() + timeout;
        const check = () => {
          const text = document.querySelector(`${place} .CodeMirror`)?.CodeMirror.getValue();
          if (text?.includes(expected)) return resolve();
          if (performance.now() < deadline) return requestAnimationFrame(check);
          reject(new Error(`${place} has no ${expected}, but: ${text}`));
        };
        check();
      }),
    [place, expected, TIMEOUT],
  );

/** Opens a tab. */
async function openTab(page, name) {
  const tab = page.locator(".graphiql-tab", { has: page.getByText(name, { exact: true }) });
  await tab.locator(".graphiql-tab-button").click();
  await page.locator(".graphiql-tab-active", { hasText: name }).waitFor();
}

/** Opens a tab, presses play, and waits until the response contains a text. */
async function play(page, name, expected) {
  await openTab(page, name);
  await page.locator(".graphiql-execute-button").click();
  await waitForText(page, ".result-window", expected);
}

/** Waits until GraphiQL has saved its tabs for a reload, which it does with a delay. */
async function waitUntilStored(page, tabs) {
  const stored = () => JSON.parse(sessionStorage.getItem("graphiql:tabState")).tabs.length;
  while ((await page.evaluate(stored)) !== tabs) {
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

/** The stream's events in the list at the bottom, newest first. */
const events = (page) => page.locator("#live li").allInnerTexts();
const event = (page, text) => page.locator("#live li", { hasText: text });
const signedInAs = (page, name) => page.locator("#who", { hasText: name }).waitFor();

async function open(browser, colorScheme) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme });
  page.setDefaultTimeout(TIMEOUT);
  listen(page);
  await page.goto(origin);
  await waitForText(page, ".graphiql-query-editor", "mutation SignIn");
  await page.locator("#link.open").waitFor();
  return page;
}

/** Where the tabs are. A click must not miss them because something above them comes or goes. */
const placeOfTabs = async (page) => (await page.locator(".graphiql-tab-active").boundingBox()).y;

async function runOperations(page) {
  const place = await placeOfTabs(page);
  const titles = await page.locator(".graphiql-tab-button").allInnerTexts();
  assert.equal(titles.length, 30, titles.join());
  await play(page, "MyTickets", "UNAUTHENTICATED");
  await page.locator("#notice-session", { hasText: "needs a session" }).waitFor();
  assert.equal(await placeOfTabs(page), place, "a notice moves nothing");

  await play(page, "SignIn", '"token": "tw_');
  await signedInAs(page, "Anna Petrova");
  const stored = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage)]);
  assert.ok(stored[0].includes("tw_") && !stored[1].includes("tw_"), "the token is stored for this tab only");

  await openTab(page, "Comment");
  const before = await variables(page);
  await play(page, "OpenTicket", '"number": "CS-');
  const { id, number } = JSON.parse(await content(page, ".result-window")).data.createTicket.ticket;
  await page.locator("#ticket", { hasText: number }).waitFor();
  assert.equal(await placeOfTabs(page), place, "neither do the session and the ticket in the header");
  await play(page, "MyTickets", number);

  await play(page, "WatchTicket", "Checkpoint");
  const after = JSON.parse(await variables(page));
  assert.equal(after.ticketId, id, "the tabs use the new ticket");
  assert.ok(after.after, "`after` is the cursor of the checkpoint");
  await play(page, "Comment", '"addComment"');
  await waitForText(page, ".graphiql-editor-tool", id);
  assert.ok(!before.includes(id));
  await event(page, "right after the update of PHP").waitFor();
  // The stream has continued in the background, and `after` has advanced.
  await openTab(page, "WatchTicket");
  await waitForText(page, ".result-window", "right after the update of PHP");
  assert.notEqual(JSON.parse(await variables(page)).after, after.after);

  await play(page, "AsAgent", '"AGENT"');
  await signedInAs(page, "Marta Lindqvist");
  await play(page, "Queue", number);
  await page.locator("#live .stream", { hasText: "as Marta Lindqvist" }).locator(".live").waitFor();
  await play(page, "Answer", "WORKING_ON_IT");
  await play(page, "InternalNote", '"INTERNAL"');
  await event(page, "(internal)").waitFor();
  await play(page, "SetStatus", "WAITING_FOR_CUSTOMER");
  await event(page, "PriorityChanged").waitFor();
  await openTab(page, "WatchTicket");
  await page.screenshot({ path: `${pictures}/playground.png` });

  await play(page, "AsCustomer", '"CUSTOMER"');
  await page.locator("#live .stream", { hasText: "as Anna Petrova" }).waitFor();
  await play(page, "CustomerView", "I am looking at the server now");
  const seen = await content(page, ".result-window");
  assert.ok(!seen.includes("memory limit") && !seen.includes("INTERNAL"), seen);
  assert.ok(!(await page.locator("#live").innerText()).includes("memory limit"), "the customer does not see an agent's stream");
  return { id, number };
}

/** Reads the mails that the tour has caused, and unsubscribes by a link in one. */
async function readMailbox(page, number) {
  const [mailbox] = await Promise.all([page.waitForEvent("popup"), page.locator("#mailbox").click()]);
  listen(mailbox);
  await mailbox.waitForLoadState();
  const deadline = performance.now() + TIMEOUT;
  while ((await mailbox.getByText(`Re: [${number}]`).count()) === 0) {
    assert.ok(performance.now() < deadline, await mailbox.content());
    await mailbox.reload();
  }
  await mailbox.screenshot({ path: `${pictures}/mailbox.png` });
  await mailbox.getByText(`Re: [${number}]`).first().click();
  await mailbox.frameLocator("iframe").getByText("This ticket has been updated.").waitFor();
  await mailbox.screenshot({ path: `${pictures}/mail.png`, fullPage: true });
  const link = mailbox.frameLocator("iframe").getByText("Unsubscribe from this ticket");
  const [unsubscribe] = await Promise.all([mailbox.waitForEvent("popup"), link.click()]);
  await unsubscribe.getByRole("button", { name: "Unsubscribe" }).click();
  await unsubscribe.getByText(`You have unsubscribed from ticket ${number}`, { exact: true }).waitFor();
  await unsubscribe.close();
  await mailbox.close();
}

/** Kills the server, posts a comment at another node, restarts it: the stream resumes. */
async function restartServer(page, id) {
  await page.locator(".stream", { hasText: "as Anna Petrova" }).locator(".live").waitFor();
  await event(page, "Checkpoint").first().waitFor();
  isServerDown = true;
  await ask("kill");
  await page.locator("#notice-link", { hasText: "The server is not responding" }).waitFor();
  await page.locator("#link.lost").waitFor();
  await page.screenshot({ path: `${pictures}/lost.png` });
  await play(page, "MyTickets", "The server is not responding");
  await ask("meanwhile", id, "Said while the server was away");
  await ask("start");
  await page.locator("#link.open").waitFor();
  await event(page, "Said while the server was away").waitFor();
  isServerDown = false;
  await page.locator("#notice-link").waitFor({ state: "detached" });
  await play(page, "Comment", '"addComment"');
  await event(page, "right after the update of PHP").first().waitFor();
  const lines = (await events(page)).map((line) => line.replace(/^\S+( [AP]M)?\s+/, ""));
  const comments = lines.filter((line) => line.startsWith("CommentAdded"));
  assert.equal(comments.length, 2, `every comment arrives once:\n${lines.join("\n")}`);
}

/** Revokes the session while the page is open. */
async function endSession(page) {
  const token = await page.evaluate(() => JSON.parse(sessionStorage.getItem("ticketwire:session")).token);
  await ask("revoke", token);
  await page.locator("#notice-session", { hasText: "The session of Anna Petrova has ended" }).waitFor();
  await page.locator("#live .state", { hasText: "waiting for a session" }).waitFor();
  await page.screenshot({ path: `${pictures}/ended.png` });
  await page.getByRole("button", { name: "Sign in again as Anna Petrova" }).click();
  await signedInAs(page, "Anna Petrova");
  await page.locator("#notice-session").waitFor({ state: "detached" });
  await page.locator("#live .state.live").waitFor();
}

/** Stops a stream by hand: it ends, and resumes after its cursor. */
async function stopStream(page) {
  await openTab(page, "WatchTicket");
  const { after } = JSON.parse(await variables(page));
  await page.locator('.graphiql-execute-button[aria-label^="Stop"]').click();
  await page.locator("#live").waitFor({ state: "hidden" });
  await play(page, "Comment", '"addComment"');
  await play(page, "WatchTicket", "right after the update of PHP");
  assert.notEqual(JSON.parse(await variables(page)).after, after);
  await page.locator(".graphiql-tab-active .graphiql-tab-close").click();
  await page.locator("#live").waitFor({ state: "hidden" });
}

/** Switches the account with one click and signs out with another; a reload keeps the session. */
async function switchAccounts(page) {
  await page.getByRole("button", { name: "Ilya · admin" }).click();
  await signedInAs(page, "Ilya Sokolov");
  const tabs = await page.locator(".graphiql-tab").count();
  await waitUntilStored(page, tabs);
  await page.reload();
  await signedInAs(page, "Ilya Sokolov");
  await page.locator("#link.open").waitFor();
  await page.locator(".graphiql-tab-active").waitFor();
  assert.equal(await page.locator(".graphiql-tab").count(), tabs, "the reload keeps the tabs");
  await play(page, "MyTickets", "admin@demo.example");
  await page.locator("#sign-out").click();
  await signedInAs(page, "Not signed in");
  await play(page, "MyTickets", "UNAUTHENTICATED");
}

/** Opens GraphiQL's panels, which must obey the page's Content-Security-Policy too. */
async function openDocs(page) {
  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).click();
  await page.locator(".graphiql-doc-explorer", { hasText: "Opens a ticket." }).waitFor();
  await page.getByRole("button", { name: "Open settings dialog" }).click();
  await page.locator(".graphiql-dialog").getByRole("button", { name: "Light" }).click();
  await page.locator("body.graphiql-light").waitFor();
  await page.locator(".graphiql-dialog").getByRole("button", { name: "System" }).click();
  await page.keyboard.press("Escape");
  await page.locator(".graphiql-dialog").waitFor({ state: "detached" });
  await page.screenshot({ path: `${pictures}/dark.png` });
}

async function tour() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const page = await open(browser, "light");
    const { id, number } = await runOperations(page);
    await readMailbox(page, number);
    await restartServer(page, id);
    await endSession(page);
    await stopStream(page);
    await switchAccounts(page);
    await page.close();
    await openDocs(await open(browser, "dark"));
    assert.deepEqual(problems, [], "the page reports no problems");
    assert.deepEqual(foreignRequests, [], "the page sends no requests to other origins");
  } finally {
    await browser.close();
  }
}

tour().then(
  () => process.exit(0),
  (error) => {
    console.error(error, { problems, foreignRequests });
    process.exit(1);
  },
);
