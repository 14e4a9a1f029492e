// A day's work at the desk by keyboard alone, from sign-in to sign-out: open, read, answer, note, assign, close,
// canned answer, merge, change several at once, search, open a ticket for a customer. Takes a picture of README.

const { AGENT, assert, CUSTOMER, field, main, origin, PASSWORD, Person, pictures, row, until } = require("./desk-lib");
const { tabTo } = require("./access");

const focused = (page) => page.evaluate(() => document.activeElement.textContent ?? "");

/** Presses a key until what has the focus contains a text. */
async function walkTo(page, key, text) {
  for (let steps = 0; steps < 150; steps += 1) {
    if ((await focused(page)).includes(text)) return;
    await page.keyboard.press(key);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  assert.fail(`${key} does not lead to ${text}`);
}

/** Opens a picker with a key, and chooses what fits the letters. */
async function pick(page, key, letters, choice) {
  await page.keyboard.press(key);
  await page.getByRole("dialog").getByRole("combobox").waitFor();
  await page.keyboard.type(letters);
  await page.getByRole("dialog").getByRole("option", { name: choice, selected: true }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

async function signIn(page) {
  await page.goto(`${origin}desk`);
  await page.getByLabel("Password").waitFor();
  await tabTo(page, "E-mail address");
  await page.keyboard.type(AGENT);
  await tabTo(page, "Password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Waiting longest" }).waitFor();
  const stored = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie].join());
  assert.ok(!stored.includes("tw_"), "no script can read the token");
}

async function insertsACannedAnswer(page) {
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").getByRole("combobox").waitFor();
  await page.keyboard.type("gree");
  await page.getByRole("dialog").getByRole("option", { name: /Greeting/, selected: true }).waitFor();
  await page.keyboard.press("Enter");
  await until(() => page.evaluate(() => document.activeElement.value === "Dear Anna Petrova,"));
}

async function mergesATwin(page, anna, ticket) {
  const twin = await anna.openTicket("The shop is down too", "I asked already.");
  await page.keyboard.press("u");
  await row(page, "The shop is down too").waitFor();
  await walkTo(page, "k", "The shop is down too");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "The shop is down too" }).waitFor();
  await page.keyboard.press("m");
  await page.getByRole("dialog").getByRole("option", { name: ticket.number }).waitFor();
  await page.keyboard.type(ticket.number);
  await page.getByRole("dialog").getByRole("option", { name: ticket.number, selected: true }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Merge the tickets" }).getByText(ticket.number).waitFor();
  await page.keyboard.press("Enter");
  await page.getByText(`This ticket continues in ${ticket.number}.`).waitFor();
  // The event can arrive before the answer, and no key works behind the dialog.
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("u");
  await row(page, ticket.number).waitFor();
  await walkTo(page, "j", ticket.number);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "The shop is down", exact: true }).waitFor();
  await page.getByRole("link", { name: twin.number }).first().waitFor();
  return twin;
}

async function answersATicket(page, anna) {
  await page.keyboard.press("4");
  await page.getByRole("heading", { name: "All open" }).waitFor();
  const ticket = await anna.openTicket("The shop is down", "Nobody can order since this morning.");
  await row(page, "The shop is down").waitFor();
  await walkTo(page, "j", "The shop is down");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "The shop is down" }).waitFor();
  await page.keyboard.press("n");
  await page.keyboard.type("The disk of db3 is full.");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.note", { hasText: "The disk of db3 is full." }).getByText("Internal note").waitFor();
  await page.keyboard.press("Escape");
  await pick(page, "a", "", "Me");
  await pick(page, "p", "highest", "Highest");
  await pick(page, "c", "sales", "Sales");
  await page.getByRole("button", { name: "Category: Sales" }).waitFor();
  await page.keyboard.press("r");
  await insertsACannedAnswer(page);
  await page.keyboard.type(" We have added space. Please try again.");
  await page.keyboard.press("Control+Enter");
  await page.locator("article:not(.letter)", { hasText: "We have added space." }).waitFor();
  assert.equal(await field(page).inputValue(), "", "the draft is gone");
  await anna.comment(ticket, "It works, thank you!");
  await page.locator("article", { hasText: "It works, thank you!" }).waitFor();
  await page.keyboard.press("Escape");
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${pictures}/desk.png` });
  const twin = await mergesATwin(page, anna, ticket);
  await pick(page, "s", "clos", "Closed");
  await page.getByText("This ticket is closed").waitFor();
  return { ticket, twin };
}

async function changesSeveral(page, anna) {
  const tickets = [await anna.openTicket("A bill is missing"), await anna.openTicket("Another bill is missing")];
  await page.keyboard.press("u");
  await page.getByRole("heading", { name: "All open" }).waitFor();
  for (const summary of ["A bill is missing", "Another bill is missing"]) await row(page, summary).waitFor();
  await page.keyboard.press("j");
  await walkTo(page, "k", "Another bill is missing");
  await page.keyboard.press("x");
  await walkTo(page, "j", "A bill is missing");
  await page.keyboard.press("x");
  await page.getByText("2 selected").waitFor();
  await pick(page, "s", "resol", "Resolved");
  await page.getByText("2 tickets were changed.").waitFor();
  await row(page, "Another bill is missing").waitFor({ state: "detached" });
  return tickets;
}

async function searches(page) {
  await page.keyboard.press("/");
  await page.getByLabel("Words, a number, a name").waitFor();
  await page.keyboard.type("added space");
  await page.locator("mark", { hasText: "space" }).first().waitFor();
  await page.keyboard.press("Enter");
  await walkTo(page, "j", "The shop is down");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "The shop is down" }).waitFor();
}

async function opensATicketForACustomer(page) {
  await page.keyboard.press("+");
  await page.getByRole("dialog").getByRole("combobox").waitFor();
  await page.keyboard.type("jonas");
  await page.getByRole("option", { name: /Jonas Weber/, selected: true }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByText("For Jonas Weber").waitFor();
  await tabTo(page, "Summary");
  await page.keyboard.type("Asked on the phone");
  await tabTo(page, "Description");
  await page.keyboard.type("Wants a larger disk.");
  await tabTo(page, "Open the ticket");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Asked on the phone" }).waitFor();
  await page.getByRole("link", { name: "Jonas Weber" }).waitFor();
}

async function showsTheKeys(page) {
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).getByText("Set the priority").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

main("desk", async (browser) => {
  const [anna, marta] = [await Person.signIn(CUSTOMER), await Person.signIn(AGENT)];
  const context = await browser.newContext({ locale: "en-US", viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await signIn(page);
  await marta.mutate("createCannedAnswer", { title: "Greeting", body: "Dear {{reporter.name}}," });
  const { ticket, twin } = await answersATicket(page, anna);
  const tickets = await changesSeveral(page, anna);
  await searches(page);
  await opensATicketForACustomer(page);
  await showsTheKeys(page);
  await tabTo(page, "Sign out");
  await page.keyboard.press("Enter");
  await page.getByLabel("Password").waitFor();

  // What the day has left behind.
  const read = "query($n: String!) { ticket(number: $n) { status priority assignee { id } category { slug } } }";
  const { ticket: closed } = await marta.call(read, { n: ticket.number });
  assert.deepEqual(closed, { status: "CLOSED", priority: "HIGHEST", assignee: { id: marta.id }, category: { slug: "sales" } });
  assert.deepEqual(await anna.bodies(ticket), ["Dear Anna Petrova, We have added space. Please try again.", "It works, thank you!"], "no note reaches the customer");
  const into = "query($n: String!) { ticket(number: $n) { mergedInto { number } } }";
  assert.equal((await marta.call(into, { n: twin.number })).ticket.mergedInto.number, ticket.number);
  for (const { number } of tickets) assert.equal((await marta.call(read, { n: number })).ticket.status, "RESOLVED");
  await until(async () => (await marta.comments(ticket)).length === 3);
  await context.close();
});
