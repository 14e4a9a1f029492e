// The page of a hand-over link, in a real browser, by the keyboard alone. Run by
// tests/it/handoff.rs.

const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const [link, executablePath, pictures] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

async function open(browser, locale, complaints) {
  const page = await (await browser.newContext({ locale })).newPage();
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== new URL(link).origin) complaints.push(`${request.url()} is elsewhere`);
    if (request.url().includes("tw_handoff")) complaints.push(`${request.url()} has the token`);
  });
  await page.goto(link);
  return page;
}

async function visit() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  const complaints = [];
  try {
    const first = await open(browser, "ru-RU", complaints);
    await first.getByRole("button", { name: "Войти" }).waitFor();
    assert.ok(!first.url().includes("token"), "the token has left the address");
    await first.screenshot({ path: `${pictures}/handoff.png` });
    // The button has the focus.
    await first.keyboard.press("Enter");
    await first.locator("#who", { hasText: "Anna" }).waitFor();
    const kept = await first.evaluate(() => JSON.stringify(localStorage));
    assert.ok(!kept.includes("tw_"), "the session belongs to this tab");

    const second = await open(browser, "en-US", complaints);
    await second.getByRole("button", { name: "Sign in" }).click();
    await second.getByRole("alert").filter({ hasText: "already been used" }).waitFor();
    await second.goto(link.split("#")[0]);
    await second.getByRole("alert").filter({ hasText: "incomplete" }).waitFor();
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

visit().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
