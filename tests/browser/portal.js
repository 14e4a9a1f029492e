// Signs in on the portal, opens a ticket, sees the answer arrive, answers and signs out, in a real browser.
// Takes the picture of README.

const { AGENT, assert, CUSTOMER, main, origin, Person, pictures, signIn, visit } = require("./portal-lib");

main("portal", async (browser) => {
  const marta = await Person.signIn(AGENT);
  const page = await visit(browser, { path: "tickets", isStrict: true });
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  const stored = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie].join());
  assert.ok(!stored.includes("tw_"), "no script can read the token");

  await page.goto(`${origin}new/technical-support`);
  await page.getByLabel("Summary").fill("The shop answers slowly");
  await page.getByLabel("Description").fill("Since this morning each page takes ten seconds.");
  await page.reload();
  assert.equal(await page.getByLabel("Summary").inputValue(), "The shop answers slowly", "the draft is kept");
  await page.getByRole("button", { name: "Send the request" }).click();
  await page.waitForURL(/\/tickets\/CS-/);
  const number = new URL(page.url()).pathname.split("/").at(-1);
  const { ticket } = await marta.call("query($n: String!) { ticket(number: $n) { id } }", { n: number });
  await page.getByText("Since this morning each").waitFor();
  const { comment } = await marta.comment(ticket, "We have moved your database to a faster disk. Is it better now?");
  await page.locator("article", { hasText: "Is it better now?" }).waitFor();
  await page.getByLabel("Add a comment").fill("Much better, thank you.");
  await page.getByRole("button", { name: "Post comment" }).click();
  await page.locator("article:not(.letter)", { hasText: "Much better" }).waitFor();
  assert.equal(await page.getByLabel("Add a comment").inputValue(), "", "the draft is gone");
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${pictures}/portal.png`, fullPage: true });

  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByLabel("Your comment").fill("Much better, thank you very much.");
  await page.reload();
  assert.equal(await page.getByLabel("Your comment").inputValue(), "Much better, thank you very much.", "an edit is kept too");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("article", { hasText: "thank you very much" }).waitFor();
  await page.getByText(/^Edited /).waitFor();
  await marta.mutate("redactComment", { commentId: comment.id });
  await page.getByText("This text was removed.").waitFor();
  assert.equal(await page.locator("article", { hasText: "Is it better now?" }).count(), 0, "the text is gone from the page");
  assert.equal(await page.getByText("Is it better now?").count(), 0, "and from what is read out");

  // Mute, invite, withdraw, resolve, reopen, close and follow up.
  await page.getByRole("button", { name: "Stop mail about this ticket" }).click();
  await page.getByRole("button", { name: "Send me mail about this ticket" }).waitFor();
  await page.getByLabel("E-mail address of a customer").fill("colleague@example.com");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Withdraw the invitation of colleague@example.com" }).click();
  await page.getByRole("button", { name: "Withdraw the invitation" }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Mark as resolved" }).click();
  await page.getByRole("button", { name: "Reopen" }).click();
  await page.getByRole("button", { name: "Close the ticket" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Close the ticket" }).click();
  await page.getByRole("link", { name: "Open a follow-up" }).click();
  await page.getByText(`This request continues ${number}.`).waitFor();

  await page.getByRole("link", { name: "My tickets" }).click();
  await page.getByRole("link", { name: "The shop answers slowly" }).first().waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Password").waitFor();
  await signIn(page, CUSTOMER);
  await page.context().close();
});
