// Everybody can use every page: axe finds nothing, in light and dark, English and Russian; all works by
// keyboard, at 320 pixels, in print and without motion; nothing moves while a page loads.

const { AGENT, assert, CUSTOMER, main, origin, OTHER_CUSTOMER, PASSWORD, Person, pictures, visit } = require("./portal-lib");

const AXE = require.resolve("axe-core/axe.min.js");
/** The most that a page may move while it loads. Less than this no eye sees. */
const MOST_SHIFT = 0.01;

/** What was found on any page. All of it is reported at the end. */
const findings = [];
function expectNone(found, where) {
  for (const text of found) {
    findings.push(`${where}: ${text}`);
    console.log(findings.at(-1));
  }
}

/** Checks what is shown, in both colour schemes and on the narrowest screen. */
async function check(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    // In the dark only the colours differ.
    const rules = colorScheme === "dark" ? { runOnly: ["color-contrast", "link-in-text-block"] } : {};
    const { violations } = await page.evaluate((rules) => axe.run(document, { ...rules, resultTypes: ["violations"] }), rules);
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
    expectNone(found, `${name}, ${colorScheme}`);
    await page.screenshot({ path: `${pictures}/access-${name}-${colorScheme}.png`, fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "light" });
  const size = page.viewportSize();
  await page.setViewportSize({ width: 320, height: 640 });
  const wide = await page.evaluate(() => {
    if (document.documentElement.scrollWidth <= 320) return [];
    return [...document.body.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > 320).map((element) => element.outerHTML.slice(0, 120));
  });
  expectNone(wide, `${name} does not fit into 320 pixels`);
  await page.screenshot({ path: `${pictures}/access-${name}-320.png`, fullPage: true });
  await checkTargets(page, name);
  await page.setViewportSize(size);
  await checkTargets(page, name);
}

/** Checks that what is clicked is at least 24 pixels high and wide, except links in a sentence. */
async function checkTargets(page, name) {
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("a, button, input, select, textarea, summary")]
      .filter((element) => element.checkVisibility() && !element.closest(".hidden, .skip, p") && !element.matches(".hidden, .skip"))
      .filter((element) => {
        const { width, height } = element.getBoundingClientRect();
        return width < 24 || height < 24;
      })
      .map((element) => element.outerHTML.slice(0, 120)),
  );
  expectNone(small, `${name} has a target below 24 pixels`);
}

/** Checks that the focus is never hidden and never trapped, from the first to the last element. */
async function checkFocus(page, name) {
  await page.evaluate(() => document.activeElement?.blur());
  const seen = new Set();
  for (let steps = 0; steps < 200; steps += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const { x, y, width, height } = element.getBoundingClientRect();
      const middle = document.elementFromPoint(x + width / 2, y + Math.min(height, innerHeight) / 2);
      const isVisible = element.contains(middle) || (middle?.contains(element) ?? false);
      return { html: element.outerHTML.slice(0, 100), isVisible, place: `${Math.round(x)} ${Math.round(y + scrollY)}` };
    });
    if (!focused) break;
    if (!focused.isVisible) expectNone([focused.html], `${name} hides the focus`);
    const key = focused.html + focused.place;
    if (seen.has(key)) break;
    seen.add(key);
  }
  assert.ok(seen.size > 3, name);
}

async function prepare(page) {
  await page.context().addInitScript({ path: AXE });
  await page.context().addInitScript(() => {
    globalThis.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
}

/** Opens an address, waits for its content, and checks that nothing has moved meanwhile. */
async function open(page, path, content) {
  await page.goto(origin + path);
  await page.locator(content).first().waitFor();
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const shifted = await page.evaluate(() => globalThis.shifted);
  if (shifted > MOST_SHIFT) expectNone([`by ${shifted}`], `/${path} moves while it loads`);
}

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

/** Moves the focus to what has a name, by the keyboard alone. */
async function tabTo(page, name) {
  for (let steps = 0; steps < 100; steps += 1) {
    const found = await page.evaluate(() => {
      const { activeElement: element } = document;
      return element?.getAttribute("aria-label") ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? "";
    });
    if (found.trim().startsWith(name)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`no Tab leads to ${name}`);
}
async function activate(page, name) {
  await tabTo(page, name);
  await page.keyboard.press("Enter");
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
