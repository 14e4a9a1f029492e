// Signs in on the page of a handoff link, in a real browser and by keyboard. Run by
// tests/it/handoff.rs.

const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const [link, executablePath, pictures] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

async function open(browser, locale, problems) {
  const page = await (await browser.newContext({ locale })).newPage();
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== new URL(link).origin) problems.push(`${request.url()} is on another origin`);
    if (request.url().includes("tw_handoff")) problems.push(`${request.url()} contains the token`);
  });
  await page.goto(link);
  return page;
}

async function visit() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  const problems = [];
  try {
    const first = await open(browser, "ru-RU", problems);
    await first.getByRole("button", { name: "Войти" }).waitFor();
    assert.ok(!first.url().includes("token"), "the token is removed from the address");
    await first.screenshot({ path: `${pictures}/handoff.png` });
    // The button has the focus.
    await first.keyboard.press("Enter");
    // The portal continues with the session.
    await first.locator("nav").first().waitFor();
    const stored = await first.evaluate(() => [JSON.stringify({ ...localStorage, ...sessionStorage }), document.cookie].join());
    assert.ok(!stored.includes("tw_"), "no script can read the token");

    const second = await open(browser, "en-US", problems);
    await second.getByRole("button", { name: "Sign in" }).click();
    await second.getByRole("alert").filter({ hasText: "already been used" }).waitFor();
    await second.goto(link.split("#")[0]);
    await second.getByRole("alert").filter({ hasText: "incomplete" }).waitFor();
    assert.deepEqual(problems, []);
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
