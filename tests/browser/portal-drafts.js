// What a person writes survives what happens around it: no network, an expired session, another person,
// another tab, old keys, lost files, a limit.

const { ADMIN, AGENT, assert, CUSTOMER, hasFocus, hold, loseAnswer, main, mentions, origin, OTHER_CUSTOMER, painted, PASSWORD, Person, signIn, until, visit } = require("./portal-lib");

const field = (page) => page.getByLabel("Add a comment");
const post = (page) => page.getByRole("button", { name: "Post comment" });
const letter = (page, text) => page.locator("article.letter", { hasText: text });

async function write(page, text) {
  await field(page).fill(text);
  await post(page).click();
}

/** Opens a ticket of the customer in a browser. */
async function openTicket(browser, anna, summary) {
  const ticket = await anna.openTicket(summary);
  const page = await visit(browser, { path: `tickets/${ticket.number}` });
  await field(page).waitFor();
  return { ticket, page };
}

/** Has the page reload, and its reader refuse when the browser asks. */
async function refuseToLeave(page) {
  const asked = page.waitForEvent("dialog");
  await page.evaluate(() => void setTimeout(() => location.reload()));
  const dialog = await asked;
  assert.equal(dialog.type(), "beforeunload");
  await dialog.dismiss();
}

async function keepsThePageWhileNothingIsStored(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "A full browser");
  await page.evaluate(() => {
    const { setItem } = Storage.prototype;
    Storage.prototype.setItem = function (name, value) {
      if (/^ticketwire:(draft|outbox):/.test(name)) throw new DOMException("full", "QuotaExceededError");
      setItem.call(this, name, value);
    };
  });
  await field(page).fill("Only on this page");
  await refuseToLeave(page);
  await page.route("**/graphql", (route) => (mentions(route.request(), "mutation AddComment") ? route.abort() : route.fallback()));
  await post(page).click();
  await letter(page, "Only on this page").getByText("when the connection is back").waitFor();
  await refuseToLeave(page);
  await page.unroute("**/graphql");
  await letter(page, "Only on this page").waitFor({ state: "detached" });
  assert.deepEqual(await anna.bodies(ticket), ["Only on this page"]);
  await page.reload();
  await field(page).waitFor();
  await page.context().close();
}

async function waitsInOrder(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Offline");
  await page.context().setOffline(true);
  for (const text of ["first", "second", "third"]) await write(page, text);
  await letter(page, "first").getByText("when the connection is back").waitFor();
  assert.equal(await page.locator("article.letter").count(), 3);
  assert.deepEqual(await anna.bodies(ticket), []);
  // The page of a later visit continues.
  await page.context().setOffline(false);
  await until(async () => (await anna.bodies(ticket)).length === 3);
  assert.deepEqual(await anna.bodies(ticket), ["first", "second", "third"]);
  await page.locator("article.letter").first().waitFor({ state: "detached" });
  assert.equal(await page.getByText("second").count(), 1, "a comment is shown once");

  // A letter that waits can be changed.
  await page.context().setOffline(true);
  await write(page, "with a mistake");
  await letter(page, "with a mistake").getByRole("button", { name: "Edit" }).click();
  assert.equal(await field(page).inputValue(), "with a mistake");
  await page.context().setOffline(false);
  await write(page, "without");
  await page.getByText("without", { exact: true }).waitFor();
  await until(async () => (await anna.bodies(ticket)).at(-1) === "without");
  await page.context().close();
}

async function survivesTheEndOfASession(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Expired");
  await field(page).pressSequentially("Half a sen");
  await anna.mutate("revokeOtherSessions", undefined).catch(() => anna.call("mutation { revokeOtherSessions { userErrors { code } } }"));
  await page.getByText("Sign in again to continue.").waitFor();
  await signIn(page, CUSTOMER);
  await field(page).waitFor();
  assert.equal(await field(page).inputValue(), "Half a sen");
  await field(page).pressSequentially("tence.");
  await post(page).click();
  await until(async () => (await anna.bodies(ticket)).includes("Half a sentence."));

  // A message that was sent when the session had ended is posted after the next sign-in.
  await page.context().setOffline(true);
  await write(page, "After the end");
  await anna.call("mutation { revokeOtherSessions { userErrors { code } } }");
  await page.context().setOffline(false);
  await page.getByText("Sign in again to continue.").waitFor();
  await signIn(page, CUSTOMER);
  await until(async () => (await anna.bodies(ticket)).includes("After the end"));
  await page.context().close();
}

/** Signs in in a page as the handoff from a control panel does: only the cookie changes. */
const replaceSession = (page, email) =>
  page.evaluate(
    async ([email, password]) => {
      const query = `mutation($i: SignInInput!) { signIn(input: $i) { session { account { id } } } }`;
      const headers = { "content-type": "application/json", "ticketwire-client": "test" };
      const body = JSON.stringify({ query, variables: { i: { email, password, sessionTransport: "COOKIE" } } });
      return (await (await fetch("/graphql", { method: "POST", headers, body })).json()).data.signIn.session.account.id;
    },
    [email, PASSWORD],
  );

async function postsNothingForAnotherPerson(browser, { anna, jonas }) {
  const page = await visit(browser, { path: "new/technical-support" });
  await page.getByLabel("Summary").fill("Of Anna");
  await page.getByLabel("Description").fill("Written by Anna.");
  const second = await page.context().newPage();
  await second.goto(origin);
  await second.getByRole("heading", { name: "How can we help?" }).waitFor();
  await replaceSession(second, OTHER_CUSTOMER);
  await page.getByRole("button", { name: "Send the request" }).click();
  await page.getByRole("heading", { name: "Another person has signed in" }).waitFor();
  assert.ok(!(await jonas.tickets()).some(({ summary }) => summary === "Of Anna"));
  // The other person sees nothing of it.
  await second.goto(`${origin}new/technical-support`);
  assert.equal(await second.getByLabel("Summary").inputValue(), "");
  assert.equal(await second.getByText("Written by Anna.").count(), 0);
  assert.ok(!(await jonas.tickets()).some(({ summary }) => summary === "Of Anna"));
  // Anna signs in again: what she has sent is posted, once.
  await second.getByRole("button", { name: "Sign out" }).click();
  await signIn(second, CUSTOMER);
  await until(async () => (await anna.tickets()).some(({ summary }) => summary === "Of Anna"));
  assert.equal((await anna.tickets()).filter(({ summary }) => summary === "Of Anna").length, 1);
  await page.context().close();
}

async function showsItsPageWhenAnotherPersonSignsIn(browser) {
  const page = await visit(browser, { path: "new/technical-support" });
  await page.getByLabel("Summary").fill("Still to be read");
  const home = await page.context().newPage();
  await home.goto(origin);
  await home.getByRole("link", { name: "Technical Support" }).waitFor();
  for (const [changed, shown, stays] of [[home, page, page.getByLabel("Summary")], [page, home, home.getByRole("link", { name: "Technical Support" })]]) {
    await changed.evaluate(() => localStorage.setItem("ticketwire:account", `another-${Math.random()}`));
    await shown.getByRole("heading", { name: "Another person has signed in" }).waitFor();
    await painted(shown);
    assert.ok(await stays.isVisible());
    assert.equal(await shown.getByRole("alert").count(), 1);
  }
  assert.equal(await page.getByLabel("Summary").inputValue(), "Still to be read");
  await page.context().close();
}

async function leavesNothingToTheNextPerson(browser, { anna, marta }) {
  const { ticket, page } = await openTicket(browser, anna, "Of the person before");
  const bell = page.getByRole("button", { name: /^Notifications/ });
  await marta.comment(ticket, "An answer");
  await page.getByRole("button", { name: /^Notifications, [1-9]/ }).waitFor();
  await hold(page, (request) => (request.headers()["content-type"] ?? "").startsWith("multipart"));
  await page.locator("input[type=file]").setInputFiles([{ name: "late.txt", mimeType: "text/plain", buffer: Buffer.from("late") }]);
  await page.getByRole("button", { name: "Cancel late.txt" }).waitFor();
  // A file on its way is no draft yet, and would be lost.
  const leaving = page.getByRole("dialog", { name: "You have unsent messages" });
  await page.getByRole("button", { name: "Sign out" }).click();
  await leaving.getByText("late.txt").waitFor();
  assert.deepEqual(await leaving.getByRole("button").allInnerTexts(), ["Sign out", "Cancel"]);
  await leaving.getByRole("button", { name: "Cancel" }).click();
  await field(page).fill("Not yet posted");
  await page.getByRole("button", { name: "Sign out" }).click();
  await leaving.getByText("late.txt").waitFor();
  await leaving.getByRole("button", { name: "Keep and sign out" }).waitFor();
  await anna.call("mutation { revokeOtherSessions { userErrors { code } } }");
  await page.getByText("Sign in again to continue.").waitFor();
  const release = await hold(page, (request) => mentions(request, "query Notifications"));
  await signIn(page, OTHER_CUSTOMER);
  assert.match(await bell.getAttribute("aria-label"), / 0 unread/);
  await bell.click();
  assert.equal(await page.getByText("Of the person before").count(), 0);
  release();
  // Who signs in does not leave because the person before wanted to, nor is held by what that one uploads.
  await page.reload();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  await page.context().close();
}

async function isOneDraftInTwoTabs(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Two tabs");
  const second = await page.context().newPage();
  await second.goto(page.url());
  await field(page).fill("Begun here");
  await until(async () => (await field(second).inputValue()) === "Begun here");
  await field(second).fill("Begun here, ended there");
  await until(async () => (await field(page).inputValue()) === "Begun here, ended there");
  await Promise.all([post(page).click(), post(second).click()]);
  // The event of a comment can arrive before the answer to the one who posted it.
  for (const tab of [page, second]) await until(async () => (await tab.getByText("ended there").count()) === 1, "it is shown once");
  assert.equal(await field(page).inputValue(), "");
  assert.equal(await field(second).inputValue(), "");
  await write(page, "Marker");
  await until(async () => (await anna.bodies(ticket)).includes("Marker"));
  assert.deepEqual(await anna.bodies(ticket), ["Begun here, ended there", "Marker"]);
  await page.context().close();
}

async function endsAnEditInAllTabs(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Edited in two tabs");
  const { comment } = await anna.comment(ticket, "As it was");
  const second = await page.context().newPage();
  await second.goto(page.url());
  const editor = (tab) => tab.getByLabel("Your comment");
  for (const tab of [page, second]) await tab.getByRole("button", { name: "Edit", exact: true }).click();
  await editor(page).fill("As it is");
  await until(async () => (await editor(second).inputValue()) === "As it is");
  await page.getByRole("button", { name: "Save" }).click();
  for (const tab of [page, second]) await editor(tab).waitFor({ state: "detached" });
  await second.getByText("As it is").first().waitFor();

  // An editor in which nothing is written shows what another device has saved.
  await second.getByRole("button", { name: "Edit", exact: true }).click();
  await anna.mutate("editComment", { commentId: comment.id, body: "As it is elsewhere" });
  await until(async () => (await editor(second).inputValue()) === "As it is elsewhere", "it is the current text");
  // One in which something is written replaces nothing that its author has not seen.
  await editor(second).fill("As I say it here");
  await anna.mutate("editComment", { commentId: comment.id, body: "As I said on the phone" });
  const article = second.locator("article", { has: editor(second) });
  await article.getByRole("status").getByText("As I said on the phone").waitFor();
  await second.reload();
  await article.getByRole("status").getByText("As I said on the phone").waitFor();
  assert.equal(await editor(second).inputValue(), "As I say it here");
  const save = article.getByRole("button", { name: "Save" });
  await save.click();
  await article.getByText("Save once more to replace the text above by yours.").waitFor();
  assert.deepEqual(await anna.bodies(ticket), ["As I said on the phone"]);
  await save.click();
  await editor(second).waitFor({ state: "detached" });
  assert.deepEqual(await anna.bodies(ticket), ["As I say it here"]);
  await page.context().close();
}

async function keepsAnEditOfAnErasedCommentReadable(browser, { anna, ilya }) {
  const { ticket, page } = await openTicket(browser, anna, "Erased while it is edited");
  const editor = page.getByLabel("Your comment");
  const edit = async (text, written) => {
    const { comment } = await anna.comment(ticket, text);
    await page.locator("article", { hasText: text }).getByRole("button", { name: "Edit", exact: true }).click();
    if (written) await editor.fill(written);
    return () => ilya.mutate("redactComment", { commentId: comment.id });
  };
  const drafts = () => page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("ticketwire:draft:")));

  await (await edit("A secret", "A long correction"))();
  await page.getByText("This comment was removed while you edited it.").waitFor();
  assert.equal(await editor.inputValue(), "A long correction");
  assert.ok(!(await editor.isEditable()));
  await page.getByRole("button", { name: "Discard" }).click();
  await page.locator("article", { hasText: "This text was removed." }).waitFor();
  assert.deepEqual(await drafts(), []);

  // The text that was erased is not shown by an editor in which nothing else stands.
  await (await edit("A password"))();
  await editor.waitFor({ state: "detached" });
  assert.equal(await page.getByText("A password").count(), 0);

  // One that was begun on an earlier visit is not kept for ever.
  const erase = await edit("Another secret", "Another correction");
  assert.equal((await drafts()).length, 1);
  await page.getByRole("link", { name: "My tickets" }).click();
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  await erase();
  await page.goBack();
  await field(page).waitFor();
  assert.deepEqual(await drafts(), []);
  await page.context().close();
}

async function keepsATextReadableWhoseTicketIsLost(browser, { anna, jonas }) {
  const ticket = await anna.openTicket("Lost while a comment is edited");
  await anna.mutate("inviteParticipant", { ticketId: ticket.id, email: OTHER_CUSTOMER });
  const page = await visit(browser, { email: OTHER_CUSTOMER });
  await page.locator("section", { hasText: ticket.number }).getByRole("button", { name: "Accept" }).click();
  await field(page).waitFor();
  for (const text of ["As I said", "As I also said", "As I once said"]) {
    await jonas.comment(ticket, text);
    await page.locator("article", { hasText: text }).getByRole("button", { name: "Edit", exact: true }).click();
  }
  const editor = page.getByLabel("Your comment");
  await until(async () => (await editor.count()) === 3);
  await editor.first().fill("As I wanted to say");
  await editor.last().fill("As I meant to say");
  await field(page).fill("As I was about to say");
  await anna.mutate("removeParticipant", { ticketId: ticket.id, accountId: jonas.id });
  await page.getByRole("heading", { name: "You can no longer see this ticket." }).waitFor();
  // An editor in which nothing was changed goes with the comment.
  await until(async () => (await editor.count()) === 2);
  assert.equal(await editor.first().inputValue(), "As I wanted to say");
  assert.ok(!(await editor.first().isEditable()));
  await page.getByRole("button", { name: "Discard" }).first().click();
  await until(async () => (await editor.count()) === 1);
  assert.equal(await page.getByText("As I said").count(), 0);
  const stored = () => page.evaluate(() => JSON.stringify(localStorage));
  assert.ok(!(await stored()).includes("As I wanted to say"));

  // After an upgrade of the server the field stays until its text is gone, although nobody writes in it.
  await page.locator("h1").click();
  await page.route(origin, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).replace(/\/assets\/portal-/, "/assets/portal-new-") });
  });
  let loads = 0;
  page.on("load", () => (loads += 1));
  const asked = page.waitForResponse(origin);
  await page.evaluate(() => void dispatchEvent(new Event("vite:preloadError", { cancelable: true })));
  await (await asked).finished();
  await painted(page);
  assert.equal(loads, 0);
  assert.equal(await field(page).inputValue(), "As I was about to say");
  await page.unroute(origin);
  // Once it was left, all of it can still be read there, and discarded.
  await page.getByRole("link", { name: "My tickets" }).first().click();
  await page.getByRole("heading", { name: "My tickets" }).waitFor();
  await page.goBack();
  for (const text of ["As I was about to say", "As I meant to say"]) {
    const left = page.locator("article", { hasText: text });
    await left.getByRole("button", { name: "Copy" }).waitFor();
    await left.getByRole("button", { name: "Discard" }).click();
    await left.waitFor({ state: "detached" });
    assert.ok(!(await stored()).includes(text));
  }
  await page.context().close();
}

async function sendsWhatWasAddedToAMessageOnItsWay(browser, { anna }) {
  const isComment = (request) => mentions(request, "mutation AddComment");
  for (const isPosted of [true, false]) {
    const { ticket, page } = await openTicket(browser, anna, "Taken back too late");
    const context = page.context();
    const second = await context.newPage();
    await second.goto(page.url());
    await field(second).waitFor();
    const release = await hold(context, isComment);
    const begun = context.waitForEvent("request", isComment);
    await write(page, "Half of it");
    // Either tab may send it. The other one does not know that it is on its way.
    const sender = (await begun).frame().page();
    await letter(sender === page ? second : page, "Half of it").getByRole("button", { name: "Edit" }).click();
    await until(async () => (await field(sender).inputValue()) === "Half of it");
    const arrive = async () => {
      const answered = sender.waitForResponse((response) => isComment(response.request()));
      release();
      await (await answered).finished();
      await sender.locator("article:not(.letter)", { hasText: "Half of it" }).waitFor();
    };
    if (isPosted) await arrive();
    await write(sender, "Half of it, and the rest");
    if (!isPosted) await arrive();
    const rest = letter(sender, "and the rest");
    await rest.getByText("An earlier version of this message has arrived already.").waitFor();
    await rest.getByRole("button", { name: "Send this as a new message" }).click();
    await until(async () => (await anna.bodies(ticket)).length === 2);
    assert.deepEqual(await anna.bodies(ticket), ["Half of it", "Half of it, and the rest"]);
    await context.close();
  }
}

async function looksForOldMessages(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Yesterday");
  await loseAnswer(page, "AddComment");
  await write(page, "Has it arrived?");
  await until(async () => (await anna.bodies(ticket)).length === 1);
  await letter(page, "Has it arrived?").getByText("when the connection is back").waitFor();
  await page.goto(`${origin}account`);
  await page.evaluate(() => {
    const name = Object.keys(localStorage).find((key) => key.startsWith("ticketwire:outbox:"));
    const stored = JSON.parse(localStorage.getItem(name));
    localStorage.setItem(name, JSON.stringify({ ...stored, sentAt: stored.sentAt - 24 * 3_600_000 }));
  });
  await page.unroute("**/graphql");
  await page.goto(`${origin}tickets/${ticket.number}`);
  await page.getByText("Has it arrived?").waitFor();
  await until(() => page.evaluate(() => !Object.keys(localStorage).some((key) => key.startsWith("ticketwire:outbox:"))));
  assert.deepEqual(await anna.bodies(ticket), ["Has it arrived?"]);
  await page.context().close();
}

async function asksWhenOthersHaveCommented(browser, { anna, marta }) {
  const { ticket, page } = await openTicket(browser, anna, "Meanwhile");
  await page.context().setOffline(true);
  await write(page, "Is anybody there?");
  await letter(page, "Is anybody there?").getByText("when the connection is back").waitFor();
  await marta.comment(ticket, "It is repaired.");
  await page.context().setOffline(false);
  const waiting = letter(page, "Is anybody there?");
  await waiting.getByText("Others have commented meanwhile.").waitFor();
  await waiting.getByText("It is repaired.").waitFor();
  assert.deepEqual(await anna.bodies(ticket), ["It is repaired."]);
  await waiting.getByRole("button", { name: "Post it all the same" }).click();
  await until(async () => (await anna.bodies(ticket)).length === 2);
  await page.context().close();
}

async function losesOnlyTheExpiredFile(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Files");
  const files = ["kept.txt", "gone.txt", "<img src=x onerror=alert(1)>.txt"];
  await page.locator("input[type=file]").setInputFiles(files.map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(name) })));
  for (const name of files) await page.getByRole("button", { name: `Remove ${name}` }).waitFor();
  const stored = await page.evaluate(() => {
    const name = Object.keys(localStorage).find((key) => key.startsWith("ticketwire:draft:"));
    return JSON.parse(localStorage.getItem(name)).files;
  });
  await anna.mutate("deleteUploadedFile", { id: stored.find(({ name }) => name === "gone.txt").id });
  await write(page, "With files");
  await letter(page, "With files").getByText("These files are no longer stored: gone.txt.").waitFor();
  await letter(page, "With files").getByRole("button", { name: "Try again" }).click();
  await until(async () => (await anna.bodies(ticket)).length === 1);
  const [comment] = await anna.comments(ticket);
  assert.deepEqual(comment.attachments.map(({ name }) => name).sort(), [files[2], "kept.txt"].sort());
  await page.getByRole("link", { name: files[2] }).waitFor();

  // Files that can't be sent say why; the others and the text stay.
  await field(page).fill("More files");
  const picker = page.locator("input[type=file]");
  await picker.setInputFiles([{ name: "empty.txt", mimeType: "text/plain", buffer: Buffer.alloc(0) }]);
  await page.getByText("empty.txt was not uploaded. The file is empty.").waitFor();
  await picker.setInputFiles([{ name: "large.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(27_000_000) }]);
  await page.getByText("large.bin was not uploaded. A file can have 26.2 MB at most.").waitFor();
  assert.equal(await field(page).inputValue(), "More files");
  // One that was cut off is uploaded again.
  await page.route("**/graphql", (route) => (route.request().postData() ?? "multipart").includes("query") ? route.fallback() : route.abort(), { times: 1 });
  await page.getByRole("button", { name: "Remove empty.txt" }).click();
  await page.getByRole("button", { name: "Remove large.bin" }).click();
  await page.context().setOffline(true);
  await picker.setInputFiles([{ name: "again.txt", mimeType: "text/plain", buffer: Buffer.from("again") }]);
  await page.getByText("again.txt was not uploaded.").waitFor();
  await page.context().setOffline(false);
  await page.getByRole("button", { name: "Upload again.txt again" }).click();
  await page.getByRole("button", { name: "Remove again.txt" }).waitFor();
  // By drop and paste.
  for (const [type, name] of [["drop", "dropped.txt"], ["paste", "pasted.txt"]]) {
    await field(page).evaluate((target, [type, name]) => {
      const data = new DataTransfer();
      data.items.add(new File(["text"], name, { type: "text/plain" }));
      const init = { bubbles: true, cancelable: true };
      target.dispatchEvent(type === "drop" ? new DragEvent(type, { ...init, dataTransfer: data }) : new ClipboardEvent(type, { ...init, clipboardData: data }));
    }, [type, name]);
    await page.getByRole("button", { name: `Remove ${name}` }).waitFor();
  }
  await page.context().close();
}

async function givesUpAFileOnADeadLine(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "Dead line");
  await page.clock.install();
  // The server answers nothing.
  const isUpload = (request) => request.headers()["content-type"].startsWith("multipart");
  const held = [];
  await page.route("**/graphql", (route) => (isUpload(route.request()) ? held.push(route) : route.fallback()));
  await page.locator("input[type=file]").setInputFiles([{ name: "dead.txt", mimeType: "text/plain", buffer: Buffer.from("dead") }]);
  await until(async () => (await page.evaluate(() => true)) && held.length === 1, "the file is sent");
  await page.clock.fastForward("05:01");
  await page.getByText("dead.txt was not uploaded.").waitFor();
  await page.unroute("**/graphql");
  await page.getByRole("button", { name: "Upload dead.txt again" }).click();
  await page.getByRole("button", { name: "Remove dead.txt" }).waitFor();
  await page.context().close();
}

async function sendsNothingWithoutAFileThatFailed(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Half of the files");
  const picker = page.locator("input[type=file]");
  await picker.setInputFiles([{ name: "empty.txt", mimeType: "text/plain", buffer: Buffer.alloc(0) }]);
  await page.getByText("A file was not uploaded. Upload it again or remove it before you send.").waitFor();
  await write(page, "See the file");
  const again = page.getByRole("button", { name: "Upload empty.txt again" });
  await until(() => again.evaluate((button) => button === document.activeElement), "its author is led to the file");
  await page.keyboard.press("Enter");
  const remove = page.getByRole("button", { name: "Remove empty.txt" });
  await until(() => remove.evaluate((button) => button === document.activeElement), "the focus stays at the file");
  await again.waitFor();
  assert.equal(await field(page).inputValue(), "See the file");
  assert.equal(await page.locator("article.letter").count(), 0);
  await remove.click();
  await post(page).click();
  await until(async () => (await anna.bodies(ticket)).includes("See the file"));
  await page.context().close();
}

async function uploadsManyFilesInTheirOrder(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "Many files");
  const isUpload = (request) => (request.headers()["content-type"] ?? "").startsWith("multipart");
  let [sending, most, refusals] = [0, 0, 2];
  await page.route("**/graphql", async (route) => {
    if (!isUpload(route.request())) return route.fallback();
    most = Math.max(most, (sending += 1));
    const refused = { errors: [{ message: "refused", extensions: { code: "RATE_LIMITED", retryAfterSeconds: 1 } }] };
    const answer = refusals-- > 0 ? { json: refused } : { response: await route.fetch() };
    // The page sends the next file as soon as it has the answer.
    sending -= 1;
    await route.fulfill(answer);
  });
  const names = Array.from({ length: 10 }, (_, index) => `file-${index}.txt`);
  await page.locator("input[type=file]").setInputFiles(names.map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(name) })));
  for (const name of names) await page.getByRole("button", { name: `Remove ${name}` }).waitFor();
  assert.ok(most <= 3, `${most} files at once`);
  await write(page, "In their order");
  await until(async () => (await anna.bodies(ticket)).length === 1);
  const [comment] = await anna.comments(ticket);
  assert.deepEqual(comment.attachments.map(({ name }) => name), names);
  await page.context().close();
}

async function keepsTheFocusAtWhatIsChanged(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "Keeps the focus");
  const button = (name) => page.getByRole("button", { name, exact: true });
  const press = async (name) => {
    await button(name).focus();
    await page.keyboard.press("Enter");
  };
  await page.locator("input[type=file]").setInputFiles(["one.txt", "two.txt"].map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(name) })));
  for (const name of ["Remove one.txt", "Remove two.txt"]) await button(name).waitFor();
  await press("Remove one.txt");
  await hasFocus(button("Remove two.txt"));
  await press("Remove two.txt");
  await hasFocus(button("Add files"));
  await write(page, "To be edited");
  await button("Edit").waitFor();
  for (const name of ["Cancel", "Save"]) {
    await press("Edit");
    await page.getByLabel("Your comment").waitFor();
    await press(name);
    await hasFocus(button("Edit"));
  }
  await press("Mark as resolved");
  await hasFocus(button("Reopen"));
  await press("Reopen");
  await hasFocus(button("Mark as resolved"));
  await page.context().close();
}

async function keepsTheFocusWhereSomethingEnds(browser, { anna, marta }) {
  const { ticket, page } = await openTicket(browser, anna, "Keeps the focus too");
  const button = (name) => page.getByRole("button", { name });
  const heading = (name) => page.getByRole("heading", { name });
  const press = async (name) => {
    await button(name).focus();
    await page.keyboard.press("Enter");
  };
  await anna.mutate("inviteParticipant", { ticketId: ticket.id, email: "somebody@example.com" });
  await press(/^Withdraw the invitation/);
  await hasFocus(heading("Participants"));
  await page.context().setOffline(true);
  await write(page, "Too late");
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  await page.context().setOffline(false);
  await letter(page, "Too late").getByText("Open a follow-up instead.").waitFor();
  await press("Edit");
  await hasFocus(field(page));

  const other = await visit(browser, { userAgent: "A phone" });
  await page.goto(`${origin}account`);
  await press("End the session on A phone");
  await hasFocus(heading("Sessions and devices"));
  await other.context().close();
  await press("Set up an authenticator app");
  await hasFocus(page.getByLabel("Code of 6 digits"));
  await press("Cancel");
  await hasFocus(heading("Second factors"));

  const shared = await anna.openTicket("Shared with somebody who declines");
  await anna.mutate("inviteParticipant", { ticketId: shared.id, email: OTHER_CUSTOMER });
  await button("Sign out").click();
  await button(/^(Keep|Discard) and sign out/).first().click();
  await button("Forgot your password?").click();
  await page.getByLabel("E-mail address").fill("nobody@demo.example");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await hasFocus(heading("Reset your password"));
  await button("Back to sign-in").click();
  await signIn(page, OTHER_CUSTOMER);
  await page.locator("section", { hasText: shared.number }).getByRole("button", { name: "Decline" }).focus();
  await page.keyboard.press("Enter");
  await hasFocus(heading("How can we help?"));
  await page.context().close();
}

/** Clicks twice, the second time on what is there after `between`. */
async function clickTwice(page, locator, between) {
  await locator.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await locator.boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  for (const clickCount of [1, 2]) {
    await page.mouse.down({ clickCount });
    await page.mouse.up({ clickCount });
    if (clickCount === 1) await between();
  }
}

async function actsOnceOnADoubleClick(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "Clicked twice");
  const button = (name) => page.getByRole("button", { name, exact: true });
  const names = ["one.txt", "two.txt"];
  await page.locator("input[type=file]").setInputFiles(names.map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(name) })));
  for (const name of names) await button(`Remove ${name}`).waitFor();
  await clickTwice(page, button("Remove one.txt"), () => button("Remove one.txt").waitFor({ state: "detached" }));
  await button("Remove two.txt").waitFor();
  // One button that says something else is another one too.
  await clickTwice(page, button("Stop mail about this ticket"), () => button("Send me mail about this ticket").waitFor());
  let changes = 0;
  page.on("request", (request) => mentions(request, "mutation UpdateTicket") && (changes += 1));
  await clickTwice(page, button("Mark as resolved"), () => button("Reopen").waitFor());
  await button("Send me mail about this ticket").waitFor();
  assert.equal(changes, 1);

  // Who clicks twice on what stays the same means it.
  await field(page).fill("word");
  await field(page).dblclick({ position: { x: 20, y: 20 } });
  await page.keyboard.press("Delete");
  assert.equal(await field(page).inputValue(), "", "a double click selects a word");
  await page.goto(`${origin}account`);
  const mail = page.getByLabel("Changes of the status");
  const isOn = await mail.isChecked();
  await page.getByText("Changes of the status").click();
  await page.getByText("Saved").waitFor();
  assert.equal(await mail.isChecked(), !isOn);
  await page.getByText("Changes of the status").dblclick();
  assert.equal(await mail.isChecked(), !isOn, "it is changed twice");
  await page.getByText("Changes of the status").click();
  await page.context().close();
}

async function leavesATextToTheField(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "A table");
  /** Offers a text to the field, with a picture of it or without. Returns whether the field may take the text. */
  const offer = (type, hasPicture) => field(page).evaluate((target, [type, hasPicture]) => {
    const data = new DataTransfer();
    data.setData("text/plain", "1\t2");
    if (hasPicture) data.items.add(new File(["picture"], "table.png", { type: "image/png" }));
    const init = { bubbles: true, cancelable: true };
    return target.dispatchEvent(type === "paste" ? new ClipboardEvent(type, { ...init, clipboardData: data }) : new DragEvent(type, { ...init, dataTransfer: data }));
  }, [type, hasPicture]);
  assert.equal(await offer("paste", true), true);
  assert.equal(await offer("dragover", false), true);
  assert.equal(await offer("drop", false), true);
  assert.equal(await offer("dragover", true), false, "files are taken");
  assert.equal(await page.getByText("table.png").count(), 0);
  await page.context().close();
}

async function showsARejectedRequestWithoutItsForm(browser, { anna, marta, ilya }) {
  const { category } = await ilya.mutate("createCategory", { nameEn: "Mail", nameRu: "Почта", slug: "mail" }, "category { id }");
  const closed = await anna.openTicket("Closed before");
  await marta.mutate("updateTicket", { ticketId: closed.id, status: "CLOSED" });
  const page = await visit(browser, { path: `new/mail?follows=${closed.number}` });
  await page.getByLabel("Summary").fill("It began again");
  await page.getByLabel("Description").fill("Since this morning.");
  await page.context().setOffline(true);
  await page.getByRole("button", { name: "Send the request" }).click();
  await letter(page, "It began again").waitFor();
  await ilya.mutate("retireCategory", { id: category.id });
  await page.context().setOffline(false);
  await letter(page, "It began again").getByText("Not sent.").waitFor();

  await page.getByRole("link", { name: "My tickets" }).click();
  await page.getByRole("link", { name: "A message was not sent. See why" }).click();
  await page.getByText("This category does not exist").first().waitFor();
  await letter(page, "It began again").waitFor();
  await ilya.mutate("restoreCategory", { id: category.id });
  await letter(page, "It began again").getByRole("button", { name: "Try again" }).click();
  await until(async () => (await anna.tickets()).some(({ summary }) => summary === "It began again"));
  await page.context().close();
}

/** Sends a request with the form that a page shows. */
async function sendRequest(page, summary) {
  await page.getByLabel("Summary").fill(summary);
  await page.getByLabel("Description").fill("Since this morning.");
  await page.getByRole("button", { name: "Send the request" }).click();
}

async function saysThatARequestWasOpened(browser, { anna }) {
  const page = await visit(browser, { path: "new/technical-support" });
  const isRequest = (request) => mentions(request, "mutation CreateTicket");
  await page.route("**/graphql", (route) => (isRequest(route.request()) ? route.abort() : route.fallback()));
  await sendRequest(page, "Sent before a reload");
  await letter(page, "Sent before a reload").getByText("when the connection is back").waitFor();
  await page.reload();
  await letter(page, "Sent before a reload").waitFor();
  await page.unroute("**/graphql");
  const link = page.getByRole("link", { name: "Sent before a reload" });
  await link.waitFor();
  const { number } = (await anna.tickets()).find(({ summary }) => summary === "Sent before a reload");
  await page.getByText(`It is ticket ${number}:`).waitFor();
  await link.click();
  await page.getByRole("heading", { name: "Sent before a reload" }).waitFor();
  await page.goBack();
  await page.getByLabel("Summary").waitFor();
  assert.equal(await link.count(), 0, "its author knows");

  // Each tab learns what another one has sent.
  const [second, third] = [await page.context().newPage(), await page.context().newPage()];
  for (const tab of [second, third]) {
    await tab.goto(`${origin}new/technical-support`);
    await tab.getByLabel("Summary").waitFor();
  }
  const release = await hold(page, isRequest);
  await sendRequest(page, "Of the first tab");
  await letter(second, "Of the first tab").waitFor();
  await until(async () => (await second.getByLabel("Summary").inputValue()) === "");
  await sendRequest(second, "Of the second tab");
  await letter(third, "Of the second tab").waitFor();
  release();
  await page.getByRole("heading", { name: "Of the first tab" }).waitFor();
  await second.getByRole("heading", { name: "Of the second tab" }).waitFor();
  for (const summary of ["Of the first tab", "Of the second tab"]) await third.getByRole("link", { name: summary }).waitFor();
  // The next person does not learn of it.
  await third.getByRole("button", { name: "Sign out" }).click();
  await signIn(third, OTHER_CUSTOMER);
  await third.getByRole("link", { name: "Technical support" }).click();
  await third.getByLabel("Summary").waitFor();
  assert.equal(await third.getByText("Of the first tab").count(), 0);
  assert.ok(!(await third.evaluate(() => JSON.stringify(localStorage))).includes("Of the first tab"));
  await page.context().close();
}

async function followsUpATicketOfARetiredCategory(browser, { anna, marta, ilya }) {
  const { category } = await ilya.mutate("createCategory", { nameEn: "Fax", nameRu: "Факс", slug: "fax" }, "category { id }");
  const { ticket } = await anna.mutate("createTicket", { categoryId: category.id, summary: "No fax", description: "At all." }, "ticket { id number }");
  await ilya.mutate("retireCategory", { id: category.id });
  const page = await visit(browser, { path: `tickets/${ticket.number}` });
  await field(page).fill("The new one neither.");
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  await page.getByRole("link", { name: "Open a follow-up", exact: true }).click();
  await page.getByText("This category does not exist").waitFor();
  await page.getByRole("link", { name: "Technical support" }).click();
  await page.getByText(`This request continues ${ticket.number}.`).waitFor();
  await page.getByLabel("Summary").fill("Still no fax");
  assert.equal(await page.getByLabel("Description").inputValue(), "The new one neither.");
  await page.getByRole("button", { name: "Send the request" }).click();
  await page.getByRole("heading", { name: "Still no fax" }).waitFor();
  await page.context().close();
}

async function takesTheTextAlongFromAClosedTicket(browser, { anna, marta, ilya }) {
  const { ticket, page } = await openTicket(browser, anna, "Closed while it is answered");
  await page.locator("input[type=file]").setInputFiles([{ name: "log.txt", mimeType: "text/plain", buffer: Buffer.from("log") }]);
  await page.getByRole("button", { name: "Remove log.txt" }).waitFor();
  await field(page).fill("Written too late");
  // A comment that is on its way is rejected.
  await page.context().setOffline(true);
  await post(page).click();
  await letter(page, "Written too late").getByText("when the connection is back").waitFor();
  await field(page).fill("Not even sent");
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  await page.context().setOffline(false);
  await letter(page, "Written too late").getByText("Open a follow-up instead.").waitFor();
  await page.getByRole("link", { name: "Open a follow-up with my text" }).click();
  const description = page.getByLabel("Description");
  await description.waitFor();
  assert.equal(page.url(), `${origin}new/technical-support?follows=${ticket.number}`);
  assert.equal(await description.inputValue(), "Written too late\n\nNot even sent");
  await page.getByRole("button", { name: "Remove log.txt" }).waitFor();

  // What is there already stays, whichever link leads there, and nothing is left behind.
  await page.goBack();
  await field(page).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Open a follow-up", exact: true }).click();
  await description.waitFor();
  assert.equal(await description.inputValue(), "Written too late\n\nNot even sent");
  await page.getByLabel("Summary").fill("It goes on");
  await page.getByRole("button", { name: "Send the request" }).click();
  await page.getByRole("heading", { name: "It goes on" }).waitFor();
  await page.getByRole("link", { name: "log.txt" }).waitFor();

  // A merged ticket leads to the other one, where something is written too.
  const into = await anna.openTicket("Goes on here");
  const merged = await anna.openTicket("Asked twice");
  await page.goto(`${origin}tickets/${into.number}`);
  await field(page).fill("Begun here");
  await page.goto(`${origin}tickets/${merged.number}`);
  await field(page).fill("Begun there");
  await ilya.mutate("mergeTicket", { ticketId: merged.id, intoId: into.id });
  await page.getByRole("link", { name: `Take my text along to ${into.number}` }).waitFor();
  assert.equal(await page.getByRole("link", { name: "Open a follow-up" }).count(), 0);
  await page.getByRole("link", { name: "Go there" }).click();
  await page.getByRole("heading", { name: "Goes on here" }).waitFor();
  assert.equal(await field(page).inputValue(), "Begun here\n\nBegun there");
  await page.context().close();
}

async function sendsOthersWhileTheServerFailsAtOne(browser, { anna }) {
  const { ticket, page } = await openTicket(browser, anna, "The server fails here");
  const other = await anna.openTicket("And not here");
  const failed = { data: null, errors: [{ message: "failed", extensions: { code: "INTERNAL" } }] };
  await page.route("**/graphql", (route) => (mentions(route.request(), "It fails at this") ? route.fulfill({ json: failed }) : route.fallback()));
  await write(page, "It fails at this");
  await letter(page, "It fails at this").getByText("Something failed on our side.").waitFor();
  await write(page, "After it");
  await page.goto(`${origin}tickets/${other.number}`);
  await write(page, "It goes through");
  await until(async () => (await anna.bodies(other)).includes("It goes through"));
  assert.deepEqual(await anna.bodies(ticket), []);
  await page.unroute("**/graphql");
  await until(async () => (await anna.bodies(ticket)).length === 2);
  assert.deepEqual(await anna.bodies(ticket), ["It fails at this", "After it"]);
  await page.context().close();
}

async function signsInWhenNothingMoreCanBeStored(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "No room at all");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("input[type=password]").waitFor();
  await page.evaluate(() => {
    Storage.prototype.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  });
  await signIn(page, CUSTOMER);
  await page.getByRole("link", { name: "My tickets" }).first().click();
  await page.getByText("No room at all").waitFor();
  await page.context().close();
}

async function saysWhyATicketIsNotShown(browser, { anna }) {
  const ticket = await anna.openTicket("Shown later");
  const page = await visit(browser);
  const failed = { data: null, errors: [{ message: "busy", extensions: { code: "UNAVAILABLE" } }] };
  await page.route("**/graphql", (route) => (mentions(route.request(), "query Ticket(") ? route.fulfill({ json: failed }) : route.fallback()));
  await page.goto(`${origin}tickets/${ticket.number}`);
  await page.getByRole("alert").getByText("The service is overloaded.").waitFor();
  await page.unroute("**/graphql");
  await page.getByRole("heading", { name: "Shown later" }).waitFor();
  await page.context().close();
}

async function offersASecondFactorToEachPerson(browser) {
  const page = await visit(browser);
  const offer = page.getByRole("heading", { name: "Protect your account" });
  await offer.waitFor();
  await page.getByRole("button", { name: "Not now" }).click();
  await offer.waitFor({ state: "detached" });
  await page.reload();
  await page.getByRole("heading", { name: "How can we help?" }).waitFor();
  assert.equal(await offer.count(), 0);
  await page.getByRole("button", { name: "Sign out" }).click();
  await signIn(page, OTHER_CUSTOMER);
  await offer.waitFor();
  await page.context().close();
}

async function cutsNoTextThatIsTooLong(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "A long comment");
  await field(page).focus();
  await page.keyboard.insertText("x".repeat(65_540));
  await page.getByText("The text is 4 characters too long.").waitFor();
  assert.equal((await field(page).inputValue()).length, 65_540);
  assert.ok(await post(page).isDisabled());
  for (let n = 0; n < 4; n++) await page.keyboard.press("Backspace");
  await until(async () => post(page).isEnabled());

  await page.goto(`${origin}new/technical-support`);
  await page.getByLabel("Summary").focus();
  await page.keyboard.insertText("s".repeat(256));
  await page.getByText("The text is 1 character too long.").waitFor();
  assert.equal((await page.getByLabel("Summary").inputValue()).length, 256);
  assert.ok(await page.getByRole("button", { name: "Send the request" }).isDisabled());
  await page.context().close();
}

async function keepsTheFieldThatHasTheCursor(browser, { anna, marta }) {
  const { ticket, page } = await openTicket(browser, anna, "Closed under the cursor");
  await field(page).focus();
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  await page.getByText("This ticket is closed and accepts no comments.").waitFor();
  await painted(page);
  await page.keyboard.type("Too late");
  assert.equal(await field(page).inputValue(), "Too late");
  await page.getByRole("link", { name: "Open a follow-up with my text" }).click();
  await page.getByLabel("Description").waitFor();
  assert.equal(await page.getByLabel("Description").inputValue(), "Too late");
  await page.context().close();
}

async function survivesChangesOfTheTicket(browser, { anna, marta }) {
  const { ticket, page } = await openTicket(browser, anna, "Closed meanwhile");
  await field(page).fill("Not yet posted");
  await marta.mutate("updateTicket", { ticketId: ticket.id, status: "CLOSED" });
  await page.getByText("This ticket is closed and accepts no comments.").waitFor();
  assert.equal(await field(page).inputValue(), "Not yet posted");
  assert.ok(await post(page).isDisabled());

  // A deliberate sign-out asks what becomes of it.
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Keep and sign out" }).click();
  await signIn(page, CUSTOMER);
  await page.goto(`${origin}tickets/${ticket.number}`);
  assert.equal(await field(page).inputValue(), "Not yet posted");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Discard and sign out" }).click();
  await page.locator("input[type=password]").waitFor();
  assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes("Not yet posted"));
  await page.context().close();
}

async function sendsNoFileThatIsTooLarge(browser, { anna }) {
  const { page } = await openTicket(browser, anna, "A film");
  let sent = 0;
  page.on("request", (request) => (sent += Number((request.headers()["content-type"] ?? "").startsWith("multipart"))));
  await page.locator("input[type=file]").setInputFiles([{ name: "film.mp4", mimeType: "video/mp4", buffer: Buffer.alloc(26_214_401) }]);
  await page.getByText("film.mp4 was not uploaded. A file can have 26.2 MB at most.").waitFor();
  await page.getByRole("button", { name: "Remove film.mp4" }).click();
  await page.getByText("film.mp4").waitFor({ state: "detached" });
  assert.equal(sent, 0);
  await page.context().close();
}

main("portal-drafts", async (browser) => {
  const people = { anna: await Person.signIn(CUSTOMER), jonas: await Person.signIn(OTHER_CUSTOMER), marta: await Person.signIn(AGENT), ilya: await Person.signIn(ADMIN) };
  const only = process.env.ONLY;
  for (const check of [keepsThePageWhileNothingIsStored, waitsInOrder, survivesTheEndOfASession, postsNothingForAnotherPerson,
    showsItsPageWhenAnotherPersonSignsIn, leavesNothingToTheNextPerson, isOneDraftInTwoTabs, endsAnEditInAllTabs, keepsAnEditOfAnErasedCommentReadable,
    keepsATextReadableWhoseTicketIsLost, sendsWhatWasAddedToAMessageOnItsWay, looksForOldMessages, asksWhenOthersHaveCommented, losesOnlyTheExpiredFile,
    givesUpAFileOnADeadLine, sendsNothingWithoutAFileThatFailed, uploadsManyFilesInTheirOrder, keepsTheFocusAtWhatIsChanged, keepsTheFocusWhereSomethingEnds, actsOnceOnADoubleClick,
    leavesATextToTheField, sendsNoFileThatIsTooLarge,
    showsARejectedRequestWithoutItsForm, saysThatARequestWasOpened, followsUpATicketOfARetiredCategory, takesTheTextAlongFromAClosedTicket, offersASecondFactorToEachPerson,
    sendsOthersWhileTheServerFailsAtOne, signsInWhenNothingMoreCanBeStored, saysWhyATicketIsNotShown,
    cutsNoTextThatIsTooLong, keepsTheFieldThatHasTheCursor, survivesChangesOfTheTicket]) {
    if (only && check.name !== only) continue;
    console.log(check.name);
    await check(browser, people);
  }
});
