// Scans the QR code of `beginSecondFactor` with third-party software: a browser draws it, jsQR reads
// it, and otplib computes the code. Run by tests/it/second_factor.rs.

const readline = require("node:readline");
const { chromium } = require("playwright-core");
const { authenticator } = require("otplib");
const { scanned } = require("./pixels");

const [image, executablePath] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(...words) {
  console.log(`>${words.join("\t")}`);
  return (await answers.next()).value;
}

async function scan() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  const page = await browser.newPage();
  await page.setContent(`<img src="${image}">`);
  const uri = await scanned(page.locator("img")).finally(() => browser.close());
  const epoch = Number(await ask("decoded", uri));
  const secret = new URL(uri).searchParams.get("secret");
  await ask("code", authenticator.clone({ epoch }).generate(secret));
}

scan().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
