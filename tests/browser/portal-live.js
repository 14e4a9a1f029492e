// A page never shows the past as the present: after a restart of the server, a line that died silently,
// sleep and an upgrade, it says that it is behind, and then shows exactly what was missed.

const { ADMIN, AGENT, ask, assert, controlStreams, CUSTOMER, hold, holdAnswers, main, mentions, origin, OTHER_CUSTOMER, painted, Person, signIn, until, visit } = require("./portal-lib");

const field = (page) => page.getByLabel("Add a comment");
const lost = (page) => page.getByText("The connection is lost.");

/** What a page's websockets do: pass on, be refused, or swallow what the server says. */
async function controlLine(page) {
  const line = { isRefused: false, isSilent: false, opened: 0 };
  await page.context().routeWebSocket(/\/graphql$/, (socket) => {
    line.opened += 1;
    if (line.isRefused) return socket.close();
    const server = socket.connectToServer();
    const number = line.opened;
    server.onMessage((message) => {
      // The line is dead without anybody having been told.
      if (line.isSilent && number <= line.silentUpTo && !/"type":"pong"/.test(message)) return;
      socket.send(message);
    });
    return undefined;
  });
  return line;
}

async function openTicket(browser, anna, summary) {
  const ticket = await anna.openTicket(summary);
  const context = { line: null };
  const page = await visit(browser, { path: "account" });
  context.line = await controlLine(page);
  await page.goto(`${origin}tickets/${ticket.number}`);
  await field(page).waitFor();
  return { ticket, page, line: context.line };
}

async function shown(page, texts) {
  for (const text of texts) await page.getByText(text, { exact: true }).first().waitFor();
  const bodies = await page.locator("article .body").allInnerTexts();
  assert.deepEqual(bodies.filter((body) => texts.includes(body)), texts, "each once, in order");
}

async function resumesAfterARestart(browser, { anna, marta }) {
  const { ticket, page, line } = await openTicket(browser, anna, "Restart");
  await marta.comment(ticket, "Before");
  await shown(page, ["Before"]);
  await ask("kill");
  await lost(page).waitFor();
  await field(page).fill("Written while the server is away");
  line.isRefused = true;
  await ask("start");
  for (const body of ["One", "Two", "Three"]) await marta.comment(ticket, body);
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "WAITING_FOR_CUSTOMER" });
  assert.equal(await page.getByText("Two", { exact: true }).count(), 0);
  assert.ok(await lost(page).isVisible(), "it does not hide that it is behind");
  line.isRefused = false;
  await shown(page, ["Before", "One", "Two", "Three"]);
  await page.locator("strong.status", { hasText: "Waiting for you" }).waitFor();
  await lost(page).waitFor({ state: "detached" });
  // The status can be on the page before its event has arrived.
  await page.locator("[role=log] p", { hasText: "“Waiting for you”" }).first().waitFor({ state: "attached" });
  assert.equal(await field(page).inputValue(), "Written while the server is away");
  // A screen reader hears each once.
  const spoken = await page.locator("[role=log] p").allInnerTexts();
  const said = spoken.filter((text) => text.includes(" wrote: ")).map((text) => text.split(": ")[1]);
  assert.deepEqual(said, ["Before", "One", "Two", "Three"]);
  assert.equal(spoken.filter((text) => text.includes("“Waiting for you”")).length, 1);
  await page.context().close();
}

async function saysWhatOthersHaveDone(browser, { anna, marta, ilya }) {
  const { ticket, page } = await openTicket(browser, anna, "Changed by others");
  const log = page.locator("[role=log]");
  await page.locator("input[type=file]").setInputFiles([{ name: "log.txt", mimeType: "text/plain", buffer: Buffer.from("log") }]);
  await page.getByRole("button", { name: "Remove log.txt" }).waitFor();
  await field(page).fill("See the file.");
  await page.getByRole("button", { name: "Post comment" }).click();
  await page.getByRole("link", { name: "log.txt" }).waitFor();
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "WORKING_ON_IT" });
  await log.filter({ hasText: "set the status to “Working on it”" }).waitFor({ state: "attached" });
  const document = "query($n: String!) { ticket(number: $n) { timeline(last: 9) { nodes { ... on CommentAdded { comment { attachments { id } } } } } } }";
  const { nodes } = (await anna.call(document, { n: ticket.number })).ticket.timeline;
  const [{ id: attachmentId }] = nodes.find(({ comment }) => comment).comment.attachments;
  await ilya.mutate("redactAttachment", { attachmentId });
  await log.filter({ hasText: "removed a file" }).waitFor({ state: "attached" });
  assert.equal(await log.getByText("See the file.").count(), 0, "nobody hears what they wrote themselves");
  await page.context().close();
}

async function reconnectsAfterSleep(browser, { anna, marta }) {
  const { ticket, page, line } = await openTicket(browser, anna, "Sleep");
  await marta.comment(ticket, "Before");
  await shown(page, ["Before"]);
  // The line is dead since the computer went to sleep, and nobody has noticed.
  Object.assign(line, { isSilent: true, silentUpTo: line.opened });
  for (const body of ["Asleep", "Still asleep"]) await marta.comment(ticket, body);
  await page.evaluate(() => document.dispatchEvent(new Event("resume")));
  await lost(page).waitFor();
  await shown(page, ["Before", "Asleep", "Still asleep"]);
  await page.context().close();
}

async function reconnectsRarelyIfThatDoesNotHelp(browser) {
  const page = await visit(browser, { path: "account" });
  const line = { opened: 0, closed: 0 };
  await page.context().routeWebSocket(/\/graphql$/, (socket) => {
    line.opened += 1;
    const server = socket.connectToServer();
    server.onMessage(async (message) => {
      socket.send(message);
      if (!message.includes("connection_ack")) return;
      // As a server that fails at a message whenever the page asks for it.
      await socket.close({ code: 1013 });
      line.closed += 1;
    });
  });
  await page.clock.install();
  await page.reload();
  await until(async () => {
    await page.clock.runFor(100);
    return line.closed === 6;
  });
  await lost(page).waitFor();
  // The pause is at least 7.5 seconds now.
  await page.clock.runFor(7_000);
  assert.equal(line.opened, 6);
  await page.context().close();
}

async function missesNoLineBetweenTwoSessions(browser) {
  const page = await visit(browser);
  // The socket of the first page may open late, and is not meant.
  await page.goto("about:blank");
  // Listens at once: the first frame may come with the news of the socket.
  const connected = new Promise((resolve) => page.once("websocket", (socket) => socket.once("framereceived", () => resolve(socket))));
  await page.goto(origin);
  const closed = (await connected).waitForEvent("close");
  await page.getByRole("button", { name: "Sign out" }).click();
  await closed;
  await page.evaluate(() => {
    const look = () => (window.wasLost ||= document.body.textContent.includes("The connection is lost."));
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
  await signIn(page, CUSTOMER);
  assert.ok(!(await page.evaluate(() => window.wasLost)));
  await page.context().close();
}

async function saysThatATicketIsLost(browser, { anna, jonas, marta }) {
  const ticket = await anna.openTicket("Shared for a while");
  const invited = await anna.mutate("inviteParticipant", { ticketId: ticket.id, email: OTHER_CUSTOMER }, "invitation { id }");
  const page = await visit(browser, { email: OTHER_CUSTOMER });
  await page.getByRole("button", { name: "Accept" }).click();
  await field(page).fill("I am about to say");
  await anna.mutate("removeParticipant", { ticketId: ticket.id, accountId: jonas.id });
  await page.getByRole("heading", { name: "You can no longer see this ticket." }).waitFor();
  assert.equal(await page.getByText("Since this morning.").count(), 0, "its content is gone");
  assert.equal(await field(page).inputValue(), "I am about to say");
  assert.ok(invited && marta);
  await page.goto(page.url());
  await page.getByText("There is no ticket").waitFor();
  await page.context().close();
}

async function showsATicketThatCameBackMeanwhile(browser, { anna, jonas, marta }) {
  const ticket = await anna.openTicket("Lost and found");
  const share = async () => {
    const { invitation } = await marta.mutate("inviteParticipant", { ticketId: ticket.id, email: OTHER_CUSTOMER }, "invitation { id }");
    await jonas.mutate("acceptInvitation", { invitationId: invitation.id });
  };
  await share();
  const page = await visit(browser, { email: OTHER_CUSTOMER, path: "account" });
  const line = await controlLine(page);
  await page.goto(`${origin}tickets/${ticket.number}`);
  await field(page).fill("I am about to say");
  await marta.comment(ticket, "Before");
  await shown(page, ["Before"]);
  Object.assign(line, { isSilent: true, silentUpTo: line.opened });
  await anna.mutate("removeParticipant", { ticketId: ticket.id, accountId: jonas.id });
  await marta.comment(ticket, "Not heard");
  await share();
  await page.evaluate(() => document.dispatchEvent(new Event("resume")));
  await shown(page, ["Before", "Not heard"]);
  await marta.comment(ticket, "After");
  await shown(page, ["Before", "Not heard", "After"]);
  assert.equal(await page.getByRole("heading", { name: "You can no longer see this ticket." }).count(), 0);
  assert.equal(await field(page).inputValue(), "I am about to say");
  await page.getByRole("button", { name: "Post comment" }).click();
  await shown(page, ["After", "I am about to say"]);
  await page.getByLabel("Details").getByText("Technical support").waitFor();

  // No event tells that it is back, so its reader is shown it again when they come back to the page.
  const gone = page.getByRole("heading", { name: "You can no longer see this ticket." });
  const said = page.locator("[role=log] p", { hasText: "You can see this ticket again." });
  const saidBefore = await said.count();
  const readInVain = page.waitForResponse((response) => mentions(response.request(), "query Ticket("));
  await anna.mutate("removeParticipant", { ticketId: ticket.id, accountId: jonas.id });
  await gone.waitFor();
  await (await readInVain).finished();
  await share();
  await until(async () => {
    await page.evaluate(() => window.dispatchEvent(new Event("focus")));
    return (await gone.count()) === 0;
  });
  await said.nth(saidBefore).waitFor({ state: "attached" });
  await marta.comment(ticket, "Found");
  await shown(page, ["After", "Found"]);
  await page.context().close();
}

async function movesListAndBell(browser, { anna, marta }) {
  const ticket = await anna.openTicket("In the list");
  const page = await visit(browser, { path: "tickets" });
  const row = page.getByRole("row", { name: /In the list/ });
  await row.getByText("Waiting for support").waitFor();
  await marta.comment(ticket, "An answer");
  await row.getByText("Working on it").waitFor();
  await row.getByText("Unread").first().waitFor();
  await page.getByRole("button", { name: /^Notifications, [1-9]/ }).click();
  await page.getByRole("link", { name: "New comment: In the list" }).click();
  await page.getByText("An answer").waitFor();
  await page.goBack();
  // Filters and order are in the address, and paging keeps its place.
  for (let count = 0; count < 45; count += 1) await anna.openTicket(`Number ${count}`);
  await page.getByLabel("Order").selectOption({ label: "Newest first" });
  await page.getByRole("link", { name: "Number 44", exact: true }).waitFor();
  // Until the answer is there, the list is of the filter before.
  const release = await hold(page, (request) => mentions(request, "query Tickets("));
  await page.getByLabel("Show").selectOption({ label: "Open" });
  await page.locator('table[aria-busy="true"]').waitFor();
  release();
  await page.locator('table[aria-busy="false"]').waitFor();
  await page.getByRole("link", { name: "Next" }).click();
  await page.getByRole("link", { name: "Number 24", exact: true }).waitFor();
  assert.match(page.url(), /order=created.*show=open.*after=|show=open.*order=created.*after=/);
  const link = page.getByRole("link", { name: "Number 10", exact: true });
  await link.scrollIntoViewIfNeeded();
  const place = await page.evaluate(() => scrollY);
  assert.ok(place > 0);
  await link.click();
  await field(page).waitFor();
  await page.goBack();
  await link.waitFor();
  await until(async () => (await page.evaluate(() => scrollY)) === place, "the list is where it was");
  await page.reload();
  await link.waitFor();
  await page.getByLabel("Order").selectOption({ label: "Lowest priority first" });
  assert.match(page.url(), /order=leastPriority/);
  await page.context().close();
}

async function missesNothingOfAListThatWasOvertaken(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Answered between two lists");
  // What is unread already does not change the count of unread tickets, which reads the list too.
  await marta.comment(ticket, "An answer");
  const page = await visit(browser, { path: "account" });
  const isList = (request) => mentions(request, "query Tickets(");
  let lists = 0;
  const answers = await holdAnswers(page, (request) => isList(request) && (lists += 1) <= 2);
  const read = (count) => until(async () => (await page.evaluate(() => true)) && answers.length === count, "the list is read");
  await page.getByRole("link", { name: "My tickets" }).click();
  await read(1);
  await page.getByLabel("Show").selectOption({ label: "Open" });
  await read(2);
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "WAITING_FOR_CUSTOMER" });
  // The stream begins after the first answer, and before the one that is shown.
  const follows = page.waitForResponse((response) => isList(response.request()));
  await answers[0]();
  await (await follows).finished();
  await painted(page);
  await answers[1]();
  await page.getByRole("row", { name: /Answered between two lists/ }).getByText("Waiting for you").waitFor();
  await page.context().close();
}

async function returnsToItsPlaceWhateverIsUnderWay(browser, { anna, marta }) {
  const tickets = [];
  for (let count = 0; count < 20; count += 1) tickets.push(await anna.openTicket(`Place ${count}`));
  await marta.comment(tickets[10], "Before");
  const page = await visit(browser, { path: "tickets?order=created" });
  const link = page.getByRole("link", { name: "Place 0", exact: true });
  await link.scrollIntoViewIfNeeded();
  const place = await page.evaluate(() => scrollY);
  assert.ok(place > 0);
  // The list is being read again when the reader leaves it, and the answer comes when they are back.
  const held = [];
  await page.route("**/graphql", (route) => (mentions(route.request(), "query Tickets(") ? held.push(route) : route.fallback()));
  const asked = (count) => until(async () => (await page.evaluate(() => true)) && held.length >= count, "the list is read");
  await marta.comment(tickets[10], "Meanwhile");
  await asked(1);
  await link.click();
  await field(page).waitFor();
  await page.goBack();
  await asked(2);
  const answered = page.waitForResponse((response) => response.request() === held[0].request());
  await held[0].continue();
  await (await answered).finished();
  await page.unroute("**/graphql");
  for (const route of held.slice(1)) await route.continue();
  await link.waitFor();
  await until(async () => (await page.evaluate(() => scrollY)) === place, "the list is where it was");
  await page.context().close();
}

async function reloadsQuietlyAfterAnUpgrade(browser, { anna }) {
  const { page, line } = await openTicket(browser, anna, "Upgrade");
  await field(page).fill("Kept over the upgrade");
  let loads = 0;
  page.on("load", () => (loads += 1));
  // The new server has the page under another name.
  await page.route(origin, async (route) => {
    // It may reuse a connection to the server that was killed. While there is none, a page is told so.
    const response = await route.fetch({ maxRetries: 3 }).catch(() => null);
    if (!response) return route.abort();
    return route.fulfill({ response, body: (await response.text()).replace(/\/assets\/portal-/, "/assets/portal-new-") });
  });
  const reconnect = async () => {
    line.isRefused = true;
    await ask("kill");
    await lost(page).waitFor();
    await ask("start");
    line.isRefused = false;
    await lost(page).waitFor({ state: "detached" });
  };
  const answered = page.waitForResponse(origin);
  await reconnect();
  await (await answered).finished();
  await painted(page);
  assert.equal(loads, 0, "nobody is interrupted");
  // The next page is one of the new portal.
  const loaded = page.waitForEvent("load");
  await page.getByRole("link", { name: "My tickets" }).click();
  await loaded;
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  await page.goBack();
  assert.equal(await field(page).inputValue(), "Kept over the upgrade");
  // A page that nobody writes on reloads at once.
  await page.evaluate(() => sessionStorage.removeItem("ticketwire:reloaded"));
  const reloaded = page.waitForEvent("load");
  await reconnect();
  await reloaded;
  await field(page).waitFor();
  assert.equal(await field(page).inputValue(), "Kept over the upgrade");
  await page.context().close();
}

async function loadsItsPartsAgain(browser) {
  const page = await visit(browser);
  // The part of the page is gone, and comes back with a reload.
  await page.context().route(/\/assets\/Account-.*\.js/, (route) => route.fulfill({ status: 404, body: "" }), { times: 1 });
  await page.reload();
  await page.getByRole("link", { name: "Account", exact: true }).click();
  await page.getByRole("heading", { name: "Sessions and devices" }).waitFor();
  await page.context().close();
}

async function reloadsRarelyIfThatDoesNotHelp(browser) {
  const page = await visit(browser);
  await page.context().route(/\/assets\/Account-.*\.js/, (route) => route.fulfill({ status: 404, body: "" }));
  await page.reload();
  let loads = 0;
  const reloaded = new Promise((resolve) => page.on("load", () => (loads += 1) === 3 && resolve()));
  await page.getByRole("link", { name: "Account", exact: true }).click();
  await reloaded;
  // The first pauses are below a second, later ones at least 7.5.
  await page.goto(new URL("/", page.url()).href);
  const row = await page.evaluate(() => sessionStorage.getItem("ticketwire:reloads"));
  assert.ok(parseInt(row) >= 3, row);
  await page.clock.install();
  await page.clock.pauseAt(new Date(Date.now() + 3_600_000));
  await page.evaluate(() => sessionStorage.setItem("ticketwire:reloads", `10 ${Date.now()}`));
  await page.getByRole("link", { name: "Account", exact: true }).click();
  await page.getByRole("alert").waitFor();
  await page.evaluate(() => (window.isOld = true));
  await page.clock.runFor(7_400);
  assert.equal(await page.evaluate(() => window.isOld), true);
  await page.context().close();
}

async function followsAgainAfterAFailure(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Fails once");
  const page = await visit(browser, { path: "account" });
  const refuse = await controlStreams(page);
  await page.goto(`${origin}tickets/${ticket.number}`);
  await marta.comment(ticket, "Before");
  await shown(page, ["Before"]);
  await refuse("ticketEvents");
  await marta.comment(ticket, "Missed");
  await page.getByRole("button", { name: "Try again" }).click();
  await shown(page, ["Before", "Missed"]);
  await page.getByText("You may not do this.").waitFor({ state: "detached" });
  await marta.comment(ticket, "After");
  await shown(page, ["Before", "Missed", "After"]);

  // What reads the list again follows it again too.
  const other = await anna.openTicket("Fails in the list");
  await page.goto(`${origin}tickets`);
  const row = page.getByRole("row", { name: /Fails in the list/ });
  await row.getByText("Waiting for support").waitFor();
  await refuse("inboxEvents");
  await page.getByLabel("Order").selectOption({ label: "Newest first" });
  await page.getByText("You may not do this.").waitFor({ state: "detached" });
  await marta.comment(other, "An answer");
  await row.getByText("Working on it").waitFor();

  // A list that another one has overtaken does not fail any more.
  const held = [];
  const isByPriority = (request) => mentions(request, '"PRIORITY"');
  await page.route("**/graphql", (route) => (isByPriority(route.request()) ? held.push(route) : route.fallback()));
  await page.getByLabel("Order").selectOption({ label: "Lowest priority first" });
  await until(async () => (await page.evaluate(() => true)) && held.length > 0, "the list is read");
  const shownAgain = page.waitForResponse((response) => mentions(response.request(), '"CREATED_AT"'));
  await page.getByLabel("Order").selectOption({ label: "Newest first" });
  await (await shownAgain).finished();
  const failed = page.waitForResponse((response) => isByPriority(response.request()));
  await held[0].fulfill({ json: { errors: [{ message: "refused", extensions: { code: "FORBIDDEN" } }] } });
  await (await failed).finished();
  await painted(page);
  assert.equal(await page.getByText("You may not do this.").count(), 0);
  await page.context().close();
}

async function forgetsAnOutageThatIsOver(browser, { anna }) {
  const ticket = await anna.openTicket("Resolved without a line");
  const page = await visit(browser, { path: `tickets/${ticket.number}` });
  await field(page).waitFor();
  await page.context().setOffline(true);
  await page.getByRole("button", { name: "Mark as resolved" }).click();
  const failure = page.getByRole("alert").getByText("The server can't be reached.");
  await failure.waitFor();
  await page.context().setOffline(false);
  await failure.waitFor({ state: "detached" });
  await page.context().close();
}

async function storesPreferencesInTheirOrder(browser, { anna }) {
  const page = await visit(browser, { path: "account" });
  const mail = page.getByLabel("Changes of the status");
  const isStored = async () => (await anna.call("{ viewer { mailPreferences { statusChanged } } }")).viewer.mailPreferences.statusChanged;
  const before = await isStored();
  const held = [];
  let answered = 0;
  const isSave = (request) => mentions(request, "mutation UpdatePreferences");
  page.on("response", (response) => isSave(response.request()) && (answered += 1));
  await page.route("**/graphql", (route) => (isSave(route.request()) && held.length === 0 ? held.push(route) : route.fallback()));
  // The first of two quick changes takes longer on its way.
  await mail.click();
  await mail.click();
  await until(async () => (await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100, true)))) && held.length === 1, "the first is on its way");
  await held[0].continue();
  await until(async () => (await page.evaluate(() => true)) && answered === 2, "both are stored");
  assert.equal(await isStored(), before);
  assert.equal(await mail.isChecked(), before);
  await page.context().close();
}

async function leavesUnreadWhatWasNotShown(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Left at once");
  await marta.comment(ticket, "An answer");
  const page = await visit(browser, { path: "tickets" });
  const marks = [];
  page.on("request", (request) => mentions(request, "MarkTicketRead") && marks.push(request));
  const link = page.getByRole("link", { name: "Left at once" });
  await link.waitFor();
  const isTicket = (request) => mentions(request, "query Ticket(");
  const release = await hold(page, isTicket);
  const asked = page.waitForRequest(isTicket);
  await link.click();
  await asked;
  await page.goBack();
  await link.waitFor();
  const answered = page.waitForResponse((response) => isTicket(response.request()));
  release();
  await (await answered).finished();
  await painted(page);
  assert.equal(marks.length, 0);
  const isUnread = async () => (await anna.call("query($n: String!) { ticket(number: $n) { isUnread } }", { n: ticket.number })).ticket.isUnread;
  assert.equal(await isUnread(), true);
  await link.click();
  await field(page).waitFor();
  await until(async () => !(await isUnread()), "what is shown is read");
  await page.context().close();
}

async function showsAsReadWhatWasReadElsewhere(browser, { anna, marta }) {
  const tickets = [await anna.openTicket("Read elsewhere"), await anna.openTicket("Not read yet")];
  const readAll = () => anna.call("mutation { markNotificationsRead(input: {}) { unreadNotificationCount } }");
  await readAll();
  const page = await visit(browser, { path: "account" });
  const notify = ({ id }) => marta.mutate("updateTicket", { ticketId: id, status: "WORKING_ON_IT" });
  const note = (text) => page.locator("#bell li", { hasText: text });
  const bell = (count) => page.getByRole("button", { name: `Notifications, ${count} unread` });
  await notify(tickets[0]);
  await bell(1).waitFor();
  await readAll();
  await notify(tickets[1]);
  await note("Not read yet").waitFor({ state: "attached" });
  await bell(1).click();
  await note("Read elsewhere").filter({ hasNotText: "Unread" }).waitFor();
  await note("Not read yet").filter({ hasText: "Unread" }).waitFor();
  // All are read, and the stream says so when it resumes.
  await readAll();
  await page.evaluate(() => document.dispatchEvent(new Event("resume")));
  await bell(0).waitFor();
  assert.equal(await page.locator("#bell").getByText("Unread").count(), 0);
  await page.context().close();
}

async function readsTheListAgainAfterAFailure(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Answered while the server is busy");
  const page = await visit(browser, { path: "tickets" });
  const row = page.getByRole("row", { name: /Answered while the server is busy/ });
  await row.getByText("Waiting for support").waitFor();
  const busy = { errors: [{ message: "busy", extensions: { code: "UNAVAILABLE", retryAfterSeconds: 1 } }] };
  let failures = 0;
  await page.route("**/graphql", (route) => {
    if (!mentions(route.request(), "query Tickets(")) return route.fallback();
    failures += 1;
    return route.fulfill({ json: busy });
  });
  await marta.comment(ticket, "An answer");
  // The first failure is not worth a word.
  const failure = page.getByRole("alert").getByText("You can try again in 0:01.");
  await failure.waitFor();
  assert.ok(failures >= 2, String(failures));
  await page.unroute("**/graphql");
  await row.getByText("Working on it").waitFor();
  await failure.waitFor({ state: "detached" });

  // When the reader has chosen another list, the first failure is shown too. The second attempt succeeds.
  let refused = 0;
  await page.route("**/graphql", (route) => {
    if (refused > 0 || !mentions(route.request(), "query Tickets(")) return route.fallback();
    refused += 1;
    return route.fulfill({ json: busy });
  });
  await page.getByLabel("Order").selectOption({ label: "Newest first" });
  await failure.waitFor();
  await failure.waitFor({ state: "detached" });
  await page.locator('table[aria-busy="false"]').waitFor();
  await page.context().close();
}

async function listsNothingAsUnreadThatWasReadElsewhere(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Read on the phone");
  await marta.comment(ticket, "An answer");
  const page = await visit(browser, { path: "tickets?show=unread" });
  const row = page.getByRole("row", { name: /Read on the phone/ });
  await row.waitFor();
  // The count that was there before is known.
  await page.getByRole("button", { name: /^Notifications, [1-9]/ }).waitFor();
  await anna.mutate("markTicketRead", { ticketId: ticket.id });
  await row.waitFor({ state: "detached" });
  await page.context().close();
}

async function showsAFollowUpWhenItsReaderComesBack(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Continued elsewhere");
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  const page = await visit(browser, { path: `tickets/${ticket.number}` });
  await page.getByText("Since this morning.").waitFor();
  const followUp = await anna.followUp(ticket, "Goes on");
  await page.evaluate(() => window.dispatchEvent(new Event("focus")));
  await page.getByLabel("Details").getByRole("link", { name: followUp.number }).waitFor();
  await page.context().close();
}

async function keepsTheHomePageUpToDate(browser, { anna, jonas, marta }) {
  const ticket = await anna.openTicket("With an invitation");
  const own = await jonas.openTicket("Is open");
  const page = await visit(browser, { email: OTHER_CUSTOMER });
  await page.clock.install();
  await page.reload();
  const count = page.getByText(/^You have (no|\d+) open tickets?\./);
  await count.waitFor();
  const before = await count.innerText();
  await marta.mutate("updateTicket", { ticketId: own.id, status: "RESOLVED" });
  await until(async () => (await count.innerText()) !== before, "the count follows");

  const invitation = page.getByRole("heading", { name: ticket.number });
  const { invitation: { id } } = await anna.mutate("inviteParticipant", { ticketId: ticket.id, email: OTHER_CUSTOMER }, "invitation { id }");
  await page.evaluate(() => window.dispatchEvent(new Event("focus")));
  await invitation.waitFor();
  await anna.mutate("withdrawInvitation", { invitationId: id });
  await page.clock.fastForward(60_000);
  await invitation.waitFor({ state: "detached" });
  await page.context().close();
}

async function keepsTheNewestCountOfOpenTickets(browser, { jonas, marta }) {
  const own = await jonas.openTicket("Is resolved meanwhile");
  const page = await visit(browser, { email: OTHER_CUSTOMER });
  const count = page.getByText(/^You have (no|\d+) open tickets?\./);
  await count.waitFor();
  const before = await count.innerText();
  const isHome = (request) => mentions(request, "query Home(");
  const answers = await holdAnswers(page, isHome);
  await until(async () => {
    await page.evaluate(() => window.dispatchEvent(new Event("focus")));
    return answers.length > 0;
  });
  await marta.mutate("updateTicket", { ticketId: own.id, status: "RESOLVED" });
  await until(async () => (await count.innerText()) !== before, "the count follows");
  const after = await count.innerText();
  const answered = page.waitForResponse((response) => isHome(response.request()));
  for (const answer of answers) await answer();
  await (await answered).finished();
  await painted(page);
  assert.equal(await count.innerText(), after);
  await page.context().close();
}

async function showsThatTheHomePageIsReadAgain(browser) {
  const page = await visit(browser, { path: "account" });
  const held = [];
  await page.route("**/graphql", (route) => (mentions(route.request(), "query Home(") ? held.push(route) : route.fallback()));
  const asked = (count) => until(async () => (await page.evaluate(() => true)) && held.length >= count, "the page is read");
  await page.goto(origin);
  await asked(1);
  await held[0].fulfill({ json: { errors: [{ message: "refused", extensions: { code: "FORBIDDEN" } }] } });
  const failure = page.getByText("You may not do this.");
  await failure.waitFor();
  const again = held.length + 1;
  await page.getByRole("button", { name: "Try again" }).click();
  await failure.waitFor({ state: "detached" });
  await asked(again);
  await page.unroute("**/graphql");
  for (const route of held.slice(1)) await route.continue();
  await page.getByRole("link", { name: "Technical support" }).waitFor();
  await page.context().close();
}

async function namesATicketWhoseSummaryWasErased(browser, { anna, marta, ilya }) {
  const ticket = await anna.openTicket("My password is swordfish");
  await marta.comment(ticket, "An answer");
  await ilya.mutate("redactTicket", { ticketId: ticket.id, text: "SUMMARY" });
  const page = await visit(browser, { path: "tickets" });
  await page.getByRole("row", { name: ticket.number }).getByRole("link", { name: "This text was removed." }).click();
  await page.getByRole("heading", { name: "This text was removed." }).waitFor();
  await page.getByRole("button", { name: /^Notifications/ }).click();
  await page.locator("#bell li", { hasText: ticket.number }).getByRole("link", { name: "New comment: This text was removed." }).waitFor();
  await page.context().close();
}

async function keepsTheLinksOfFilesFresh(browser, { anna }) {
  const ticket = await anna.openTicket("Has a file");
  const page = await visit(browser, { path: `tickets/${ticket.number}` });
  await page.locator("input[type=file]").setInputFiles([{ name: "log.txt", mimeType: "text/plain", buffer: Buffer.from("log") }]);
  await page.getByRole("button", { name: "Remove log.txt" }).waitFor();
  await field(page).fill("See the file.");
  await page.getByRole("button", { name: "Post comment" }).click();
  const link = page.getByRole("link", { name: "log.txt" });
  await link.waitFor();
  // Ten minutes later another tab must still be able to open it.
  await page.clock.install();
  await page.reload();
  await link.waitFor();
  const isLink = (request) => mentions(request, "query FreshLink");
  const answer = (node) => page.route("**/graphql", (route) => (isLink(route.request()) ? route.fulfill({ json: { data: { node } } }) : route.fallback()));
  await answer({ url: "/fresh" });
  await page.clock.fastForward("09:00");
  await until(async () => (await link.getAttribute("href")) === "/fresh", "the link is renewed");

  // A file that is gone is not opened without a word.
  await page.unroute("**/graphql");
  await answer(null);
  await page.clock.fastForward("09:00");
  await link.click();
  await page.getByRole("listitem").filter({ has: link }).getByRole("alert").getByText("This does not exist").waitFor();
  await page.context().close();
}

async function showsWhatWaitsAlsoWhileItsTicketCannotBeRead(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Written offline");
  await ask("kill");
  await lost(page).waitFor();
  await field(page).fill("It waits for the server");
  await page.getByRole("button", { name: "Post comment" }).click();
  const letter = page.locator("article.letter", { hasText: "It waits for the server" });
  await letter.waitFor();
  await page.getByRole("link", { name: "My tickets" }).first().click();
  await page.getByRole("link", { name: "1 message is waiting to be sent" }).click();
  await letter.waitFor();
  await ask("start");
  await until(async () => (await anna.bodies(ticket)).length > 0);
  await page.locator("article:not(.letter)", { hasText: "It waits for the server" }).waitFor();
  await letter.waitFor({ state: "detached" });
  assert.deepEqual(await anna.bodies(ticket), ["It waits for the server"]);
  await page.context().close();
}

async function showsThatALetterWasSentThoughItsTicketCannotBeRead(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Not to be read");
  const release = await hold(page, (request) => mentions(request, "mutation AddComment"));
  await field(page).fill("Sent from a page that fails");
  await page.getByRole("button", { name: "Post comment" }).click();
  const letter = page.locator("article.letter", { hasText: "Sent from a page that fails" });
  await letter.waitFor();
  await page.getByRole("link", { name: "My tickets" }).first().click();
  await page.route("**/graphql", (route) => {
    if (!mentions(route.request(), "query Ticket(")) return route.fallback();
    return route.fulfill({ json: { errors: [{ message: "Failed.", extensions: { code: "INTERNAL" } }] } });
  });
  await page.getByRole("link", { name: "1 message is waiting to be sent" }).click();
  await letter.getByText("Sending…").waitFor();
  release();
  await letter.getByText("Sent", { exact: true }).waitFor();
  assert.deepEqual(await anna.bodies(ticket), ["Sent from a page that fails"]);
  await page.context().close();
}

async function printsAllOfALongTicket(browser, { anna }) {
  const ticket = await anna.openTicket("A long story", "Once upon a time.");
  for (let n = 0; n < 60; n++) await anna.comment(ticket, `Part ${n}.`);
  const page = await visit(browser, { path: `tickets/${ticket.number}` });
  const leftOut = page.getByText("Earlier entries are left out here.");
  const parts = page.locator("article", { hasText: /Part \d+\./ });
  await parts.nth(40).waitFor();
  assert.ok(!(await leftOut.isVisible()));
  await page.emulateMedia({ media: "print" });
  await leftOut.waitFor();
  await page.emulateMedia({ media: "screen" });
  await page.evaluate(() => (window.print = () => (window.printed = document.querySelectorAll("article").length)));
  await page.context().setOffline(true);
  await page.getByRole("button", { name: "Print" }).click();
  await page.getByRole("alert").getByText("The server can't be reached").waitFor();
  assert.equal(await page.evaluate(() => window.printed), undefined, "nothing is printed in part");
  await page.context().setOffline(false);
  await page.getByRole("button", { name: "Print" }).click();
  await until(() => page.evaluate(() => window.printed === 61));
  assert.equal(await parts.count(), 60);
  // Who leaves meanwhile prints nothing, not even of the same ticket.
  await page.reload();
  await parts.nth(40).waitFor();
  await page.evaluate(() => (window.print = () => (window.printed = true)));
  const isEarlier = (request) => mentions(request, "query Earlier");
  const release = await hold(page, isEarlier);
  const [asked] = await Promise.all([page.waitForRequest(isEarlier), page.getByRole("button", { name: "Print" }).click()]);
  await page.getByRole("link", { name: "My tickets" }).first().click();
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  await page.goBack();
  await parts.nth(40).waitFor();
  release();
  await (await asked.response()).finished();
  await painted(page);
  assert.equal(await page.evaluate(() => window.printed), undefined);
  await page.context().close();
}

async function showsAnInvitationOnItsWayUntilItIsAccepted(browser, { anna, jonas }) {
  const { ticket, page } = await openTicket(browser, anna, "Shared and not any more");
  const onItsWay = page.getByText("An invitation is on its way to");
  await page.getByLabel("E-mail address of a customer").fill(OTHER_CUSTOMER);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await onItsWay.waitFor();
  const { ticket: shared } = await anna.call("query($n: String!) { ticket(number: $n) { invitations { id } } }", { n: ticket.number });
  await jonas.mutate("acceptInvitation", { invitationId: shared.invitations[0].id });
  await page.getByRole("button", { name: "Remove Jonas Weber" }).click();
  await page.getByText("Only you and support see this ticket.").waitFor();
  assert.equal(await onItsWay.count(), 0);
  // It is also shown if the list of invitations cannot be read just then.
  await page.route("**/graphql", (route) => (mentions(route.request(), "query Invitations(") ? route.abort() : route.fallback()));
  await page.getByLabel("E-mail address of a customer").fill("somebody@example.com");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await onItsWay.waitFor();
  await page.getByRole("button", { name: "Withdraw" }).waitFor();
  await page.context().close();
}

async function saysThatAPageHasFailed(browser) {
  // Nobody listens to what this browser reports: an error is what the check is about.
  const page = await (await browser.newContext({ locale: "en-US" })).newPage();
  await page.goto(`${origin}account`);
  await signIn(page, CUSTOMER);
  await page.route("**/graphql", (route) => {
    if (!mentions(route.request(), "query Tickets(")) return route.fallback();
    return route.fulfill({ json: { data: { eventCursor: "", tickets: {} } } });
  });
  const reported = page.waitForEvent("pageerror");
  await page.getByRole("link", { name: "My tickets" }).click();
  await page.getByRole("heading", { name: "This page could not be shown" }).waitFor();
  await reported;
  // The menu leads on, and back to the page when it can be shown again.
  await page.unroute("**/graphql");
  await page.getByRole("link", { name: "Account" }).click();
  await page.getByRole("heading", { name: "Account", exact: true }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  await page.context().close();
}

main("portal-live", async (browser) => {
  const people = { anna: await Person.signIn(CUSTOMER), jonas: await Person.signIn(OTHER_CUSTOMER), marta: await Person.signIn(AGENT), ilya: await Person.signIn(ADMIN) };
  const only = process.env.ONLY;
  for (const check of [resumesAfterARestart, saysWhatOthersHaveDone, reconnectsAfterSleep, reconnectsRarelyIfThatDoesNotHelp, missesNoLineBetweenTwoSessions, saysThatATicketIsLost, showsATicketThatCameBackMeanwhile, movesListAndBell,
    missesNothingOfAListThatWasOvertaken, returnsToItsPlaceWhateverIsUnderWay, reloadsQuietlyAfterAnUpgrade, loadsItsPartsAgain, reloadsRarelyIfThatDoesNotHelp,
    followsAgainAfterAFailure, readsTheListAgainAfterAFailure, forgetsAnOutageThatIsOver, storesPreferencesInTheirOrder, saysThatAPageHasFailed, leavesUnreadWhatWasNotShown, showsAsReadWhatWasReadElsewhere,
    listsNothingAsUnreadThatWasReadElsewhere, showsAFollowUpWhenItsReaderComesBack, keepsTheHomePageUpToDate, keepsTheNewestCountOfOpenTickets, showsThatTheHomePageIsReadAgain,
    namesATicketWhoseSummaryWasErased, keepsTheLinksOfFilesFresh, showsWhatWaitsAlsoWhileItsTicketCannotBeRead, showsThatALetterWasSentThoughItsTicketCannotBeRead, printsAllOfALongTicket,
    showsAnInvitationOnItsWayUntilItIsAccepted]) {
    if (only && check.name !== only) continue;
    console.log(check.name);
    await check(browser, people);
  }
});
