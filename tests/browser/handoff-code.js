// Signs a customer with a second factor in on the page of a handoff link, in a real browser and by
// keyboard. Run by tests/it/handoff.rs, which computes the code.

const assert = require("node:assert/strict");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [link, executablePath, pictures] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function visit() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  const problems = [];
  try {
    const page = await (await browser.newContext({ locale: "en-US" })).newPage();
    page.on("pageerror", (error) => problems.push(error.stack));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) problems.push(message.text());
    });
    await page.goto(link);
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByLabel("Code", { exact: true }).waitFor();
    const offered = await page.locator("#method option").allInnerTexts();
    assert.deepEqual(offered, ["Authenticator app", "Recovery code"]);
    // The field has the focus.
    await page.keyboard.type("000000");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "is incorrect" }).waitFor();
    await page.screenshot({ path: `${pictures}/handoff-code.png` });
    console.log(">code");
    const { value: code } = await answers.next();
    await page.getByLabel("Code", { exact: true }).fill(code);
    await page.keyboard.press("Enter");
    await page.locator("nav").first().waitFor();
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
