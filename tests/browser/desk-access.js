// Everybody can use every page of the desk: axe finds nothing, in light and dark, English and Russian; all has its
// place at 320 pixels; the focus is never hidden or trapped; nothing moves while a page loads.

const { ADMIN, AGENT, assert, CUSTOMER, main, Person, work } = require("./desk-lib");
const { check, checkFocus, findings, open, prepare } = require("./access");

/** Opens what a page has behind a key. */
async function checkDialog(page, key, name) {
  await page.keyboard.press(key);
  await page.locator("dialog[open]").waitFor();
  await check(page, name);
  await page.keyboard.press("Escape");
  await page.locator("dialog[open]").waitFor({ state: "detached" });
}

async function checkQueue(page, language) {
  await checkDialog(page, "?", `desk-keys-${language}`);
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await checkDialog(page, "s", `desk-picker-${language}`);
}

async function checkTicket(page, language) {
  await checkDialog(page, "e", `desk-rename-${language}`);
  await page.locator("article button.quiet").first().click();
  await page.locator("dialog[open]").waitFor();
  await check(page, `desk-erase-${language}`);
  await page.keyboard.press("Escape");
  await page.keyboard.press("n");
  await page.locator("form.note textarea").waitFor();
  await check(page, `desk-note-${language}`);
}

async function checkAll(browser, { anna, marta, ilya }, language) {
  await ilya.mutate("updatePreferences", { locale: language.toUpperCase() });
  const ticket = await anna.openTicket("A ticket <b>with</b> markup & a-very-long-word-that-does-not-fit-".repeat(2), "First line\nsecond line");
  await marta.comment(ticket, "An answer");
  await marta.mutate("addComment", { ticketId: ticket.id, body: "A note: https://example.com/" + "long".repeat(60), visibility: "INTERNAL" });
  await anna.comment(ticket, "Thank you");
  const page = await work(browser, ADMIN);
  await prepare(page);
  const pages = [
    ["", "main ul[aria-label] li", "queue"],
    [`/tickets/${ticket.number}`, "form textarea", "ticket"],
    ["/search?q=mail", "mark", "search"],
    ["/people", "tbody tr", "people"],
    [`/people/${encodeURIComponent(anna.id)}`, "section li", "person"],
    [`/new?customer=${encodeURIComponent(anna.id)}`, "textarea", "new"],
    ["/admin?part=canned", "section button", "canned"],
    ["/admin?part=views", "section button", "views"],
    ["/figures", "tfoot td", "figures"],
    ["/admin?part=categories", "section li", "categories"],
    ["/admin?part=tokens", "section button", "tokens"],
    ["/admin?part=setAside", "section button", "set-aside"],
    ["/tickets/CS-99999999", "p.error", "missing"],
  ];
  for (const [path, content, name] of pages) {
    await open(page, `desk${path}`, content);
    await check(page, `desk-${name}-${language}`);
    if (["queue", "ticket", "person"].includes(name)) await checkFocus(page, name);
    if (name === "queue") await checkQueue(page, language);
    if (name === "ticket") await checkTicket(page, language);
  }
  await page.context().close();
}

async function checkCustomer(browser) {
  const page = await work(browser, CUSTOMER);
  await prepare(page);
  await open(page, "desk", "main a.button");
  await check(page, "desk-not-staff");
  await page.context().close();
}

main("desk-access", async (browser) => {
  const people = { anna: await Person.signIn(CUSTOMER), marta: await Person.signIn(AGENT), ilya: await Person.signIn(ADMIN) };
  await checkCustomer(browser);
  for (const language of ["en", "ru"]) await checkAll(browser, people, language);
  assert.deepEqual(findings, []);
});
