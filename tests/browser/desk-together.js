// Two agents on one ticket: each sees the other; the second answer is held back, with the first one shown, also if both press
// at the same moment.

const { ADMIN, AGENT, assert, CUSTOMER, field, heldBack, main, openTicket, origin, Person, until, work } = require("./desk-lib");

/** How often both press at the same moment. */
const TIMES = 10;

const send = (page) => page.keyboard.press("Control+Enter");

async function write(page, body) {
  await field(page).focus();
  await page.keyboard.insertText(body);
}

async function seeEachOther({ pages: [first, second] }) {
  await first.getByText("Also here: Ilya Sokolov").waitFor();
  await second.getByText("Also here: Marta Lindqvist").waitFor();
  await write(first, "I am on it");
  await second.getByText("Marta Lindqvist: writing now").waitFor();
  await field(first).fill("");
  await second.getByText("Also here: Marta Lindqvist").waitFor();
  await first.goto(first.url().replace(/tickets.*/, ""));
  await second.getByText("Also here").waitFor({ state: "detached" });
  await first.goBack();
  await second.getByText("Also here: Marta Lindqvist").waitFor();
}

async function holdsTheSecondAnswerBack({ anna, marta, pages: [first, second], ticket }) {
  await write(second, "The second answer");
  await write(first, "The first answer");
  await send(first);
  await second.getByText("answered while you were writing").waitFor();
  await second.locator("article .body", { hasText: "The first answer" }).waitFor();
  await send(second);
  await heldBack(second).getByText("The first answer").waitFor();
  assert.deepEqual(await anna.bodies(ticket), ["The first answer"], "nothing was sent");
  await second.keyboard.press("Escape");
  await heldBack(second).waitFor({ state: "detached" });
  assert.equal(await field(second).inputValue(), "The second answer", "nothing is lost");
  await field(second).focus();
  await send(second);
  // One more answer while the dialog is open is shown in it too.
  await marta.comment(ticket, "And a third one");
  await heldBack(second).getByText("And a third one").waitFor();
  await heldBack(second).getByRole("button", { name: "Send mine all the same" }).click();
  await until(async () => (await anna.bodies(ticket)).includes("The second answer"));
  assert.deepEqual(await anna.bodies(ticket), ["The first answer", "And a third one", "The second answer"]);
}

/** Has both send at the same moment: one answer is posted, the other one is shown to its author with the first. */
async function pressTogether({ anna, pages, ticket }, time) {
  const before = await anna.bodies(ticket);
  const bodies = pages.map((_, index) => `Answer ${index} of time ${time}`);
  await Promise.all(pages.map((page, index) => write(page, bodies[index])));
  await Promise.all(pages.map(send));
  let loser = -1;
  await until(async () => {
    for (const [index, page] of pages.entries()) if (await heldBack(page).isVisible()) loser = index;
    return loser >= 0;
  }, "one of the two is held back");
  const winner = 1 - loser;
  await heldBack(pages[loser]).getByText(bodies[winner]).waitFor();
  assert.deepEqual(await anna.bodies(ticket), [...before, bodies[winner]], "one answer is posted");
  assert.equal(await heldBack(pages[winner]).count(), 0);
  await heldBack(pages[loser]).getByRole("button", { name: "Send mine all the same" }).click();
  for (const page of pages) await page.locator("article:not(.letter) .body", { hasText: bodies[loser] }).waitFor();
  await heldBack(pages[loser]).waitFor({ state: "detached" });
}

/** Opens a ticket in a page that receives nothing more once `silence` is called. */
async function openUntilSilenced(browser, ticket) {
  const page = await work(browser, AGENT);
  let isSilent = false;
  await page.context().routeWebSocket(/\/graphql$/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => isSilent || socket.send(message));
  });
  await page.goto(`${origin}desk/tickets/${ticket.number}`);
  await field(page).waitFor();
  return { page, silence: () => (isSilent = true) };
}

/** Sends an answer, and a note that sets a status, whose author has read, in the dialog, what the page itself has not received yet. */
async function sendsBeforeThePageHasReceived(browser, { anna, marta, ticket }) {
  const { page, silence } = await openUntilSilenced(browser, ticket);
  silence();
  await anna.comment(ticket, "Is anybody there?");
  await write(page, "I am");
  await send(page);
  await heldBack(page).getByText("Is anybody there?").waitFor();
  await heldBack(page).getByRole("button", { name: "Send mine all the same" }).click();
  await until(async () => (await anna.bodies(ticket)).includes("I am"));
  await heldBack(page).waitFor({ state: "detached" });
  assert.equal(await page.locator("article:not(.letter) .body", { hasText: "Is anybody there?" }).count(), 0);
  const status = async () => (await marta.call("query($n: String!) { ticket(number: $n) { status } }", { n: ticket.number })).ticket.status;
  const before = await status();
  await page.getByRole("button", { name: "Note for staff" }).click();
  await page.getByLabel("Your note. Only staff see it.").fill("All is said");
  await page.getByLabel("Then").selectOption("RESOLVED");
  await send(page);
  await heldBack(page).getByText("Is anybody there?").waitFor();
  assert.equal(await status(), before, "nothing was changed");
  await heldBack(page).getByRole("button", { name: "Send mine all the same" }).click();
  await until(async () => (await status()) === "RESOLVED");
  await page.close();
}

async function mergesBeforeThePageHasReceived(browser, { anna, marta }) {
  const [twin, into] = [await anna.openTicket("Asked by mail"), await anna.openTicket("Asked by phone")];
  const { page, silence } = await openUntilSilenced(browser, twin);
  silence();
  await anna.comment(twin, "Close neither of them!");
  await page.keyboard.press("m");
  await page.getByRole("dialog").getByRole("option", { name: into.number }).click();
  await page.getByRole("button", { name: "Merge", exact: true }).click();
  await heldBack(page).getByText("Close neither of them!").waitFor();
  await heldBack(page).getByRole("button", { name: "Back" }).click();
  await page.getByRole("dialog", { name: "Merge the tickets" }).waitFor();
  const query = "query($n: String!) { ticket(number: $n) { mergedInto { number } } }";
  const mergedInto = async () => (await marta.call(query, { n: twin.number })).ticket.mergedInto?.number;
  assert.equal(await mergedInto(), undefined);
  await page.getByRole("button", { name: "Merge", exact: true }).click();
  await heldBack(page).getByRole("button", { name: "Merge all the same" }).click();
  await until(async () => (await mergedInto()) === into.number);
  await page.close();
}

main("desk-together", async (browser) => {
  const [anna, marta] = [await Person.signIn(CUSTOMER), await Person.signIn(AGENT)];
  // The demo's admin reads Russian.
  await (await Person.signIn(ADMIN)).mutate("updatePreferences", { locale: "EN" });
  const ticket = await anna.openTicket("Two answer");
  const pages = [await openTicket(browser, AGENT, ticket), await openTicket(browser, ADMIN, ticket)];
  const scene = { anna, marta, pages, ticket };
  await seeEachOther(scene);
  await holdsTheSecondAnswerBack(scene);
  for (let time = 0; time < TIMES; time += 1) await pressTogether(scene, time);
  await sendsBeforeThePageHasReceived(browser, scene);
  await mergesBeforeThePageHasReceived(browser, scene);
  assert.equal((await anna.bodies(ticket)).length, 5 + 2 * TIMES);
});
