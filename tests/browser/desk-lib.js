// What the scripts of the desk share. tests/it/desk.rs runs them.

const lib = require("./portal-lib");

/** Returns the link of a row of the queue. */
const row = (page, summary) => page.getByRole("list", { name: "Tickets" }).locator("a", { hasText: summary });
/** Returns the field of an answer. */
const field = (page) => page.getByLabel("Your answer. The customer gets it.");
/** Returns the dialog that holds an answer back. */
const heldBack = (page) => page.getByRole("dialog", { name: "Somebody has answered meanwhile" });

/** Opens a browser in which a member of staff is signed in, at a page of the desk. */
function work(browser, email, path = "", options = {}) {
  return lib.visit(browser, { email, path: `desk${path}`, ...options });
}

/** Opens a ticket's page. */
async function openTicket(browser, email, ticket) {
  const page = await work(browser, email);
  await page.goto(`${lib.origin}desk/tickets/${ticket.number}`);
  await field(page).waitFor();
  return page;
}

/** Counts the requests of a page that contain all of some texts, such as the name of an operation. */
function countOperations(page, ...texts) {
  const counter = { count: 0 };
  page.on("request", (request) => {
    if (texts.every((text) => lib.mentions(request, text))) counter.count += 1;
  });
  return counter;
}

module.exports = { ...lib, countOperations, field, heldBack, openTicket, row, work };
