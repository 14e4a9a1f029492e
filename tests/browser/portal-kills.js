// A person writes and sends, while tabs are closed, lines cut and servers killed at random. In the end
// everything that was written must have been posted, once, in order.

const { ask, assert, CUSTOMER, main, origin, Person, until, visit, words } = require("./portal-lib");

const [kills, seed] = words.map(Number);
const FAULTS = ["tab", "cut", "server"];
const MOMENTS = ["while typing", "at the click", "after the click"];

/** A generator of random numbers with a seed (mulberry32). */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
const random = generator(seed);
const pick = (list) => list[Math.floor(random() * list.length)];

/** What a person writes, and where. */
class Writer {
  constructor(page, ticket) {
    Object.assign(this, { page, ticket, isServerDown: false });
  }

  /** The field and the button of the page that is written on. */
  get field() {
    return this.page.getByLabel(this.isRequest ? "Description" : "Add a comment");
  }
  get button() {
    return this.page.getByRole("button", { name: this.isRequest ? "Send the request" : "Post comment" });
  }
  get path() {
    return this.isRequest ? "new/technical-support" : `tickets/${this.ticket.number}`;
  }

  async open(isRequest) {
    this.isRequest = isRequest;
    // The form may be about to give way to the ticket that it has opened.
    if (isRequest || new URL(this.page.url()).pathname !== `/${this.path}`) await this.load();
    else await this.field.waitFor();
  }

  /** Loads the page. Without one of its scripts, whose line was cut, it stays blank: a person loads it again. */
  async load() {
    // What the page before was loading is aborted.
    const predicate = (request) => request.resourceType() === "script" && !request.failure().errorText.includes("ERR_ABORTED");
    const cut = this.page.waitForEvent("requestfailed", { predicate, timeout: 0 });
    await this.page.goto(origin + this.path);
    const request = await Promise.race([this.field.waitFor(), cut]);
    if (!request) return;
    console.log(`loads the page again: ${request.url()} ${request.failure().errorText}`);
    await this.load();
  }

  /** Types a text key by key. Each key has been processed when this returns. */
  async type(text) {
    await this.field.focus();
    await this.page.keyboard.press("ControlOrMeta+End");
    for (const key of text) await this.page.keyboard.type(key);
  }

  async strike(fault) {
    if (fault === "cut") await ask("cut");
    if (fault === "server") {
      await ask("kill");
      this.isServerDown = true;
    }
    if (fault !== "tab") return;
    const context = this.page.context();
    await this.page.close();
    this.page = await context.newPage();
    await this.load();
  }

  async recover() {
    if (this.isServerDown) await ask("start");
    this.isServerDown = false;
  }
}

async function write(writer, text, fault, moment) {
  if (writer.isRequest) await writer.page.getByLabel("Summary").fill(text);
  const cut = moment === "while typing" ? Math.floor(random() * text.length) : text.length;
  await writer.type(text.slice(0, cut));
  if (moment === "while typing") {
    await writer.strike(fault);
    assert.equal(await writer.field.inputValue(), text.slice(0, cut), "no character is lost");
    await writer.type(text.slice(cut));
    await writer.button.click();
  } else if (moment === "at the click") {
    const [clicked] = await Promise.allSettled([writer.button.click(), writer.strike(fault)]);
    void clicked;
  } else {
    await writer.button.click();
    await writer.strike(fault);
  }
  // A person whose click went nowhere sees the text, and clicks again, unless the form gives way to the
  // ticket meanwhile.
  const shown = await writer.field.evaluateAll((fields) => fields.map(({ value }) => value));
  if (new URL(writer.page.url()).pathname === `/${writer.path}` && shown[0] === text) {
    await writer.button.click({ timeout: 5_000 }).catch(() => {});
  }
  await writer.recover();
}

main("portal-kills", async (browser) => {
  const anna = await Person.signIn(CUSTOMER);
  const ticket = await anna.openTicket("Kills");
  const writer = new Writer(await visit(browser, { path: `tickets/${ticket.number}` }), ticket);
  const [comments, requests] = [[], []];
  for (let kill = 0; kill < kills; kill += 1) {
    const [fault, moment, isRequest] = [pick(FAULTS), pick(MOMENTS), random() < 0.2];
    const text = `${kill} ${fault} ${moment} ${random().toString(36).slice(2)}`;
    await writer.open(isRequest);
    await write(writer, text, fault, moment);
    (isRequest ? requests : comments).push(text);
    const posted = async () => (isRequest ? await anna.tickets() : await anna.comments(ticket)).some(({ body, description }) => (body ?? description) === text);
    await until(posted, `posted: ${text}`);
    if ((kill + 1) % 25 === 0) console.log(`${kill + 1} kills`);
  }
  // All of what was sent is answered before the last look.
  await writer.open(false);
  await writer.page.getByText(comments.at(-1)).first().waitFor();
  await until(async () => writer.page.evaluate(() => !Object.keys(localStorage).some((name) => /^ticketwire:(outbox|draft)/.test(name))), "nothing is left to send");
  const all = [];
  for (let after = null, more = true; more; ) {
    const document = `query($n: String!, $after: String) { ticket(number: $n) { timeline(first: 100, after: $after) {
      nodes { ... on CommentAdded { comment { body } } } pageInfo { endCursor hasNextPage } } } }`;
    const { nodes, pageInfo } = (await anna.call(document, { n: ticket.number, after })).ticket.timeline;
    all.push(...nodes.filter(({ comment }) => comment).map(({ comment }) => comment.body));
    [after, more] = [pageInfo.endCursor, pageInfo.hasNextPage];
  }
  assert.deepEqual(all, comments, "each comment once, in order");
  const own = (await anna.tickets()).filter(({ summary }) => /^\d+ (tab|cut|server) /.test(summary)).map(({ summary }) => summary);
  assert.deepEqual(own.sort(), requests.sort(), "each request once");
  console.log(`${kills} kills with seed ${seed}: ${comments.length} comments and ${requests.length} requests, none lost, none twice`);
});
