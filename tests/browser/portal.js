// Signs in on the portal, opens a ticket, sees the answer arrive, answers and signs out, in a real browser. Run by
// tests/it/portal.rs.

const assert = require("node:assert/strict");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [origin, executablePath, pictures] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test do something; returns its answer. */
async function ask(...command) {
  console.log(`>${command.join("\t")}`);
  return (await answers.next()).value;
}

async function visit(page) {
  await page.goto(`${origin}tickets`);
  await page.getByLabel("E-mail address").fill("customer@demo.example");
  await page.getByLabel("Password").fill("ticketwire-demo");
  await page.keyboard.press("Enter");
  // The address that was asked for, or the offer of a second factor before it.
  const later = page.getByRole("button", { name: "Not now" });
  await later.or(page.getByRole("heading", { name: "My tickets" })).first().waitFor();
  if (await later.isVisible()) await later.click();
  const stored = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie].join());
  assert.ok(!stored.includes("tw_"), "no script can read the token");

  await page.goto(`${origin}new/technical-support`);
  await page.getByLabel("Summary").fill("The site is slow");
  await page.getByLabel("Description").fill("Since this morning.");
  await page.reload();
  assert.equal(await page.getByLabel("Summary").inputValue(), "The site is slow", "the draft is kept");
  await page.screenshot({ path: `${pictures}/portal-new.png` });
  await page.getByRole("button", { name: "Send the request" }).click();
  await page.waitForURL(/\/tickets\/CS-/);
  const number = new URL(page.url()).pathname.split("/").at(-1);
  await page.getByText("Since this morning.").waitFor();
  await ask("answer", number, "We are looking into it.");
  await page.getByText("We are looking into it.").first().waitFor();
  await page.getByLabel("Add a comment").fill("Thank you.");
  await page.getByRole("button", { name: "Post comment" }).click();
  await page.getByText("Thank you.").first().waitFor();
  assert.equal(await page.getByLabel("Add a comment").inputValue(), "", "the draft is gone");
  await page.screenshot({ path: `${pictures}/portal.png`, fullPage: true });

  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByLabel("Your comment").fill("Thank you very much.");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Thank you very much.").first().waitFor();
  await page.getByText(/^Edited /).waitFor();
  await ask("redact", number);
  await page.getByText("This text was removed.").waitFor();
  assert.equal(await page.getByText("We are looking into it.").count(), 0, "the text is gone from the page");

  await page.getByRole("link", { name: "My tickets" }).click();
  await page.getByRole("link", { name: "The site is slow" }).first().waitFor();
  await page.screenshot({ path: `${pictures}/portal-tickets.png` });
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Password").waitFor();
}

async function main() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  const problems = [];
  const page = await (await browser.newContext({ locale: "en-US" })).newPage();
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.host !== new URL(origin).host) problems.push(request.url());
  });
  try {
    await visit(page);
    assert.deepEqual(problems, []);
  } catch (error) {
    await page.screenshot({ path: `${pictures}/portal-failed.png` });
    throw error;
  } finally {
    await browser.close();
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
