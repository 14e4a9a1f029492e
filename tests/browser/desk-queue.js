// The queue: rows come, go and move while somebody looks, and nothing jumps under the cursor; at most 60 rows
// are in the document; counts follow with few requests; a ticket opens in one round trip.

const { AGENT, assert, countOperations, CUSTOMER, holdAnswers, main, mentions, origin, painted, Person, row, until, work } = require("./desk-lib");

const MOST_ROWS = 60;
const listItems = (page) => page.getByRole("list", { name: "Tickets" }).getByRole("listitem");
const place = async (page, summary) => Math.round((await row(page, summary).boundingBox()).y);
const countOf = (page, view) => page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: view }).locator(".count").innerText();

/** Reads a span of the tickets that wait, in the order of their view. */
async function readWaiting(person, span) {
  const order = "filter: { status: [WAITING_FOR_SUPPORT] }, orderBy: { field: WAITING_SINCE, direction: ASC }";
  return (await person.call(`{ tickets(${span}, ${order}) { nodes { id } } }`)).tickets.nodes;
}

/** Scrolls until a list shows its last row. Returns the most rows that were in the document. */
async function scrollTo(page, total) {
  let most = 0;
  await until(async () => {
    most = Math.max(most, await listItems(page).count());
    await listItems(page).last().scrollIntoViewIfNeeded().catch(() => {});
    return (await page.locator(`li[aria-posinset="${total}"]`).count()) === 1;
  }, "the last row is reached");
  return most;
}

async function keepsTheRowUnderThePointer(page, { anna, marta }) {
  const [first, second] = [await anna.openTicket("Stays one"), await anna.openTicket("Stays two")];
  await row(page, "Stays two").waitFor();
  await row(page, "Stays one").hover();
  const before = await place(page, "Stays one");
  // Rows come above it, one above it goes, and it moves itself.
  for (const name of ["Comes one", "Comes two", "Comes three"]) await anna.openTicket(name);
  await row(page, "Comes three").waitFor({ state: "attached" });
  assert.equal(await place(page, "Stays one"), before, "rows that come don't move it");
  await marta.mutate("updateTicket", { ticketId: second.id, status: "CLOSED" });
  await row(page, "Stays two").waitFor({ state: "detached" });
  assert.equal(await place(page, "Stays one"), before, "a row that goes doesn't move it");
  await anna.comment(first, "Is anybody there?");
  await marta.mutate("updateTicket", { ticketId: first.id, priority: "HIGHEST" });
  await listItems(page).filter({ hasText: "Stays one" }).getByText("Highest").waitFor();
  assert.equal(await place(page, "Stays one"), before, "nor does its own change");
  await marta.mutate("updateTicket", { ticketId: first.id, status: "CLOSED" });
  await listItems(page).filter({ hasText: "Stays one" }).getByText("No longer here").waitFor();
  assert.equal(await place(page, "Stays one"), before, "it stays even if it has left the view");
  await page.mouse.move(0, 0);
  await row(page, "Stays one").waitFor({ state: "detached" });
}

async function keepsTheFocusedRow(page, { anna }) {
  await page.keyboard.press("j");
  await until(() => page.evaluate(() => document.activeElement.matches("li a")));
  const read = () => page.evaluate(() => [document.activeElement.textContent, Math.round(document.activeElement.getBoundingClientRect().y)].join());
  const before = await read();
  await anna.openTicket("Comes again");
  await row(page, "Comes again").waitFor({ state: "attached" });
  assert.equal(await read(), before);
  await page.evaluate(() => document.activeElement.blur());
}

async function hasFewRowsInTheDocument(page, { anna }) {
  for (let start = 0; start < 110; start += 10) await Promise.all(Array.from({ length: 10 }, (_, index) => anna.openTicket(`Many ${start + index}`)));
  await page.reload();
  const pages = countOperations(page, "QueueRows");
  await listItems(page).first().waitFor();
  const total = Number(await countOf(page, "All open"));
  assert.ok(total > 110, String(total));
  const most = await scrollTo(page, total);
  assert.ok(most <= MOST_ROWS, `${most} rows`);
  assert.equal(pages.count, Math.ceil(total / 100), "in pages of 100");
}

async function countsWithFewRequests(page, { anna }) {
  const before = Number(await countOf(page, "All open"));
  const counts = countOperations(page, "QueueCounts");
  for (let count = 0; count < 20; count += 1) await anna.openTicket(`Counted ${count}`);
  await until(async () => Number(await countOf(page, "All open")) === before + 20, "the count follows");
  assert.ok(counts.count < 10, `${counts.count} requests for 20 changes`);
}

const isCount = (request) => mentions(request, "query QueueCounts");

async function countsAgainAfterAFailure(page, { anna }) {
  const before = Number(await countOf(page, "All open"));
  const failed = { errors: [{ message: "busy", extensions: { code: "UNAVAILABLE" } }] };
  let failures = 0;
  await page.route("**/graphql", (route) => {
    if (!isCount(route.request())) return route.fallback();
    failures += 1;
    return route.fulfill({ json: failed });
  });
  await anna.openTicket("Counted later");
  // It asks again although nothing else happens.
  await until(async () => (await page.evaluate(() => true)) && failures >= 2, "it is counted again");
  await page.unroute("**/graphql");
  await until(async () => Number(await countOf(page, "All open")) === before + 1, "the count follows");
}

async function showsTheLastCount(page, { anna }) {
  const before = Number(await countOf(page, "All open"));
  const answers = await holdAnswers(page, isCount);
  const countAfter = async (summary, count) => {
    await anna.openTicket(summary);
    await until(async () => (await page.evaluate(() => true)) && answers.length === count, "it is counted");
  };
  await countAfter("Counted first", 1);
  await countAfter("Counted last", 2);
  await answers[1]();
  await until(async () => Number(await countOf(page, "All open")) === before + 2, "the count follows");
  const late = page.waitForResponse((response) => isCount(response.request()));
  await answers[0]();
  await (await late).finished();
  await painted(page);
  assert.equal(Number(await countOf(page, "All open")), before + 2);
  await page.unroute("**/graphql");
}

async function opensInOneRoundTrip(page, { anna }) {
  const { number } = await anna.openTicket("Opened at once");
  await page.evaluate(() => document.querySelector("[aria-label=Tickets]").parentElement.scrollTo(0, 0));
  await row(page, "Opened at once").waitFor({ state: "attached" });
  const reads = countOperations(page, "query Ticket(", number);
  await row(page, "Opened at once").hover();
  await until(async () => (await listItems(page).count()) > 0 && reads.count === 1, "it is read ahead");
  await row(page, "Opened at once").click();
  await page.getByRole("heading", { name: "Opened at once" }).waitFor();
  await page.getByText("Since this morning.").waitFor();
  assert.equal(reads.count, 1, "nothing is read again");
}

async function keepsTheLastRowThatWasRead(page, { marta }) {
  await page.mouse.move(0, 0);
  await page.goto(`${origin}desk?view=waiting`);
  await listItems(page).first().waitFor();
  const tickets = await readWaiting(marta, "first: 100");
  assert.equal(tickets.length, 100);
  // Neither change moves its ticket.
  await marta.mutate("updateTicket", { ticketId: tickets.at(-1).id, summary: "Is the last" });
  await marta.mutate("updateTicket", { ticketId: tickets[0].id, summary: "Is the first" });
  await row(page, "Is the first").waitFor();
  await scrollTo(page, Number(await countOf(page, "Waiting longest")));
}

async function showsWhatChangesWhileItsPageIsRead(page, { marta }) {
  const [first] = await readWaiting(marta, "first: 1");
  const [last] = await readWaiting(marta, "last: 1");
  await page.reload();
  await listItems(page).first().waitFor();
  const isNext = (request) => mentions(request, "QueueRows") && mentions(request, '"after":"');
  const answers = await holdAnswers(page, isNext);
  await until(async () => {
    await listItems(page).last().scrollIntoViewIfNeeded().catch(() => {});
    return answers.length > 0;
  }, "the next page is read");
  await marta.mutate("updateTicket", { ticketId: last.id, summary: "Changed on its way" });
  await marta.mutate("updateTicket", { ticketId: first.id, summary: "Changed after it" });
  await page.evaluate(() => document.querySelector("[aria-label=Tickets]").parentElement.scrollTo(0, 0));
  await row(page, "Changed after it").waitFor();
  await page.unroute("**/graphql");
  for (const answer of answers) await answer();
  await scrollTo(page, Number(await countOf(page, "Waiting longest")));
  await row(page, "Changed on its way").waitFor();
}

main("desk-queue", async (browser) => {
  const people = { anna: await Person.signIn(CUSTOMER), marta: await Person.signIn(AGENT) };
  const page = await work(browser, AGENT, "?view=open");
  await listItems(page).first().waitFor();
  for (const check of [keepsTheRowUnderThePointer, keepsTheFocusedRow, hasFewRowsInTheDocument, countsWithFewRequests, countsAgainAfterAFailure, showsTheLastCount, opensInOneRoundTrip,
    keepsTheLastRowThatWasRead, showsWhatChangesWhileItsPageIsRead]) {
    if (process.env.ONLY && check.name !== process.env.ONLY) continue;
    console.log(check.name);
    await check(page, people);
  }
});
