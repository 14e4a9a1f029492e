// What happens to an agent in mid-work: a demotion, a redaction, a merge, a text that is too long, a retired
// category, an unknown placeholder, a list that loads slowly, tickets that others close, a server that is away.
// Each time a sentence says what to do, and nothing that was written is lost.

const { ADMIN, AGENT, ask, asksBeforeAReload, assert, controlStreams, countOperations, CUSTOMER, field, hasFocus, heldBack, hold, holdAnswers, loseAnswer, main, mentions, openTicket, origin, OTHER_CUSTOMER, painted, PASSWORD, Person, row, signIn, until, visit, work } = require("./desk-lib");

/** One more than a message may have. */
const MOST = 65_536;

/** Chooses the customer for whom a ticket is opened. */
async function pickCustomer(page, name) {
  await page.getByRole("dialog").getByRole("combobox").fill(name);
  await page.getByRole("option", { name }).first().click();
  await page.getByText(`For ${name}`).waitFor();
}

/** Replaces what is in the field by what is in the clipboard, as a person does. */
async function paste(page, text) {
  await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
  await field(page).focus();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.press("ControlOrMeta+V");
}

async function keepsAPasteThatIsTooLong(browser, { anna }) {
  const ticket = await anna.openTicket("A long answer");
  const page = await openTicket(browser, AGENT, ticket);
  const text = "a long line\n".repeat(5_834).slice(0, 70_000);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await paste(page, text);
  await page.getByText("The text is 4,464 characters too long.").waitFor();
  assert.ok(await page.getByRole("button", { name: "Send the answer" }).isDisabled());
  await page.reload();
  await field(page).waitFor();
  assert.equal((await field(page).inputValue()).length, 70_000, "nothing of it is lost");
  await paste(page, text.slice(0, MOST).trimEnd());
  await page.getByRole("button", { name: "Send the answer" }).click();
  await page.locator("article:not(.letter)", { hasText: "a long line" }).waitFor();
  assert.deepEqual((await anna.bodies(ticket)).map(({ length }) => length), [text.slice(0, MOST).trimEnd().length]);
  await page.context().close();
}

async function showsWhatWasRedacted(browser, { anna, ilya }) {
  const ticket = await anna.openTicket("Has a secret", "My password is swordfish.");
  const { comment } = await anna.comment(ticket, "I mean swordfish2.");
  const page = await openTicket(browser, AGENT, ticket);
  await page.getByText("I mean swordfish2.").first().waitFor();
  await field(page).fill("Please don't send passwords.");
  await ilya.mutate("redactComment", { commentId: comment.id });
  await ilya.mutate("redactTicket", { ticketId: ticket.id, text: "DESCRIPTION" });
  await ilya.mutate("redactTicket", { ticketId: ticket.id, text: "SUMMARY" });
  await page.getByRole("heading", { name: "This text was removed." }).waitFor();
  await until(async () => !(await page.locator("body").innerText()).includes("swordfish"), "it is gone from the page");
  assert.equal(await field(page).inputValue(), "Please don't send passwords.");
  await page.context().close();
}

async function takesTheTextAlongAfterAMerge(browser, { anna, ilya }) {
  const [ticket, into] = [await anna.openTicket("Asked twice"), await anna.openTicket("Asked once")];
  const page = await openTicket(browser, AGENT, ticket);
  const status = page.getByLabel("Then");
  await field(page).fill("An answer that is not yet sent");
  await status.selectOption("RESOLVED");
  await ilya.mutate("mergeTicket", { ticketId: ticket.id, intoId: into.id });
  await page.getByText(`This ticket continues in ${into.number}.`).waitFor();
  await page.getByRole("button", { name: `Take my text along to ${into.number}` }).click();
  await page.getByRole("heading", { name: "Asked once" }).waitFor();
  assert.equal(await field(page).inputValue(), "An answer that is not yet sent");
  assert.equal(await status.inputValue(), "RESOLVED");
  // It answers what was shown when it arrived, and no more.
  await anna.comment(into, "It happens again");
  await page.locator("article", { hasText: "It happens again" }).waitFor();
  await field(page).press("Control+Enter");
  await heldBack(page).getByText("It happens again").waitFor();
  assert.deepEqual(await anna.bodies(into), ["It happens again"], "nothing was sent");
  await heldBack(page).getByRole("button", { name: "Send mine all the same" }).click();
  await page.locator("strong.status", { hasText: "Resolved" }).waitFor();
  assert.deepEqual(await anna.bodies(into), ["It happens again", "An answer that is not yet sent"]);
  await page.context().close();
}

async function takesARejectedAnswerAlongAfterAMerge(browser, { anna, ilya }) {
  const [ticket, into] = [await anna.openTicket("Asked too often"), await anna.openTicket("Asked first")];
  const page = await openTicket(browser, AGENT, ticket);
  const release = await hold(page, (request) => mentions(request, "mutation AddComment"));
  await field(page).fill("An answer that comes too late");
  await page.getByRole("button", { name: "Send the answer" }).click();
  await ilya.mutate("mergeTicket", { ticketId: ticket.id, intoId: into.id });
  await page.getByText(`This ticket continues in ${into.number}.`).waitFor();
  const takeAlong = page.getByRole("button", { name: `Take my text along to ${into.number}` });
  assert.equal(await takeAlong.count(), 0, "it may arrive");
  release();
  await takeAlong.waitFor();
  assert.equal(await page.getByText("copy it into a new ticket").count(), 0);
  await page.reload();
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await hasFocus(field(page));
  assert.equal(await field(page).inputValue(), "An answer that comes too late");
  await takeAlong.click();
  await page.getByRole("heading", { name: "Asked first" }).waitFor();
  assert.equal(await field(page).inputValue(), "An answer that comes too late");
  // Nothing was written there by others.
  const other = await work(browser, ADMIN, `/tickets/${ticket.number}`);
  await other.getByText("This ticket is closed and accepts no answers.").waitFor();
  assert.equal(await other.getByText("What you wrote").count(), 0);
  await other.context().close();
  await page.context().close();
}

async function takesBothKindsAlongAfterAMerge(browser, { anna, ilya }) {
  const [ticket, into] = [await anna.openTicket("Noted too often"), await anna.openTicket("Noted first")];
  const page = await openTicket(browser, AGENT, ticket);
  await field(page).fill("A draft of an answer");
  await page.getByRole("button", { name: "Note for staff" }).click();
  const note = page.getByLabel("Your note. Only staff see it.");
  await note.fill("A note that comes too late");
  await page.getByLabel("Then").selectOption("RESOLVED");
  const release = await hold(page, (request) => mentions(request, "mutation AddComment"));
  await page.getByRole("button", { name: "Add the note" }).click();
  await ilya.mutate("mergeTicket", { ticketId: ticket.id, intoId: into.id });
  release();
  await page.locator("article.letter", { hasText: "A note that comes too late" }).getByRole("button", { name: "Edit" }).waitFor();
  await page.getByRole("button", { name: `Take my text along to ${into.number}` }).click();
  await page.getByRole("heading", { name: "Noted first" }).waitFor();
  assert.equal(await field(page).inputValue(), "A draft of an answer");
  assert.equal(await page.getByLabel("Then").inputValue(), "");
  await page.getByRole("button", { name: "Note for staff" }).click();
  assert.equal(await note.inputValue(), "A note that comes too late");
  assert.equal(await page.getByLabel("Then").inputValue(), "RESOLVED");
  await page.context().close();
}

async function takesFilesWithoutATextAlongAfterAMerge(browser, { anna, ilya }) {
  const [ticket, into] = [await anna.openTicket("A file for one"), await anna.openTicket("A file for another")];
  const page = await openTicket(browser, AGENT, ticket);
  const release = await hold(page, (request) => (request.headers()["content-type"] ?? "").startsWith("multipart"));
  await page.locator("input[type=file]").setInputFiles([{ name: "alone.txt", mimeType: "text/plain", buffer: Buffer.from("alone") }]);
  const remove = page.getByRole("button", { name: "Remove alone.txt" });
  await ilya.mutate("mergeTicket", { ticketId: ticket.id, intoId: into.id });
  const takeAlong = page.getByRole("button", { name: `Take my text along to ${into.number}` });
  await takeAlong.waitFor();
  assert.ok(await page.getByRole("button", { name: "Cancel alone.txt" }).isVisible());
  release();
  await remove.waitFor();
  await takeAlong.click();
  await page.getByRole("heading", { name: "A file for another" }).waitFor();
  await remove.click();
  await remove.waitFor({ state: "detached" });
  await page.context().close();
}

async function showsATicketOnceThatIsFoundAgain(browser) {
  const page = await work(browser, AGENT, "/search");
  let first = null;
  await page.route("**/graphql", async (route) => {
    if (!mentions(route.request(), "query Search(")) return route.fallback();
    first ??= await (await route.fetch()).json();
    first.data.search.pageInfo.hasNextPage = true;
    return route.fulfill({ json: first });
  });
  await page.keyboard.type("invoice");
  const more = page.getByRole("button", { name: "Show more" });
  await more.waitFor();
  const count = await page.locator("ol li").count();
  const answered = page.waitForResponse((response) => mentions(response.request(), "query Search("));
  await more.click();
  await answered;
  await more.waitFor();
  assert.equal(await page.locator("ol li").count(), count);
  await page.context().close();
}

async function saysWhereAMergedTicketContinues(browser, { anna, ilya }) {
  const [first, second] = [await anna.openTicket("In a circle one"), await anna.openTicket("In a circle two")];
  const page = await openTicket(browser, AGENT, second);
  await page.keyboard.press("m");
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("option", { name: first.number }).click();
  await page.getByRole("dialog", { name: "Merge the tickets" }).waitFor();
  await ilya.mutate("mergeTicket", { ticketId: first.id, intoId: second.id });
  await page.getByRole("button", { name: "Merge", exact: true }).click();
  await page.getByText(`${first.number} was merged before and continues in ${second.number}.`).waitFor();
  await page.context().close();
}

async function showsAViewOfARetiredCategory(browser, { anna, ilya }) {
  const { category } = await ilya.mutate("createCategory", { nameEn: "Domains", nameRu: "Домены", slug: "domains" }, "category { id }");
  await anna.mutate("createTicket", { categoryId: category.id, summary: "My domain expires", description: "Soon." }, "ticket { id }");
  const filter = { categoryIds: [category.id], status: ["WAITING_FOR_SUPPORT"] };
  await ilya.mutate("createSavedView", { name: "Domains that wait", isShared: true, filter }, "savedView { id }");
  await ilya.mutate("retireCategory", { id: category.id });
  const page = await work(browser, AGENT);
  await page.getByRole("link", { name: "Domains that wait" }).click();
  await page.getByText("A category of this view is retired.").waitFor();
  await row(page, "My domain expires").waitFor();
  await page.context().close();
}

async function showsNoFiguresOfAnotherPeriod(browser) {
  const page = await work(browser, AGENT, "/figures?from=2026-01-01&to=2026-01-31");
  await page.locator("tfoot td").first().waitFor();
  await page.route("**/graphql", (route) => (mentions(route.request(), "query SupportFigures") ? route.abort() : route.continue()));
  await page.getByLabel("From").fill("2026-01-02");
  await page.getByRole("alert").waitFor();
  assert.equal(await page.locator("tfoot").count(), 0);
  assert.ok(await page.getByRole("button", { name: "CSV" }).isDisabled());
  await page.unroute("**/graphql");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("tfoot td").first().waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
  assert.equal(download.suggestedFilename(), "figures-2026-01-02-2026-01-31.csv");
  await page.context().close();
}

async function namesAnUnknownPlaceholder(browser) {
  const page = await work(browser, AGENT, "/admin?part=canned");
  await page.getByRole("button", { name: "New answer" }).click();
  await page.getByLabel("Title").fill("Greeting");
  await page.getByLabel("Text").fill("Dear {{reporter.nmae}},");
  await page.getByText("{{reporter.nmae}} is not known. Use one of these: {{reporter.name}}").waitFor();
  assert.ok(await page.getByRole("button", { name: "Save" }).isDisabled());
  await page.getByLabel("Text").fill("Dear {{reporter.name}},");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Edit Greeting" }).waitFor();
  await page.context().close();
}

async function keepsAFormThatIsOpenedWhileItsListLoads(browser) {
  const parts = [
    { part: "canned", operation: "CannedAnswers", add: "New answer", fields: { Title: "Typed early", Text: "Hello" } },
    { part: "views", operation: "SavedViews", add: "New view", fields: { Name: "Typed early" } },
    { part: "categories", operation: "AllCategories", add: "Add", fields: { "Name in English": "Typed early", "Name in Russian": "Рано", "Name in links": "typed-early" } },
  ];
  for (const { part, operation, add, fields } of parts) {
    const page = await work(browser, ADMIN, "/people");
    const isList = (request) => mentions(request, operation);
    const release = await hold(page, isList);
    await page.goto(`${origin}desk/admin?part=${part}`);
    await page.getByRole("button", { name: add, exact: true }).click();
    const dialog = page.getByRole("dialog");
    for (const [label, text] of Object.entries(fields)) await dialog.getByLabel(label, { exact: true }).fill(text);
    const loaded = page.waitForResponse((response) => isList(response.request()));
    release();
    await (await loaded).finished();
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("button", { name: /^Edit Typed early/ }).waitFor();
    await page.context().close();
  }
}

async function movesAgainWhileAMoveIsStored(browser, { ilya }) {
  await ilya.mutate("createCategory", { nameEn: "Moved", nameRu: "Перемещена", slug: "moved" });
  const page = await work(browser, ADMIN, "/admin?part=categories");
  const stored = async () => (await ilya.call("{ categories { name(locale: EN) } }")).categories.map(({ name }) => name);
  const before = await stored();
  const last = before.at(-1);
  const up = page.getByRole("button", { name: new RegExp(`^Move ${last} .*up$`) });
  await up.waitFor();
  const isOrder = (request) => mentions(request, "OrderCategories");
  let orders = 0;
  const release = await hold(page, (request) => isOrder(request) && (orders += 1) === 2);
  const reloaded = page.waitForResponse((response) => mentions(response.request(), "AllCategories"));
  for (const _ of [1, 2]) await up.click();
  // The list as the first move left it must not undo the second.
  await (await reloaded).finished();
  await up.click();
  release();
  const moved = [...before.slice(0, -4), last, ...before.slice(-4, -1)];
  await until(async () => (await stored()).join() === moved.join(), "it is moved three times");
  await page.context().close();
}

async function choosesWhatFitsTheWholeText(browser, { anna }) {
  const page = await openTicket(browser, AGENT, await anna.openTicket("For an admin"));
  const release = await hold(page, (request) => mentions(request, "PickPeople"));
  await page.keyboard.press("a");
  await page.getByRole("dialog").getByRole("option").first().waitFor();
  await page.keyboard.type("Ilya");
  await page.keyboard.press("Enter");
  release();
  await page.getByRole("button", { name: "Assignee: Ilya Sokolov" }).waitFor();
  await page.context().close();
}

async function leavesKeysToAnInputMethod(browser, { anna }) {
  const page = await openTicket(browser, AGENT, await anna.openTicket("For whom the name is composed"));
  await page.keyboard.press("a");
  const text = page.getByRole("dialog").getByRole("combobox");
  await text.fill("Marta");
  await page.getByRole("dialog").getByRole("option", { name: "Marta" }).waitFor();
  // The keys that end or leave the composition of a character.
  for (const key of ["Enter", "Escape"]) await text.dispatchEvent("keydown", { key, isComposing: true });
  await text.fill("Ilya");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Assignee: Ilya Sokolov" }).waitFor();
  await page.context().close();
}

async function leavesEnterToLinksAndButtons(browser, { anna }) {
  await anna.openTicket("Selected in the queue");
  const page = await work(browser, AGENT, "?view=open");
  await row(page, "Selected in the queue").waitFor();
  await page.keyboard.press("j");
  const follow = async (name, path) => {
    await page.getByRole("navigation").getByRole("link", { name, exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.pathname === `/${path}`);
  };
  await follow("Search", "desk/search");
  // The page of the search takes the focus when it is there.
  await hasFocus(page.getByRole("searchbox"));
  await follow("Queue", "desk");
  await row(page, "Selected in the queue").waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname.startsWith("/desk/tickets/"));
  await page.context().close();
}

async function keepsANameThatIsTypedWhileAnotherChangeIsStored(browser, { ilya }) {
  const { people } = await ilya.call("query($t: String!) { people(text: $t, first: 1) { id } }", { t: OTHER_CUSTOMER });
  const page = await work(browser, ADMIN, `/people/${encodeURIComponent(people[0].id)}`);
  const name = page.getByLabel("Name");
  await name.waitFor();
  const release = await hold(page, (request) => mentions(request, "PersonPage"));
  await page.getByLabel("Role").selectOption("AGENT");
  await page.getByRole("button", { name: "Change the role" }).click();
  await name.fill("Typed meanwhile");
  release();
  await page.getByRole("listitem").filter({ hasText: "Role: Customer → Agent" }).waitFor();
  assert.equal(await name.inputValue(), "Typed meanwhile");
  await ilya.mutate("setAccountRole", { id: people[0].id, role: "CUSTOMER" });
  await page.context().close();
}

async function reportsEachTicketOfABulkChange(browser, { anna, ilya }) {
  const tickets = [];
  for (const name of ["Bulk one", "Bulk two", "Bulk three"]) tickets.push(await anna.openTicket(name));
  const page = await work(browser, AGENT, "?view=open");
  for (const { number } of tickets) await page.getByLabel(`Select ${number}`).check();
  await page.keyboard.press("s");
  await page.getByRole("dialog", { name: "Status: 3 tickets" }).getByRole("combobox").waitFor();
  await ilya.mutate("updateTicket", { ticketId: tickets[1].id, status: "CLOSED" });
  await row(page, "Bulk two").waitFor({ state: "detached" });
  await page.keyboard.type("resol");
  await page.keyboard.press("Enter");
  const results = page.getByRole("dialog", { name: "1 ticket was not changed" });
  await results.getByRole("listitem").filter({ hasText: "Changed" }).nth(1).waitFor();
  await results.getByText(/^(The ticket is closed|The ticket can't get this status)/).waitFor();
  await results.getByRole("button", { name: "Close" }).click();
  const statuses = await Promise.all(tickets.map(async ({ number }) => (await ilya.call("query($n: String!) { ticket(number: $n) { status } }", { n: number })).ticket.status));
  assert.deepEqual(statuses, ["RESOLVED", "CLOSED", "RESOLVED"]);
  await page.context().close();
}

async function leavesAloneWhatHasLeftTheList(browser, { anna, ilya }) {
  const tickets = [];
  for (const name of ["Leaves one", "Leaves two", "Leaves three"]) tickets.push(await anna.openTicket(name));
  const [first, second] = tickets;
  const page = await work(browser, AGENT, "?view=open");
  for (const { number } of [first, second]) await page.getByLabel(`Select ${number}`).check();
  await page.getByLabel("2 selected").waitFor();
  await ilya.mutate("updateTicket", { ticketId: first.id, status: "RESOLVED" });
  await page.getByLabel("1 selected").waitFor();
  // What comes back is not changed with the others.
  await anna.comment(first, "It is not repaired");
  await row(page, "Leaves one").waitFor();
  assert.ok(!(await page.getByLabel(`Select ${first.number}`).isChecked()));
  await page.getByLabel("1 selected").waitFor();
  await page.keyboard.press("p");
  await page.getByRole("dialog", { name: `Priority: ${second.number}` }).getByRole("combobox").fill("Highest");
  await page.keyboard.press("Enter");
  const priority = async ({ number }) => (await ilya.call("query($n: String!) { ticket(number: $n) { priority } }", { n: number })).ticket.priority;
  await until(async () => (await priority(second)) === "HIGHEST");
  assert.notEqual(await priority(first), "HIGHEST");

  // From a ticket that has left it, the keys go on to its neighbours.
  await row(page, "Leaves two").click();
  await page.getByRole("heading", { name: "Leaves two" }).waitFor();
  await ilya.mutate("updateTicket", { ticketId: second.id, status: "RESOLVED" });
  await page.locator("strong.status", { hasText: "Resolved" }).waitFor();
  await page.keyboard.press("j");
  await page.waitForURL((url) => url.pathname.includes("/tickets/") && !url.pathname.endsWith(second.number));
  await page.context().close();
}

async function finishesAnUploadThatIsLeft(browser, { anna }) {
  const ticket = await anna.openTicket("A file on its way");
  const page = await openTicket(browser, AGENT, ticket);
  const release = await hold(page, (request) => (request.headers()["content-type"] ?? "").startsWith("multipart"));
  await field(page).fill("See the file.");
  await page.locator("input[type=file]").setInputFiles([{ name: "late.txt", mimeType: "text/plain", buffer: Buffer.from("late") }]);
  await page.getByRole("button", { name: "Note for staff" }).click();
  await page.getByRole("link", { name: "Search" }).click();
  await page.getByRole("heading", { name: "Search" }).waitFor();
  // Until it has arrived, the browser asks before it leaves the desk.
  const asked = page.waitForEvent("dialog");
  await page.evaluate(() => void setTimeout(() => location.reload()));
  const dialog = await asked;
  assert.equal(dialog.type(), "beforeunload");
  await dialog.dismiss();
  release();
  await page.goBack();
  await page.getByRole("button", { name: "Remove late.txt" }).waitFor();
  await page.getByRole("button", { name: "Send the answer" }).click();
  await until(async () => (await anna.comments(ticket)).some(({ attachments }) => attachments[0]?.name === "late.txt"));
  await page.context().close();
}

async function showsEarlierEntriesOnce(browser, { anna, ilya }) {
  const ticket = await anna.openTicket("A long story");
  const comments = [];
  for (let n = 0; n < 60; n++) comments.push((await anna.comment(ticket, `Part ${n}.`)).comment);
  const page = await openTicket(browser, AGENT, ticket);
  const isEarlier = (request) => mentions(request, "query Earlier");
  const earlier = page.getByRole("button", { name: "Show earlier entries" });
  await page.context().setOffline(true);
  await earlier.click();
  await page.getByRole("alert").getByText("The server can't be reached").waitFor();
  await page.context().setOffline(false);
  const answers = await holdAnswers(page, isEarlier);
  await earlier.dblclick();
  await until(async () => (await page.evaluate(() => true)) && answers.length > 0, "they are read");
  // What is erased while they are on their way is not shown.
  await ilya.mutate("redactComment", { commentId: comments[0].id });
  await page.getByText("Ilya Sokolov removed a text").first().waitFor();
  for (const answer of answers) await answer();
  await earlier.waitFor({ state: "detached" });
  assert.equal(await page.getByText("Part 0.", { exact: true }).count(), 0);
  assert.equal(await page.getByText("Part 1.", { exact: true }).count(), 1);
  assert.equal(await page.locator("article", { hasText: /Part \d+\./ }).count(), 59);
  await page.context().close();
}

async function showsARejectedNoteAndItsStatus(browser, { anna, marta }) {
  const ticket = await anna.openTicket("A note with a file");
  const page = await openTicket(browser, AGENT, ticket);
  await page.getByRole("button", { name: "Note for staff" }).click();
  const note = page.getByLabel("Your note. Only staff see it.");
  await note.fill("A note that is rejected");
  await page.getByLabel("Then").selectOption("RESOLVED");
  await page.locator("input[type=file]").setInputFiles([{ name: "gone.txt", mimeType: "text/plain", buffer: Buffer.from("gone") }]);
  await page.getByRole("button", { name: "Remove gone.txt" }).waitFor();
  const [file] = await page.evaluate(() => {
    const name = Object.keys(localStorage).find((key) => key.startsWith("ticketwire:draft:"));
    return JSON.parse(localStorage.getItem(name)).files;
  });
  await marta.mutate("deleteUploadedFile", { id: file.id });
  await page.getByRole("button", { name: "Add the note" }).click();
  const letter = page.locator("article.letter", { hasText: "A note that is rejected" });
  await letter.getByText("These files are no longer stored: gone.txt.").waitFor();
  // From elsewhere a link leads to it, whatever the page begins with.
  await page.getByRole("link", { name: "Search" }).click();
  await page.getByRole("link", { name: "A message was not sent. See why" }).click();
  await field(page).waitFor();
  await letter.getByRole("button", { name: "Edit" }).click();
  assert.equal(await note.inputValue(), "A note that is rejected");
  assert.equal(await page.getByLabel("Then").inputValue(), "RESOLVED");
  // It would end the conversation over what the customer says meanwhile. Without a status it ends nothing.
  await anna.comment(ticket, "One more question");
  await page.locator("article", { hasText: "One more question" }).waitFor();
  await note.press("Control+Enter");
  await heldBack(page).getByText("One more question").waitFor();
  await heldBack(page).getByRole("button", { name: "Back" }).click();
  await page.getByLabel("Then").selectOption("");
  await note.press("Control+Enter");
  await page.locator("article.note:not(.letter)", { hasText: "A note that is rejected" }).waitFor();
  await page.context().close();
}

async function keepsTheStatusThatIsSetWithAnAnswer(browser, { anna }) {
  const ticket = await anna.openTicket("Resolved with an answer");
  const page = await openTicket(browser, AGENT, ticket);
  const status = page.getByLabel("Then");
  await status.selectOption("RESOLVED");
  await page.getByRole("button", { name: "Note for staff" }).click();
  await page.getByLabel("Your note. Only staff see it.").waitFor();
  await page.getByRole("button", { name: "Answer to the customer" }).click();
  await field(page).waitFor();
  assert.equal(await status.inputValue(), "RESOLVED", "it is kept without a text");
  await field(page).fill("It is repaired.");
  await page.getByRole("button", { name: "Note for staff" }).click();
  await page.getByLabel("Your note. Only staff see it.").waitFor();
  assert.equal(await status.inputValue(), "");
  await page.getByRole("button", { name: "Answer to the customer" }).click();
  await field(page).waitFor();
  assert.equal(await status.inputValue(), "RESOLVED");
  await page.getByRole("link", { name: "Search" }).click();
  await page.getByRole("heading", { name: "Search" }).waitFor();
  await page.goBack();
  await field(page).waitFor();
  assert.equal(await status.inputValue(), "RESOLVED");
  await page.getByRole("button", { name: "Send the answer" }).click();
  await page.locator("strong.status", { hasText: "Resolved" }).waitFor();
  assert.equal(await status.inputValue(), "", "the next answer sets none");
  // A status without a text is nothing that would be lost.
  await status.selectOption({ index: 1 });
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("input[autocomplete=current-password]").waitFor();
  await page.context().close();
}

async function findsWhatWasTypedLast(browser, { anna }) {
  const [first, second] = [await anna.openTicket("A pelican"), await anna.openTicket("An ostrich")];
  const page = await work(browser, AGENT, "/search?q=pelican");
  const label = page.getByLabel("Words, a number, a name");
  await page.getByRole("link", { name: first.number }).waitFor();
  await label.fill("ostrich");
  await page.keyboard.press("Enter");
  await until(() => page.evaluate(() => document.activeElement.matches("main li a")));
  assert.match(await page.evaluate(() => document.activeElement.textContent), new RegExp(second.number));
  // The menu leads to an empty search, and the way back to the one before.
  await page.getByRole("navigation").getByRole("link", { name: "Search" }).click();
  await page.getByRole("link", { name: second.number }).waitFor({ state: "detached" });
  assert.equal(await label.inputValue(), "");
  await page.goBack();
  await page.getByRole("link", { name: second.number }).waitFor();
  assert.equal(await label.inputValue(), "ostrich");
  await page.context().close();
}

async function breaksLongWords(browser, { anna, ilya }) {
  const ticket = await anna.openTicket("W".repeat(240), "W".repeat(240));
  await anna.openTicket("V".repeat(240));
  const view = await ilya.mutate("createSavedView", { name: "v".repeat(80), isShared: true, filter: {} }, "savedView { id }");
  const page = await openTicket(browser, AGENT, ticket);
  await page.locator("input[type=file]").setInputFiles([{ name: `${"x".repeat(200)}.txt`, mimeType: "text/plain", buffer: Buffer.from("x") }]);
  await page.getByRole("button", { name: /^Remove x/ }).waitFor();
  const pages = [[`tickets/${ticket.number}`, /V{240}/], ["?view=open", /v{80}/], [`search?q=${ticket.number}`, /W{50}/], [`people/${encodeURIComponent(anna.id)}`, /W{50}/]];
  for (const width of [320, 1280]) {
    await page.setViewportSize({ width, height: 900 });
    for (const [path, text] of pages) {
      await page.goto(`${origin}desk${path.startsWith("?") ? "" : "/"}${path}`);
      await page.getByText(text).first().waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, path);
    }
  }
  await page.goto(`${origin}desk/tickets/${ticket.number}`);
  await page.getByRole("button", { name: /^Remove x/ }).click();
  await ilya.mutate("retireSavedView", { id: view.savedView.id });
  await page.context().close();
}

async function breaksLongNames(browser, { anna, marta, ilya }) {
  const rename = async (names) => {
    for (const [person, name] of names) await ilya.mutate("updateAccount", { id: person.id, name });
  };
  await rename([[anna, "N".repeat(120)], [marta, "M".repeat(120)]]);
  const ticket = await anna.openTicket("Of a person with a long name");
  await marta.mutate("updateTicket", { ticketId: ticket.id, assigneeId: marta.id });
  for (const person of [anna, marta]) await person.comment(ticket, "A comment");
  const person = encodeURIComponent(anna.id);
  const customer = await visit(browser, { email: CUSTOMER, userAgent: "U".repeat(200) });
  const admin = await work(browser, ADMIN);
  const pages = [
    [customer, `tickets/${ticket.number}`, /^N{120}$/], [customer, "account", "Sessions and devices"],
    [admin, `desk/tickets/${ticket.number}`, /^M{120}$/], [admin, "desk/people", /N{120}/], [admin, `desk/people/${person}`, /N{120}/],
    [admin, `desk/new?customer=${person}`, /N{120}/], [admin, `desk/search?q=${ticket.number}`, /N{120}/], [admin, "desk?view=open", "Of a person with a long name"],
  ];
  for (const width of [320, 1280]) {
    for (const [page, path, text] of pages) {
      await page.setViewportSize({ width, height: 900 });
      await page.goto(origin + path);
      await page.getByText(text).first().waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, path);
    }
  }
  await rename([[anna, "Anna Petrova"], [marta, "Marta Lindqvist"]]);
  for (const page of [customer, admin]) await page.context().close();
}

async function knowsNoMalformedAddress(browser) {
  for (const [open, paths] of [
    [() => work(browser, AGENT, "/search"), ["desk/tickets/%E0%A4%A", "desk/people/%E0"]],
    [() => visit(browser, { email: CUSTOMER }), ["tickets/%E0", "new/%E0"]],
  ]) {
    const page = await open();
    for (const path of paths) {
      // As after a step back: not every server between lets such an address through.
      await page.evaluate((to) => {
        history.pushState(null, "", to);
        dispatchEvent(new PopStateEvent("popstate", { state: null }));
      }, origin + path);
      await page.getByRole("heading", { name: "This page does not exist." }).waitFor();
    }
    await page.context().close();
  }
}

async function leadsOnFromAnAddressOfNothing(browser) {
  const page = await work(browser, AGENT, "/new?customer=xx");
  await page.getByText("There is no such customer.").waitFor();
  await page.getByRole("button", { name: "Choose the customer" }).click();
  await pickCustomer(page, "Anna Petrova");
  await page.context().close();
  const portal = await visit(browser, { path: "new/technical-support?follows=CS-999999" });
  await portal.getByText("There is no ticket CS-999999 that you can see.").waitFor();
  await portal.getByLabel("Summary").waitFor();
  await portal.goto(`${origin}tickets?after=garbage`);
  await portal.getByRole("table").waitFor();
  assert.equal(new URL(portal.url()).search, "");
  await portal.context().close();
}

async function keepsTheFocusAtWhatIsChanged(browser, { anna, ilya }) {
  await ilya.mutate("createCannedAnswer", { title: "Upper", body: "Upper", isShared: true });
  await ilya.mutate("createCannedAnswer", { title: "Lower", body: "Lower", isShared: true });
  const ticket = await anna.openTicket("Keeps the focus");
  const page = await work(browser, ADMIN, "/admin?part=canned");
  const button = (name) => page.getByRole("button", { name, exact: true });
  for (const name of ["Move Lower up", "Move Lower down"]) {
    await button(name).focus();
    await page.keyboard.press("Enter");
    await hasFocus(button(name));
  }
  // What is asked for next waits until the order is stored, which names all of the list.
  const isOrder = (request) => mentions(request, "mutation OrderCannedAnswers");
  const release = await hold(page, isOrder);
  const sent = [];
  page.on("request", (request) => mentions(request, "mutation") && sent.push(isOrder(request)));
  const ordered = page.waitForRequest(isOrder);
  await button("Move Lower up").click();
  await ordered;
  await button("Retire Lower").focus();
  await page.keyboard.press("Enter");
  await painted(page);
  assert.deepEqual(sent, [true]);
  release();
  await hasFocus(button("Restore Lower"));
  assert.equal(await page.getByText("Nothing was changed").count(), 0);
  await page.keyboard.press("Enter");
  await hasFocus(button("Retire Lower"));
  await page.goto(`${origin}desk?view=open`);
  await page.getByLabel(`Select ${ticket.number}`).check();
  await button("Priority").click();
  await page.getByRole("option", { name: "Low", exact: true }).click();
  await page.getByText("1 ticket was changed.").waitFor();
  await hasFocus(button("Priority"));
  await page.context().close();
}

async function saysThatATicketIsBehind(browser, { anna }) {
  const ticket = await anna.openTicket("Is behind");
  const page = await work(browser, AGENT, "/account");
  const held = [];
  const line = { isFollowed: false, isHeld: false };
  await page.context().routeWebSocket(/\/graphql$/, (socket) => {
    const server = socket.connectToServer();
    let id = null;
    line.socket = socket;
    socket.onMessage((message) => {
      if (message.includes("ticketEvents(")) ({ id } = JSON.parse(message));
      server.send(message);
    });
    server.onMessage((message) => {
      const isOfTicket = id !== null && message.includes(id);
      if (isOfTicket && line.isHeld) return held.push(() => socket.send(message));
      line.isFollowed ||= isOfTicket;
      return socket.send(message);
    });
  });
  await page.goto(`${origin}desk/tickets/${ticket.number}`);
  await until(async () => (await page.evaluate(() => true)) && line.isFollowed, "the ticket is followed");
  // After a lost line the queue reaches the present, and the ticket does not.
  line.isHeld = true;
  await line.socket.close({ code: 1013 });
  await until(async () => (await page.evaluate(() => true)) && held.length > 0, "the ticket is followed again");
  const behind = page.getByText("Catching up");
  await behind.waitFor();
  line.isHeld = false;
  for (const send of held) send();
  await behind.waitFor({ state: "detached" });
  await page.context().close();
}

async function returnsToTheSearchForPeople(browser) {
  const page = await work(browser, ADMIN, "/people");
  const label = page.getByLabel("Name or e-mail address");
  await label.fill("Petrova");
  await page.waitForURL(/q=Petrova/);
  await page.getByRole("link", { name: "Anna Petrova" }).click();
  await page.getByRole("heading", { name: "Anna Petrova" }).waitFor();
  await page.goBack();
  await page.getByRole("link", { name: "Anna Petrova" }).waitFor();
  assert.equal(await label.inputValue(), "Petrova");
  await page.getByRole("navigation").getByRole("link", { name: "People" }).click();
  await page.getByRole("link", { name: "Jonas Weber" }).waitFor();
  assert.equal(await label.inputValue(), "");
  await page.context().close();
}

async function beginsWithANoteThatWasNotSent(browser, { anna }) {
  const ticket = await anna.openTicket("A note that was begun");
  const page = await openTicket(browser, AGENT, ticket);
  const note = page.getByLabel("Your note. Only staff see it.");
  await page.getByRole("button", { name: "Note for staff" }).click();
  await note.fill("Half a note");
  await page.reload();
  await note.waitFor();
  assert.equal(await note.inputValue(), "Half a note");
  // One of both is shown, and the other is not forgotten.
  await page.getByRole("button", { name: "Answer to the customer" }).click();
  await page.getByRole("button", { name: /Note for staff.*not sent yet/ }).waitFor();
  await field(page).fill("Half an answer");
  await page.reload();
  await field(page).waitFor();
  await page.getByRole("button", { name: /Note for staff.*not sent yet/ }).click();
  await note.fill("");
  await page.getByRole("button", { name: /Answer to the customer.*not sent yet/ }).click();
  await field(page).fill("");
  await page.context().close();
}

async function goesOnInTheFieldOfANote(browser, { anna, marta }) {
  const ticket = await anna.openTicket("A note that is about to be begun");
  const page = await openTicket(browser, AGENT, ticket);
  const note = page.getByLabel("Your note. Only staff see it.");
  await page.getByRole("button", { name: "Note for staff" }).click();
  await note.waitFor();
  await page.reload();
  await note.waitFor();
  await marta.call("mutation { revokeOtherSessions { userErrors { code } } }");
  await page.getByText("Sign in again to continue.").waitFor();
  await signIn(page, AGENT);
  await note.fill("For colleagues");
  await page.getByRole("button", { name: "Add the note" }).click();
  await page.locator("article.note", { hasText: "For colleagues" }).waitFor();
  await page.reload();
  await note.waitFor();
  assert.deepEqual(await anna.bodies(ticket), []);
  // Who comes back from elsewhere begins again.
  await page.getByRole("link", { name: "Search" }).click();
  await page.getByRole("heading", { name: "Search" }).waitFor();
  await page.goBack();
  await field(page).waitFor();
  await page.context().close();
}

async function keepsTheFieldThatHasTheCursor(browser, { anna, ilya }) {
  const ticket = await anna.openTicket("Closed under the cursor");
  const page = await openTicket(browser, AGENT, ticket);
  await field(page).focus();
  await ilya.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  await page.getByText("This ticket is closed and accepts no answers.").waitFor();
  await painted(page);
  // Each letter is a key elsewhere.
  await page.keyboard.type("escape");
  assert.equal(await field(page).inputValue(), "escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.context().close();
}

async function keepsACannedAnswerOverTheEndOfASession(browser, { marta }) {
  const page = await work(browser, AGENT, "/admin?part=canned");
  const dialog = page.getByRole("dialog");
  const [title, text] = [dialog.getByLabel("Title"), dialog.getByLabel("Text")];
  const open = () => page.getByRole("button", { name: "New answer" }).click();
  const isClosed = () => dialog.waitFor({ state: "detached" });
  const drafts = () => page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("ticketwire:draft:")));
  const endTheSession = async () => {
    await marta.call("mutation { revokeOtherSessions { userErrors { code } } }");
    await page.getByText("Sign in again to continue.").waitFor();
    await signIn(page, AGENT);
  };
  const language = dialog.getByLabel("Language");
  const unsaved = dialog.getByText("This is a draft that you have not saved yet.");
  const begin = async () => {
    await open();
    await title.fill("Half a title");
    await text.fill("Half a text");
    await dialog.getByLabel("Category").selectOption("Technical Support");
    await language.selectOption("EN");
    assert.equal(await unsaved.count(), 0);
    await endTheSession();
    await open();
    assert.deepEqual([await title.inputValue(), await text.inputValue()], ["Half a title", "Half a text"]);
    assert.equal(await dialog.getByLabel("Category").locator("option:checked").innerText(), "Technical Support");
    assert.equal(await language.inputValue(), "EN");
    await unsaved.waitFor();
  };
  await begin();
  await page.keyboard.press("Escape");
  await dialog.getByText("Close it once more to discard what you wrote.").waitFor();
  await page.keyboard.press("Escape");
  await isClosed();
  assert.deepEqual(await drafts(), []);
  await open();
  assert.deepEqual([await title.inputValue(), await text.inputValue()], ["", ""]);
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await isClosed();

  await begin();
  await dialog.getByRole("button", { name: "Save" }).click();
  await isClosed();
  assert.deepEqual(await drafts(), []);
  // One that is changed has a draft of its own.
  await page.getByRole("button", { name: "Edit Half a title" }).click();
  await text.fill("A whole text");
  assert.equal((await drafts()).length, 1);
  // Meanwhile it is changed elsewhere. The draft does not replace that unseen.
  const { id } = (await marta.call("{ cannedAnswers { id title } }")).cannedAnswers.find((answer) => answer.title === "Half a title");
  await marta.mutate("updateCannedAnswer", { id, title: "Half a title", body: "A newer text" });
  // As an earlier version of the page has stored it.
  await page.evaluate((name) => {
    const { categoryId, locale, ...draft } = JSON.parse(localStorage.getItem(name));
    localStorage.setItem(name, JSON.stringify(draft));
  }, (await drafts())[0]);
  await endTheSession();
  await page.getByRole("button", { name: "Edit Half a title" }).click();
  const outdated = dialog.getByRole("alert").filter({ hasText: "A newer text" });
  await outdated.getByText("Technical Support, English").waitFor();
  assert.equal(await text.inputValue(), "A whole text");
  assert.equal(await language.inputValue(), "EN");
  await outdated.getByRole("button", { name: "Discard my draft and use this text" }).click();
  await hasFocus(title);
  assert.equal(await text.inputValue(), "A newer text");
  assert.equal(await dialog.getByRole("alert").or(unsaved).count(), 0);
  // Nothing of one's own is left to ask about.
  await page.keyboard.press("Escape");
  await isClosed();
  assert.deepEqual(await drafts(), []);
  await page.context().close();
}

async function keepsWhatIsSearchedForOnEscape(browser) {
  const page = await work(browser, AGENT, "/search?q=pelican");
  const label = page.getByLabel("Words, a number, a name");
  await hasFocus(label);
  await page.keyboard.press("Escape");
  await until(() => page.evaluate(() => document.activeElement === document.body));
  await painted(page);
  assert.equal(await label.inputValue(), "pelican");
  await page.context().close();
}

async function keepsAFormOverAnUpgrade(browser) {
  const page = await work(browser, AGENT, "/admin?part=canned");
  await page.getByRole("button", { name: "New answer" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Title").fill("Half a title");
  await dialog.getByLabel("Text").fill("Half a text");
  // Nothing has the focus.
  await dialog.getByRole("heading").click();
  // The new server has the page under another name.
  await page.route(`${origin}desk`, async (route) => {
    const response = await route.fetch({ maxRetries: 3 });
    await route.fulfill({ response, body: (await response.text()).replace(/\/assets\/desk-/, "/assets/desk-new-") });
  });
  const asked = page.waitForResponse(`${origin}desk`);
  await ask("kill");
  await page.getByText("The connection is lost").waitFor();
  await ask("start");
  await (await asked).finished();
  let loads = 0;
  page.on("load", () => (loads += 1));
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
  assert.equal(loads, 0);
  assert.equal(await dialog.getByLabel("Text").inputValue(), "Half a text");
  const reloaded = page.waitForEvent("load");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await reloaded;
  // The page may ask for its version once more.
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.context().close();
}

async function sendsWhenTheServerIsBack(browser, { anna }) {
  const ticket = await anna.openTicket("While it is away");
  const page = await openTicket(browser, AGENT, ticket);
  await ask("kill");
  await page.getByText("The connection is lost.").waitFor();
  await field(page).fill("Written while it was away");
  await page.getByRole("button", { name: "Send the answer" }).click();
  await page.getByText("The message is sent when the connection is back.").waitFor();
  await ask("start");
  await page.locator("article:not(.letter)", { hasText: "Written while it was away" }).waitFor();
  assert.deepEqual(await anna.bodies(ticket), ["Written while it was away"]);
  await page.context().close();
}

async function keepsTheNewTicketOfEachCustomer(browser) {
  const page = await work(browser, AGENT, "/new");
  const summary = page.getByLabel("Summary");
  await pickCustomer(page, "Jonas Weber");
  await summary.fill("Asked by Jonas");
  await page.reload();
  await page.getByText("For Jonas Weber").waitFor();
  assert.equal(await summary.inputValue(), "Asked by Jonas");
  // A new ticket begins with the choice of its customer, and the way back leads to the one before.
  await page.getByRole("navigation").getByRole("link", { name: "New ticket", exact: true }).click();
  await pickCustomer(page, "Anna Petrova");
  assert.equal(await summary.inputValue(), "");
  await page.goBack();
  await page.getByText("For Jonas Weber").waitFor();
  assert.equal(await summary.inputValue(), "Asked by Jonas");
  // It can be read on when another person has signed in.
  const other = await page.context().newPage();
  await other.goto(`${origin}desk/search`);
  await other.evaluate(() => localStorage.setItem("ticketwire:account", "another"));
  await page.getByRole("heading", { name: "Another person has signed in" }).waitFor();
  await painted(page);
  assert.equal(await summary.inputValue(), "Asked by Jonas");
  await page.context().close();
}

async function leadsToATicketThatWasOpenedLate(browser) {
  const page = await work(browser, AGENT, "/new");
  await pickCustomer(page, "Anna Petrova");
  await page.route("**/graphql", (route) => (mentions(route.request(), "mutation CreateTicket") ? route.abort() : route.fallback()));
  await page.getByLabel("Summary").fill("Opened after a reload");
  await page.getByLabel("Description").fill("Asked on the phone.");
  await page.getByRole("button", { name: "Open the ticket" }).click();
  const letter = page.locator("article.letter", { hasText: "Opened after a reload" });
  await letter.waitFor();
  await page.reload();
  await letter.waitFor();
  await page.unroute("**/graphql");
  await page.getByRole("link", { name: "Opened after a reload" }).click();
  await page.getByRole("heading", { name: "Opened after a reload" }).waitFor();
  await page.context().close();
}

async function staysWithTheNextTicketThatIsWritten(browser) {
  const page = await work(browser, AGENT, "/new");
  const summary = page.getByLabel("Summary");
  await pickCustomer(page, "Anna Petrova");
  const release = await hold(page, (request) => mentions(request, "mutation CreateTicket"));
  await summary.fill("Opened while the next is written");
  await page.getByLabel("Description").fill("Asked on the phone.");
  await page.getByRole("button", { name: "Open the ticket" }).click();
  await summary.fill("The next one");
  release();
  const link = page.getByRole("link", { name: "Opened while the next is written" });
  await link.waitFor();
  // Its author decides, also if they give the next one up.
  await summary.fill("");
  await painted(page);
  assert.equal(new URL(page.url()).pathname, "/desk/new");
  await link.click();
  await page.getByRole("heading", { name: "Opened while the next is written" }).waitFor();
  await page.context().close();
}

async function followsAgainAfterAFailure(browser, { anna }) {
  const ticket = await anna.openTicket("Fails at the desk");
  const page = await work(browser, AGENT, "/search");
  const refuse = await controlStreams(page);
  await page.goto(`${origin}desk?view=unassigned`);
  await page.getByRole("heading", { name: "Unassigned" }).waitFor();
  await refuse("queueEvents");
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "All open" }).click();
  await row(page, "Fails at the desk").waitFor();
  await page.getByText("You may not do this.").waitFor({ state: "detached" });
  await anna.openTicket("Opened after the failure");
  await row(page, "Opened after the failure").waitFor();

  await row(page, "Fails at the desk").click();
  await field(page).waitFor();
  await refuse("ticketEvents");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("You may not do this.").waitFor({ state: "detached" });
  await anna.comment(ticket, "Said after the failure");
  await page.locator("article", { hasText: "Said after the failure" }).waitFor();
  await page.context().close();
}

async function readsAViewAgainAfterAFailure(browser, { anna, marta }) {
  const { savedView } = await marta.mutate("createSavedView", { name: "About penguins", filter: { text: "penguin" } }, "savedView { id }");
  await anna.openTicket("A first penguin");
  const page = await work(browser, AGENT, `?view=saved-${savedView.id}`);
  await row(page, "A first penguin").waitFor();
  const busy = { errors: [{ message: "busy", extensions: { code: "UNAVAILABLE", retryAfterSeconds: 1 } }] };
  const failed = page.waitForResponse((response) => mentions(response.request(), "query QueueRows"));
  await page.route("**/graphql", (route) => (mentions(route.request(), "query QueueRows") ? route.fulfill({ json: busy }) : route.fallback()));
  await anna.openTicket("A second penguin");
  await (await failed).finished();
  await page.unroute("**/graphql");
  await row(page, "A second penguin").waitFor();
  await page.context().close();
}

async function saysAtOnceThatAViewIsNotThere(browser, { anna }) {
  await anna.openTicket("In another view");
  const page = await work(browser, AGENT, "?view=mine");
  await page.locator('a[aria-current="page"]', { hasText: "Assigned to me" }).waitFor();
  const busy = { errors: [{ message: "busy", extensions: { code: "UNAVAILABLE", retryAfterSeconds: 1 } }] };
  let refused = 0;
  await page.route("**/graphql", (route) => {
    if (refused > 0 || !mentions(route.request(), "query QueueRows")) return route.fallback();
    refused += 1;
    return route.fulfill({ json: busy });
  });
  await page.getByRole("link", { name: "All open" }).click();
  const failure = page.getByRole("alert").getByText("You can try again in 0:01.");
  await failure.waitFor();
  await row(page, "In another view").waitFor();
  await failure.waitFor({ state: "detached" });
  await page.context().close();
}

async function showsNoFailureOfTheViewBefore(browser) {
  const page = await work(browser, AGENT, "?view=mine");
  await page.locator('a[aria-current="page"]', { hasText: "Assigned to me" }).waitFor();
  const busy = { errors: [{ message: "busy", extensions: { code: "UNAVAILABLE", retryAfterSeconds: 600 } }] };
  let isBusy = true;
  const held = [];
  await page.route("**/graphql", (route) => {
    if (!mentions(route.request(), "query QueueRows")) return route.fallback();
    return isBusy ? route.fulfill({ json: busy }) : held.push(route);
  });
  await page.getByRole("link", { name: "All open" }).click();
  const failure = page.getByRole("alert").getByText("You can try again in");
  await failure.waitFor();
  isBusy = false;
  await page.getByRole("link", { name: "Assigned to me" }).click();
  await failure.waitFor({ state: "detached" });
  await page.unroute("**/graphql");
  for (const route of held) await route.fallback();
  await page.context().close();
}

async function forgetsAViewThatIsNotShownAnyMore(browser, { anna }) {
  await anna.openTicket("In the view that is shown");
  const page = await work(browser, AGENT, "?view=open");
  await row(page, "In the view that is shown").waitFor();
  const held = [];
  await page.route("**/graphql", (route) => (held.length === 0 && mentions(route.request(), "query QueueRows") ? held.push(route) : route.fallback()));
  await page.getByRole("link", { name: "Assigned to me" }).click();
  await until(async () => (await page.evaluate(() => true)) && held.length > 0, "the view is read");
  await page.getByRole("link", { name: "All open" }).click();
  await row(page, "In the view that is shown").waitFor();
  const failed = page.waitForResponse((response) => response.request() === held[0].request());
  await held[0].fulfill({ json: { errors: [{ message: "refused", extensions: { code: "FORBIDDEN" } }] } });
  await (await failed).finished();
  await painted(page);
  assert.equal(await page.getByText("You may not do this.").count(), 0);
  await page.context().close();
}

async function showsAFollowUpOfTheOpenTicket(browser, { anna, marta }) {
  const ticket = await anna.openTicket("Continued at the desk");
  const page = await work(browser, AGENT, "/search");
  await page.goto(`${origin}desk/tickets/${ticket.number}`);
  await page.getByText(CUSTOMER).first().waitFor();
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  const afterEvent = page.waitForResponse((response) => mentions(response.request(), "query Beside"));
  await page.locator("strong.status", { hasText: "Closed" }).waitFor();
  await (await afterEvent).finished();
  const followUp = await anna.followUp(ticket, "Goes on");
  await page.getByLabel("Details").getByRole("link", { name: followUp.number, exact: true }).waitFor();
  await page.context().close();
}

async function readsWhatStandsBesideATicketRarely(browser, { anna, marta }) {
  const ticket = await anna.openTicket("With mails");
  const page = await work(browser, AGENT, "/search");
  await page.clock.install();
  const reads = countOperations(page, "query Beside");
  const heard = new Promise((resolve) => page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => payload.includes("Of somebody else") && resolve())));
  const isRead = () => page.waitForResponse((response) => mentions(response.request(), "query Beside"));
  await page.goto(`${origin}desk/tickets/${ticket.number}`);
  await page.getByText(CUSTOMER).first().waitFor();
  // Nothing happens, and nothing is read.
  await page.clock.fastForward(30_000);
  const afterEvent = isRead();
  await marta.mutate("updateTicket", { ticketId: ticket.id, summary: "With more mails" });
  await page.getByRole("heading", { name: "With more mails" }).waitFor();
  await page.clock.fastForward(2_000);
  await afterEvent;
  assert.equal(reads.count, 2, "for the visit, and for the event");
  const afterAMinute = isRead();
  await page.clock.fastForward(60_000);
  await afterAMinute;
  assert.equal(reads.count, 3);
  // What the customer opens is beside it, and what others open is not.
  const afterAnother = isRead();
  await anna.openTicket("Opened beside it");
  await until(async () => {
    await page.clock.runFor(500);
    return reads.count === 4;
  });
  await (await afterAnother).finished();
  await (await Person.signIn(OTHER_CUSTOMER)).openTicket("Of somebody else");
  await heard;
  await painted(page);
  await page.clock.fastForward(2_000);
  await painted(page);
  assert.equal(reads.count, 4);

  const refused = { errors: [{ message: "refused", extensions: { code: "FORBIDDEN" } }] };
  await page.route("**/graphql", (route) => (mentions(route.request(), "query Beside") ? route.fulfill({ json: refused }) : route.fallback()));
  await page.clock.fastForward(60_000);
  await page.getByText("You may not do this.").waitFor();
  await page.unroute("**/graphql");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("You may not do this.").waitFor({ state: "detached" });
  await page.context().close();
}

/** Adds a service token. Returns the dialog. */
async function addToken(page, name) {
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "New service token" });
  await dialog.getByLabel("Name").fill(name);
  await dialog.getByLabel("Create links that sign customers in").check();
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  return dialog;
}

async function copiesATokenOrSaysThatItCannot(browser) {
  const page = await work(browser, ADMIN, "/admin?part=tokens");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  // As if the page had been opened by an address without TLS.
  await page.addInitScript(() => Object.defineProperty(window, "isSecureContext", { value: false, configurable: true }));
  await page.reload();
  const dialog = await addToken(page, "Copied");
  const [secret, password] = [dialog.locator(".secret"), page.getByLabel("Current password")];
  await secret.or(password).first().waitFor();
  if (await password.isVisible()) {
    await password.fill(PASSWORD);
    await page.getByRole("button", { name: "Confirm" }).click();
    await secret.waitFor();
  }
  await until(() => page.evaluate(() => document.activeElement.matches("dialog .secret")));
  // What is behind the dialog has no keys, although nothing has the focus.
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => location.pathname), "/desk/admin");
  const copy = dialog.getByRole("button", { name: "Copy" });
  await copy.click();
  await dialog.getByRole("status").getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await secret.innerText());

  await page.evaluate(() => (document.execCommand = () => false));
  await copy.click();
  await dialog.getByText("Copying failed.").waitFor();
  await page.evaluate(() => {
    Object.defineProperty(window, "isSecureContext", { value: true });
    navigator.clipboard.writeText = async () => Promise.reject(new DOMException("refused", "NotAllowedError"));
  });
  await copy.click();
  await dialog.getByText("Copying failed.").waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();

  // Only the first answer has the token.
  await loseAnswer(page, "CreateServiceToken");
  await addToken(page, "Lost");
  await dialog.getByText("The server can't be reached.").waitFor();
  await page.unroute("**/graphql");
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  await dialog.getByText("the answer that had it was lost").waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: "Revoke Lost" }).waitFor();
  await page.context().close();
}

async function keepsTheTextOfAnAgentWhoIsDemoted(browser, { anna, marta, ilya }) {
  const ticket = await anna.openTicket("A last answer");
  const page = await openTicket(browser, AGENT, ticket);
  await field(page).fill("What I wanted to say");
  const list = await work(browser, AGENT, "?view=open");
  await row(list, "A last answer").waitFor();
  await ilya.mutate("setAccountRole", { id: marta.id, role: "CUSTOMER" });
  for (const ended of [page, list]) await ended.getByText("Sign in again to continue.").waitFor();
  await list.context().close();
  await signIn(page, AGENT);
  await page.getByRole("heading", { name: "This is the desk of the support staff" }).waitFor();
  await page.getByText("What I wanted to say").waitFor();
  await page.getByRole("link", { name: "Go to the portal" }).click();
  await page.getByRole("heading", { name: "How can we help?" }).waitFor();
  await ilya.mutate("setAccountRole", { id: marta.id, role: "AGENT" });
  await page.context().close();
}

async function leadsStaffToTheDesk(browser, { anna }) {
  const ticket = await anna.openTicket("Linked in a mail");
  const context = await browser.newContext({ locale: "en-US" });
  const page = await context.newPage();
  await page.goto(`${origin}tickets/${ticket.number}`);
  await signIn(page, AGENT);
  await page.waitForURL(`${origin}desk/tickets/${ticket.number}`);
  await page.getByRole("heading", { name: "Linked in a mail" }).waitFor();
  await context.close();
}

async function asksBeforeATextInADialogIsLost(browser) {
  const page = await work(browser, AGENT, "/admin?part=canned");
  const dialog = page.getByRole("dialog");
  const warning = dialog.getByText("Close it once more to discard what you wrote.");
  const open = () => page.getByRole("button", { name: "New answer" }).click();
  const isClosed = () => dialog.waitFor({ state: "detached" });
  await open();
  await page.keyboard.press("Escape");
  await isClosed();

  await open();
  await dialog.getByLabel("Text").focus();
  await page.keyboard.type("A long text");
  assert.ok(await asksBeforeAReload(page));
  await page.keyboard.press("Escape");
  await warning.waitFor();
  // Who goes on writing has decided.
  await page.keyboard.type(" that goes on");
  await warning.waitFor({ state: "detached" });
  await page.keyboard.press("Escape");
  await warning.waitFor();
  assert.equal(await dialog.getByLabel("Text").inputValue(), "A long text that goes on");
  await page.keyboard.press("Escape");
  await isClosed();

  // The browser's way back asks too, and then leaves.
  await page.getByRole("link", { name: "Views" }).click();
  await page.getByRole("link", { name: "Canned answers" }).click();
  await open();
  await dialog.getByLabel("Text").focus();
  await page.keyboard.type("Written before going back");
  await page.evaluate(() => history.back());
  await warning.waitFor();
  await page.waitForURL(/part=canned$/);
  assert.equal(await dialog.getByLabel("Text").inputValue(), "Written before going back");
  await page.evaluate(() => history.back());
  await isClosed();
  await page.waitForURL(/part=views$/);
  // And forward leads where it led before.
  await page.evaluate(() => history.forward());
  await page.waitForURL(/part=canned$/);

  await open();
  await dialog.getByLabel("Text").focus();
  await page.keyboard.type("X");
  await page.keyboard.press("Backspace");
  await page.keyboard.press("Escape");
  await isClosed();

  // A browser that lets no page prevent it closes the dialog at once.
  await open();
  await dialog.getByLabel("Text").fill("Written by a program");
  await page.evaluate(() => document.querySelector("dialog").close());
  await warning.waitFor();
  assert.ok(await dialog.isVisible());
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await isClosed();
  assert.ok(!(await asksBeforeAReload(page)));
  await page.context().close();
}

async function namesATicketThatHasLeftTheList(browser, { anna, ilya }) {
  const tickets = [];
  for (const name of ["Goes away", "Stays and changes", "Stays and changes too"]) tickets.push(await anna.openTicket(name));
  const page = await work(browser, AGENT, "?view=open");
  for (const { number } of tickets) await page.getByLabel(`Select ${number}`).check();
  await row(page, "Goes away").focus();
  await page.keyboard.press("s");
  await page.getByRole("dialog").getByRole("combobox").waitFor();
  await ilya.mutate("updateTicket", { ticketId: tickets[0].id, status: "CLOSED" });
  await row(page, "Goes away").waitFor({ state: "detached" });
  await page.keyboard.type("resol");
  await page.keyboard.press("Enter");
  const results = page.getByRole("dialog", { name: "1 ticket was not changed" });
  await results.getByRole("link", { name: tickets[0].number }).waitFor();
  await results.getByText("Goes away").waitFor();
  await page.keyboard.press("Escape");
  await results.waitFor({ state: "detached" });
  await hasFocus(page.getByRole("toolbar").getByRole("button", { name: "Assignee" }));
  assert.ok(await page.getByText("2 tickets were changed.").isVisible());
  await page.context().close();
}

async function printsTheFactsOfATicket(browser, { anna, ilya }) {
  const ticket = await anna.openTicket("Is printed");
  await ilya.mutate("updateTicket", { ticketId: ticket.id, status: "WORKING_ON_IT", assigneeId: ilya.id, priority: "HIGH" });
  const page = await openTicket(browser, AGENT, ticket);
  await page.emulateMedia({ media: "print" });
  const facts = page.getByRole("complementary").locator("dl");
  for (const value of ["Working on it", "Ilya Sokolov", "High", "Technical Support"]) assert.ok(await facts.getByText(value, { exact: true }).isVisible(), value);
  assert.equal(await page.locator("kbd:visible").count(), 0);
  assert.equal(await page.locator("button:visible").count(), 4, "nothing else that can be pressed is printed");
  await page.context().close();
}

async function readsAListAgainThatOthersHaveChanged(browser, { ilya }) {
  await ilya.mutate("createCategory", { nameEn: "Read before", nameRu: "До", slug: `before-${Date.now()}` });
  const page = await work(browser, ADMIN, "/admin?part=categories");
  const up = page.getByRole("button", { name: "Move Read before · До up" });
  await up.waitFor();
  const { category } = await ilya.mutate("createCategory", { nameEn: "Added meanwhile", nameRu: "После", slug: `after-${Date.now()}` }, "category { id }");
  await up.click();
  await page.getByText("somebody has changed the list meanwhile").waitFor();
  await page.getByRole("button", { name: "Edit Added meanwhile · После" }).waitFor();
  await up.click();
  await page.getByText("somebody has changed the list meanwhile").waitFor({ state: "detached" });
  const names = async () => (await ilya.call("{ categories { name(locale: EN) } }")).categories.map(({ name }) => name);
  await until(async () => (await names()).indexOf("Read before") === (await names()).length - 3, "it is moved");
  for (const { id, name } of (await ilya.call("{ categories { id name(locale: EN) } }")).categories) {
    if (id === category.id || name === "Read before") await ilya.mutate("retireCategory", { id });
  }
  await page.context().close();
}

async function replacesNoSummaryUnseen(browser, { anna, ilya }) {
  const ticket = await anna.openTicket("Called by the customer");
  const page = await openTicket(browser, AGENT, ticket);
  const stored = async () => (await anna.call("query($n: String!) { ticket(number: $n) { summary } }", { n: ticket.number })).ticket.summary;
  const dialog = page.getByRole("dialog");
  const rename = async (summary) => {
    await page.keyboard.press("e");
    await dialog.getByLabel("Summary").fill(summary);
  };
  await rename("Called by the agent");
  await ilya.mutate("updateTicket", { ticketId: ticket.id, summary: "Called by the admin" });
  await page.locator("h1", { hasText: "Called by the admin" }).waitFor();
  await page.keyboard.press("Enter");
  await dialog.getByText("changed the summary to “Called by the admin” meanwhile").waitFor();
  assert.equal(await stored(), "Called by the admin");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await stored(), "Called by the agent");

  // At the same moment, and another change that is no reason to ask.
  await rename("Called once more");
  const release = await hold(page, (request) => mentions(request, "mutation ChangeTicket"));
  const sent = page.waitForRequest((request) => mentions(request, "mutation ChangeTicket"));
  await page.keyboard.press("Enter");
  await sent;
  await ilya.mutate("updateTicket", { ticketId: ticket.id, summary: "Called at once" });
  release();
  await dialog.getByText("changed the summary to “Called at once” meanwhile").waitFor();
  await ilya.mutate("updateTicket", { ticketId: ticket.id, priority: "LOW" });
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await stored(), "Called once more");
  await page.context().close();
}

async function showsNothingThatWasFoundByAnotherText(browser, { anna }) {
  const { number } = await anna.openTicket("A flamingo");
  const agent = await work(browser, AGENT, "/figures");
  const releasePeople = await hold(agent, (request) => mentions(request, "query FindPeople"));
  await agent.goto(`${origin}desk/people?q=anna`);
  await agent.getByText("Loading…").waitFor();
  assert.equal(await agent.getByText("Nobody has such a name or address.").count(), 0);
  releasePeople();
  await agent.getByRole("link", { name: "Anna Petrova" }).waitFor();
  await agent.locator('table[aria-busy="false"]').waitFor();

  await agent.goto(`${origin}desk/search?q=flamingo`);
  await agent.getByRole("link", { name: number }).waitFor();
  const release = await hold(agent, (request) => mentions(request, "query Search"));
  await agent.getByLabel("Words, a number, a name").fill("nothing-of-this-kind");
  await agent.locator('ol[aria-busy="true"]', { hasText: number }).waitFor();
  release();
  await agent.getByText("Nothing found.").waitFor();
  await agent.locator('ol[aria-busy="false"]').waitFor({ state: "attached" });
  await agent.context().close();
}

async function saysWhatIsWrongWithAPeriod(browser) {
  const page = await work(browser, AGENT, "/figures?from=garbage&to=2026-02-31");
  await page.locator("tfoot td").first().waitFor();
  const [from, to] = [page.getByLabel("From"), page.getByLabel("To")];
  assert.match(await from.inputValue(), /^\d{4}-\d\d-\d\d$/);
  const reads = countOperations(page, "query SupportFigures");
  await to.fill("2020-01-01");
  await page.getByText("The first day is after the last one.").waitFor();
  assert.equal(await page.locator("tfoot").count(), 0);
  assert.ok(await page.getByRole("button", { name: "CSV" }).isDisabled());
  await from.fill("2018-12-31");
  await page.getByText("A period has at most 366 days.").waitFor();
  assert.equal(reads.count, 0);
  await from.fill("2019-01-01");
  await page.locator("tfoot td").first().waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
  await page.context().close();
}

async function asksBeforeWhatCannotBeUndone(browser, { ilya }) {
  const name = `Revoked ${Date.now()}`;
  const page = await work(browser, ADMIN, "/admin?part=tokens");
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await dialog.getByLabel("Name").fill(name);
  await dialog.getByLabel("Create links that sign customers in").check();
  const day = dialog.getByLabel("Expires (optional)");
  for (const wrong of ["20260-01-01", "2020-01-01"]) {
    await day.fill(wrong);
    await dialog.getByText("Choose a day from today on, with a year of four digits.").waitFor();
    assert.ok(await dialog.getByRole("button", { name: "Add", exact: true }).isDisabled());
  }
  await day.fill("2099-12-31");
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  const secret = dialog.locator(".secret");
  await secret.waitFor();
  for (const _ of [1, 2, 3]) await page.keyboard.press("Escape");
  assert.ok(await secret.isVisible());
  assert.ok(await asksBeforeAReload(page));
  await dialog.getByRole("button", { name: "Close" }).click();
  await dialog.waitFor({ state: "detached" });

  const revoke = page.getByRole("button", { name: `Revoke ${name}` });
  await revoke.focus();
  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await hasFocus(revoke);
  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Revoke", exact: true }).click();
  await hasFocus(page.getByRole("heading", { name: "Service tokens" }));
  assert.equal(await revoke.count(), 0);

  const { people } = await ilya.call("query($t: String!) { people(text: $t, first: 1) { id } }", { t: OTHER_CUSTOMER });
  await page.goto(`${origin}desk/people/${encodeURIComponent(people[0].id)}`);
  await page.getByRole("button", { name: "Remove all second factors" }).click();
  await dialog.getByRole("button", { name: "Remove", exact: true }).click();
  await page.getByText("This account has no second factor.").waitFor();
  await page.context().close();
}

async function keepsTheFocusWhileAnAccountIsChanged(browser, { ilya }) {
  const email = `focus-${Date.now()}@demo.example`;
  const moved = `moved-${email}`;
  const { account } = await ilya.mutate("createAccount", { name: "Is changed", email, role: "CUSTOMER", locale: "EN" }, "account { id }");
  const page = await work(browser, ADMIN, `/people/${encodeURIComponent(account.id)}`);
  const button = (name) => page.getByRole("button", { name, exact: true });
  const entry = (text) => page.getByRole("listitem").filter({ hasText: text }).first().waitFor();
  const press = async (name) => {
    await button(name).focus();
    await page.keyboard.press("Enter");
  };
  await press("Disable the account");
  await entry("Disabled");
  await hasFocus(button("Enable the account"));
  await page.keyboard.press("Enter");
  await entry("Enabled");
  await hasFocus(button("Disable the account"));
  await page.getByLabel("Name").fill("Was changed");
  await press("Save");
  await entry("Name or language changed");
  await hasFocus(button("Save"));
  // A change of the address leaves the name as it is stored now.
  await ilya.mutate("updateAccount", { id: account.id, name: "Was changed elsewhere" });
  await page.getByLabel("E-mail address").fill(moved);
  await press("Save");
  await entry("E-mail address changed");
  await page.getByRole("heading", { name: "Was changed elsewhere" }).waitFor();
  await page.getByLabel("Role").selectOption("AGENT");
  await press("Change the role");
  await entry("Role: Customer → Agent");
  await hasFocus(button("Change the role"));
  await press("Erase the account");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("To confirm, type").fill(moved);
  await dialog.getByRole("button", { name: "Erase the account" }).click();
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await button("Disable the account").waitFor({ state: "detached" });
  await hasFocus(page.locator("h1"));
  await page.context().close();
}

main("desk-rough", async (browser) => {
  const people = { anna: await Person.signIn(CUSTOMER), marta: await Person.signIn(AGENT), ilya: await Person.signIn(ADMIN) };
  await people.ilya.mutate("updatePreferences", { locale: "EN" });
  const checks = [keepsAPasteThatIsTooLong, showsWhatWasRedacted, takesARejectedAnswerAlongAfterAMerge,
    takesTheTextAlongAfterAMerge, takesBothKindsAlongAfterAMerge, takesFilesWithoutATextAlongAfterAMerge, saysWhereAMergedTicketContinues, showsATicketOnceThatIsFoundAgain,
    showsAViewOfARetiredCategory, showsNoFiguresOfAnotherPeriod, namesAnUnknownPlaceholder, keepsAFormThatIsOpenedWhileItsListLoads,
    keepsANameThatIsTypedWhileAnotherChangeIsStored, choosesWhatFitsTheWholeText, leavesKeysToAnInputMethod, leavesEnterToLinksAndButtons,
    movesAgainWhileAMoveIsStored, reportsEachTicketOfABulkChange, leadsStaffToTheDesk, leavesAloneWhatHasLeftTheList, finishesAnUploadThatIsLeft,
    showsEarlierEntriesOnce, showsARejectedNoteAndItsStatus, keepsTheStatusThatIsSetWithAnAnswer, findsWhatWasTypedLast, breaksLongWords, breaksLongNames, knowsNoMalformedAddress, leadsOnFromAnAddressOfNothing,
    keepsTheFocusAtWhatIsChanged, saysThatATicketIsBehind, returnsToTheSearchForPeople,
    beginsWithANoteThatWasNotSent, goesOnInTheFieldOfANote, keepsTheFieldThatHasTheCursor, keepsACannedAnswerOverTheEndOfASession, keepsWhatIsSearchedForOnEscape,
    keepsAFormOverAnUpgrade, sendsWhenTheServerIsBack,
    keepsTheNewTicketOfEachCustomer, leadsToATicketThatWasOpenedLate, staysWithTheNextTicketThatIsWritten, followsAgainAfterAFailure, readsAViewAgainAfterAFailure, saysAtOnceThatAViewIsNotThere, showsNoFailureOfTheViewBefore, forgetsAViewThatIsNotShownAnyMore, showsAFollowUpOfTheOpenTicket, readsWhatStandsBesideATicketRarely,
    asksBeforeATextInADialogIsLost,
    namesATicketThatHasLeftTheList,
    printsTheFactsOfATicket,
    readsAListAgainThatOthersHaveChanged,
    replacesNoSummaryUnseen,
    showsNothingThatWasFoundByAnotherText,
    saysWhatIsWrongWithAPeriod,
    asksBeforeWhatCannotBeUndone,
    keepsTheFocusWhileAnAccountIsChanged,
    copiesATokenOrSaysThatItCannot, keepsTheTextOfAnAgentWhoIsDemoted];
  for (const check of checks) {
    if (process.env.ONLY && check.name !== process.env.ONLY) continue;
    console.log(check.name);
    await check(browser, people);
  }
});
