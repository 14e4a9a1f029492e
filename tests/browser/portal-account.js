// A person protects the account, signs in with codes, and ends sessions, in a real browser.

const { authenticator } = require("otplib");
const { scanned } = require("./pixels");
const { ADMIN, asksBeforeAReload, assert, CUSTOMER, hold, main, mentions, origin, PASSWORD, Person, until, visit } = require("./portal-lib");

/** Returns the secret of the QR code that a page shows, as a phone reads it. */
const scan = async (page) => new URL(await scanned(page.getByAltText("QR code with the key"))).searchParams.get("secret");

/** Returns an app's code. Each works once, so a later one is of a later time step. */
const code = (secret, step) => authenticator.clone({ epoch: Date.now() + step * 30_000 }).generate(secret);

/** Returns the newest code of the mailbox that is not `old`. */
async function mailedCode(old) {
  let found = null;
  await until(async () => {
    const list = await (await fetch(`${origin}mailbox`)).text();
    for (const [, name] of list.matchAll(/href="(\/mailbox\/[^"]+)"/g)) {
      const mail = await (await fetch(new URL(name, origin))).text();
      found = /\b\d{6}\b/.exec(mail.replace(/<[^>]*>|&#?\w+;/g, " ").replace(/\d{7,}/g, ""))?.[0] ?? null;
      if (found) return found !== old;
    }
    return false;
  });
  return found;
}

async function confirmIdentity(page) {
  await page.getByRole("dialog").getByLabel("Current password").fill(PASSWORD);
}

async function returnsToWhatIsStored(page) {
  await page.route("**/graphql", (route) => (mentions(route.request(), "mutation UpdatePreferences") ? route.abort() : route.fallback()));
  const [mail, language] = [page.getByLabel("Changes of the status"), page.getByLabel("Language")];
  const isOn = await mail.isChecked();
  await mail.click();
  await page.getByRole("alert").getByText("The server can't be reached.").waitFor();
  assert.equal(await mail.isChecked(), isOn);
  await language.selectOption("RU");
  await until(async () => (await language.inputValue()) === "EN", "the language is the one that is shown");
  await page.unroute("**/graphql");
}

/** A customer who comes from a control panel, without a password, confirms by a mailed code who it is. */
async function confirmsWithoutAPassword(browser) {
  const admin = await Person.signIn(ADMIN);
  const scopes = ["PROVISION_CUSTOMERS", "CREATE_HANDOFFS"];
  const { token } = await admin.mutate("createServiceToken", { name: "Panel", scopes }, "token");
  const panel = Object.assign(new Person(), { token });
  const vera = { externalId: "client-18", email: "vera@customer.example", name: "Vera" };
  await panel.mutate("provisionCustomer", vera, "account { id }");
  const { handoff } = await panel.mutate("createHandoff", { externalId: "client-18" }, "handoff { url }");
  const page = await (await browser.newContext({ locale: "en-US" })).newPage();
  await page.goto(origin + handoff.url.slice(new URL(handoff.url).origin.length + 1));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("header nav").waitFor();
  // As ten minutes after the sign-in.
  const refused = { data: { beginSecondFactor: { authenticator: null, codeSent: null, userErrors: [{ code: "REAUTHENTICATION_REQUIRED" }] } } };
  await page.route("**/graphql", (route) =>
    mentions(route.request(), "mutation BeginSecondFactor") ? route.fulfill({ json: refused }) : route.fallback(),
  );
  await page.goto(`${origin}account`);
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Send a code" }).click();
  await dialog.getByText(/^The code is valid for/).waitFor();
  assert.equal(await dialog.getByLabel("Current password").count(), 0, "no password is asked for");
  const mailed = await mailedCode(null);
  await dialog.getByLabel("Code of 6 digits").fill(mailed);
  await page.unroute("**/graphql");
  await dialog.getByRole("button", { name: "Confirm" }).click();
  await page.getByAltText("QR code with the key").waitFor();
  await page.context().close();
  return mailed;
}

main("portal-account", async (browser) => {
  const earlier = await confirmsWithoutAPassword(browser);
  const page = await visit(browser, { path: "account" });
  // An authenticator: the picture and the key are the same.
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  const dialog = page.getByRole("dialog");
  await page.getByAltText("QR code with the key").or(dialog).first().waitFor();
  if (await dialog.isVisible()) {
    await confirmIdentity(page);
    await dialog.getByRole("button", { name: "Confirm" }).click();
  }
  await page.getByAltText("QR code with the key").waitFor();
  const secret = await scan(page);
  assert.equal((await page.locator("p > .code").innerText()).replaceAll(" ", ""), secret);
  assert.match(await page.locator("p > .code").innerText(), /^(\w{4} )+\w{1,4}$/);
  await page.getByLabel("Code of 6 digits").fill("000000");
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByText("The code is wrong or outdated.").waitFor();
  const first = code(secret, 0);
  await page.getByLabel("Code of 6 digits").fill(`${first.slice(0, 3)} ${first.slice(3)}`);
  // Pressed twice, it confirms once.
  const confirms = [];
  const isConfirm = (request) => mentions(request, "mutation ConfirmSecondFactor");
  page.on("request", (request) => isConfirm(request) && confirms.push(request));
  const release = await hold(page, isConfirm);
  await page.getByRole("button", { name: "Confirm" }).dblclick();
  release();
  await page.getByRole("heading", { name: "Your recovery codes" }).waitFor();
  await page.unroute("**/graphql");
  assert.equal(confirms.length, 1);
  const codes = await page.locator("ol.code li").allInnerTexts();
  assert.ok(codes.length >= 8);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as a file" }).click()]);
  const saved = require("node:fs").readFileSync(await download.path(), "utf8");
  assert.deepEqual(saved.trim().split("\n"), codes);
  // Only their own button closes them.
  await page.keyboard.press("Escape");
  const menu = await page.getByRole("link", { name: "My tickets", includeHidden: true }).boundingBox();
  await page.mouse.click(menu.x + menu.width / 2, menu.y + menu.height / 2);
  assert.ok(await asksBeforeAReload(page));
  assert.deepEqual(await page.locator("ol.code li").allInnerTexts(), codes);
  await page.emulateMedia({ media: "print" });
  assert.ok(await page.getByText(codes[0]).isVisible());
  assert.ok(!(await page.locator("h1").isVisible()), "nothing else is printed");
  await page.emulateMedia({ media: null });
  await page.getByRole("button", { name: "I have saved them" }).click();
  await page.getByText(`${codes.length} recovery codes left`).waitFor();
  assert.equal(await page.getByText(codes[0]).count(), 0, "the codes are shown once");

  // Signing in again takes a code, which may be pasted as the app writes it.
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("E-mail address").fill(CUSTOMER);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  const field = page.getByLabel("Code of 6 digits");
  await field.waitFor();
  assert.equal(await field.getAttribute("autocomplete"), "one-time-code");
  // Five wrong codes end this sign-in, and so does its time.
  for (let wrong = 0; wrong < 6 && (await field.isVisible()); wrong += 1) {
    await field.fill("000000");
    const answered = page.waitForResponse(/graphql/);
    await page.getByRole("button", { name: "Confirm" }).click();
    await answered;
    await page.getByText("The code is wrong or outdated.").or(page.getByText("The time for the code is over.")).first().waitFor();
  }
  await page.getByText("The time for the code is over. Sign in again.").waitFor();
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await field.waitFor();
  const next = code(secret, 1);
  await field.fill(`${next.slice(0, 3)}-${next.slice(3)}`);
  await page.keyboard.press("Enter");
  await page.locator("header nav").waitFor();

  // Codes by mail, with their time counting down.
  await page.goto(`${origin}account`);
  await page.clock.install();
  await page.getByRole("button", { name: "Set up codes by e-mail" }).click();
  await page.getByText("The code is valid for").or(dialog).first().waitFor();
  if (await dialog.isVisible()) {
    await confirmIdentity(page);
    await dialog.getByLabel("Confirm with").selectOption({ label: "Recovery code" });
    await dialog.getByLabel("Recovery code", { exact: true }).fill(codes[0]);
    await dialog.getByRole("button", { name: "Confirm" }).click();
  }
  await page.getByText(/^The code is valid for [12]:\d\d$/).waitFor();
  await page.getByText(/^Another code can be sent in \d+ seconds?$/).waitFor();
  const mailed = await mailedCode(earlier);
  await page.clock.fastForward(121_000);
  await page.getByText("The code has expired. Send another one.").waitFor();
  await page.getByRole("button", { name: "Send another code" }).waitFor();
  await page.getByLabel("Code of 6 digits").fill(mailed);
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByRole("button", { name: "Remove: Code by e-mail" }).waitFor();

  // Sessions of other devices, preferences, history.
  const other = await browser.newContext({ locale: "en-US" });
  const elsewhere = await other.newPage();
  await elsewhere.goto(origin);
  const signInElsewhere = async (recoveryCode) => {
    await elsewhere.getByLabel("E-mail address").fill(CUSTOMER);
    await elsewhere.getByLabel("Password").fill(PASSWORD);
    await elsewhere.keyboard.press("Enter");
    await elsewhere.getByLabel("Confirm with").selectOption({ label: "Recovery code" });
    await elsewhere.getByLabel("Recovery code", { exact: true }).fill(recoveryCode);
    await elsewhere.keyboard.press("Enter");
    await elsewhere.locator("header nav").waitFor();
    await page.reload();
  };
  const endOthers = page.getByRole("button", { name: "End all other sessions" });
  await signInElsewhere(codes[1]);
  await endOthers.click();
  await elsewhere.getByText("Sign in again to continue.").waitFor();
  // A new password ends them too, and the list says so.
  await signInElsewhere(codes[2]);
  await endOthers.waitFor();
  await page.locator("summary", { hasText: "Change the password" }).click();
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByLabel("New password", { exact: true }).fill("seven quiet herons");
  await page.getByLabel("New password, again").fill("seven quiet herons");
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.getByText("Your other sessions have ended.").waitFor();
  await endOthers.waitFor({ state: "detached" });
  await page.getByText("A recovery code was used").first().waitFor();
  await returnsToWhatIsStored(page);
  await page.getByLabel("Changes of the status").click();
  await page.getByText("Saved").waitFor();
  await page.getByLabel("Language").selectOption("RU");
  await page.getByRole("heading", { name: "Сеансы и устройства" }).waitFor();
  await page.getByRole("combobox").first().selectOption("EN");
});
