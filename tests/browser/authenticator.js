// Scans the QR code of `beginSecondFactor` with third-party software: a browser draws it, jsQR reads
// it, and otplib computes the code. Run by tests/it/second_factor.rs.

const readline = require("node:readline");
const { chromium } = require("playwright-core");
const jsqr = require("jsqr");
const { authenticator } = require("otplib");

const [image, executablePath] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(...words) {
  console.log(`>${words.join("\t")}`);
  return (await answers.next()).value;
}

async function draw() {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const page = await browser.newPage();
    return await page.evaluate(async (source) => {
      const picture = new Image();
      picture.src = source;
      await picture.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [picture.width, picture.height];
      const context = canvas.getContext("2d");
      context.drawImage(picture, 0, 0);
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      return { data: [...data], width, height };
    }, image);
  } finally {
    await browser.close();
  }
}

async function scan() {
  const { data, width, height } = await draw();
  const { data: uri } = jsqr(Uint8ClampedArray.from(data), width, height);
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
