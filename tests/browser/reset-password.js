// Sets a new password on the page of a reset link, in a real browser and by keyboard only. Run by
// tests/it/password.rs.

const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const [link, executablePath, pictures] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
const PASSWORD = "walrus umbrella seventeen";

async function open(browser, locale, problems) {
  const page = await (await browser.newContext({ locale })).newPage();
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== new URL(link).origin) problems.push(`${request.url()} is on another origin`);
    if (request.url().includes("tw_reset")) problems.push(`${request.url()} contains the token`);
  });
  await page.goto(link);
  return page;
}

/** Types both passwords and submits the form. */
async function type(page, password, again) {
  for (const field of await page.locator("input").all()) await field.fill("");
  await page.locator("#password").focus();
  await page.keyboard.type(password);
  await page.keyboard.press("Tab");
  await page.keyboard.type(again);
  await page.keyboard.press("Enter");
}

async function visit() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  const problems = [];
  try {
    const page = await open(browser, "en-US", problems);
    await page.getByLabel("New password").waitFor();
    assert.ok(!page.url().includes("token"), "the token is removed from the address");
    await type(page, "password123", "password123");
    await page.getByRole("alert").filter({ hasText: "too easy to guess" }).waitFor();
    await page.screenshot({ path: `${pictures}/reset-password.png` });
    await type(page, PASSWORD, `${PASSWORD}!`);
    await page.getByRole("alert").filter({ hasText: "do not match" }).waitFor();
    await type(page, PASSWORD, PASSWORD);
    await page.getByRole("status").filter({ hasText: "is set" }).waitFor();

    const second = await open(browser, "ru-RU", problems);
    await second.getByLabel("Новый пароль").waitFor();
    await second.screenshot({ path: `${pictures}/reset-password-ru.png` });
    await type(second, PASSWORD, PASSWORD);
    await second.getByRole("alert").filter({ hasText: "использована" }).waitFor();
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
