// Everybody can use every page: axe finds nothing, in light and dark, English and Russian; all works by
// keyboard, at 320 pixels, in print and without motion; nothing moves while a page loads.

const { AGENT, assert, CUSTOMER, main, origin, OTHER_CUSTOMER, PASSWORD, Person, pictures, visit } = require("./portal-lib");
const { activate, check, checkFocus, findings, open, prepare, tabTo } = require("./access");

async function checkSignedOut(browser, locale, language) {
  const page = await (await browser.newContext({ locale })).newPage();
  await prepare(page);
  await open(page, "sign-in", "input[type=password]");
  await check(page, `sign-in-${language}`);
  await checkFocus(page, "sign-in");
  await page.locator("button.quiet").first().click();
  await page.locator("form input[type=email]").waitFor();
  await check(page, `forgot-${language}`);
  await page.locator("form input[type=email]").fill("nobody@demo.example");
  await page.keyboard.press("Enter");
  await page.locator("p[role=status]").waitFor();
  await check(page, `forgot-sent-${language}`);
  await page.context().close();
}

async function checkSignedIn(browser, email, language) {
  const [person, marta] = [await Person.signIn(email), await Person.signIn(AGENT)];
  await person.mutate("updatePreferences", { locale: language.toUpperCase() });
  const ticket = await person.openTicket("A ticket <b>with</b> markup & a-very-long-word-that-does-not-fit-".repeat(2), "First line\nsecond line");
  await marta.comment(ticket, "An answer");
  await person.comment(ticket, "https://example.com/" + "long".repeat(60));
  await person.mutate("inviteParticipant", { ticketId: ticket.id, email: "somebody@example.com" });
  const page = await visit(browser, { email });
  await prepare(page);
  const pages = [
    ["", "main ul a.button", "home"],
    ["new/technical-support", "textarea", "new"],
    ["tickets", "table tbody tr", "list"],
    [`tickets/${ticket.number}`, "form textarea", "ticket"],
    ["notifications", "main li", "notifications"],
    ["account", "fieldset", "account"],
    ["tickets/CS-99999999", "p.error", "missing"],
    ["nowhere", "main h1", "nowhere"],
  ];
  for (const [path, content, name] of pages) {
    await open(page, path, content);
    await check(page, `${name}-${language}`);
    if (["list", "ticket", "account", "new"].includes(name)) await checkFocus(page, name);
    if (name === "ticket") await checkTicket(page, language);
  }
  await checkPrint(page, ticket);
  await page.context().close();
}

/** Opens what a ticket's page has behind buttons. */
async function checkTicket(page, language) {
  await page.locator(".bell button").first().click();
  await page.locator("#bell li").first().waitFor();
  await check(page, `bell-${language}`);
  await page.keyboard.press("Escape");
  await page.locator("article button.quiet").first().click();
  await page.locator("article textarea").waitFor();
  await check(page, `edit-${language}`);
  await page.locator("article form button[type=button]").click();
  await page.context().setOffline(true);
  const form = page.locator("form", { has: page.locator("input[type=file]") });
  await form.locator("textarea").fill("Waits");
  await form.locator("button.primary").click();
  await page.locator("article.letter button").waitFor();
  await check(page, `waiting-${language}`);
  await page.locator("article.letter button").click();
  await form.locator("textarea").fill("");
  await page.context().setOffline(false);
}

async function checkPrint(page, ticket) {
  await page.goto(`${origin}tickets/${ticket.number}`);
  await page.getByText("An answer").first().waitFor();
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  for (const hidden of ["header", "form", "button", "footer", "nav"]) {
    assert.equal(await page.locator(`${hidden}:visible`).count(), 0, `${hidden} is not printed`);
  }
  assert.ok(await page.getByText("An answer").last().isVisible());
  const color = await page.evaluate(() => getComputedStyle(document.body).color);
  assert.equal(color, "rgb(28, 29, 34)", "dark text on paper");
  await page.screenshot({ path: `${pictures}/access-print.png`, fullPage: true });
  await page.emulateMedia({ media: "screen", colorScheme: "light", reducedMotion: "reduce" });
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
}

async function worksByKeyboard(browser) {
  const context = await browser.newContext({ locale: "en-US" });
  const page = await context.newPage();
  await page.goto(origin);
  await page.getByLabel("Password").waitFor();
  await tabTo(page, "E-mail address");
  await page.keyboard.type(CUSTOMER);
  await tabTo(page, "Password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "How can we help?" }).waitFor();
  await activate(page, "Not now");
  await activate(page, "Technical");
  await page.getByLabel("Summary").waitFor();
  await tabTo(page, "Summary");
  await page.keyboard.type("By keyboard");
  await tabTo(page, "Description");
  await page.keyboard.type("No mouse was near.");
  await activate(page, "Send the request");
  await page.getByRole("heading", { name: "By keyboard" }).waitFor();
  await tabTo(page, "Add a comment");
  await page.keyboard.type("Still none.");
  await activate(page, "Post comment");
  await page.locator("article .body", { hasText: "Still none." }).first().waitFor();
  await activate(page, "Close the ticket");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await activate(page, "Close the ticket");
  await page.getByRole("dialog").waitFor();
  await activate(page, "Close the ticket");
  await page.getByText("This ticket is closed").waitFor();
  await page.keyboard.press("ControlOrMeta+Home");
  await activate(page, "Notifications");
  await page.locator("#bell").waitFor();
  await page.keyboard.press("Escape");
  await activate(page, "My tickets");
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  await activate(page, "Sign out");
  await page.getByLabel("Password").waitFor();
  await context.close();
}

async function saysThatItNeedsScripts(browser) {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${origin}tickets`);
  const sentences = page.locator("noscript p");
  await sentences.first().waitFor();
  assert.match(await sentences.nth(0).textContent(), /^This page needs JavaScript\./);
  assert.match(await sentences.nth(1).textContent(), /^Для этой страницы нужен JavaScript\./);
  await context.close();
}

main("portal-access", async (browser) => {
  await saysThatItNeedsScripts(browser);
  await worksByKeyboard(browser);
  for (const [language, locale, email] of [["en", "en-US", CUSTOMER], ["ru", "ru-RU", OTHER_CUSTOMER]]) {
    await checkSignedOut(browser, locale, language);
    await checkSignedIn(browser, email, language);
  }
  assert.deepEqual(findings, []);
});
