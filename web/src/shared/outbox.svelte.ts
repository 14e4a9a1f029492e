// Messages on their way to the server. They are stored in this browser until the server has
// acknowledged them, and sent one after another in the order in which they were written.
import type { ResultOf } from "gql.tada";
import { ApiError, asApiError, request } from "./api/client";
import type { Scalar } from "./api/document";
import { endPauses, pause } from "./api/pause";
import { loadItem, namesBelow, newKey, saveItem, type Draft } from "./drafts";
import type { UserError } from "./errors";
import { ADD_COMMENT, CREATE_TICKET, OWN_COMMENTS, OWN_TICKETS } from "./outbox-documents";
import { guardPage } from "./upgrade.svelte";

/** A message that its author has sent. */
export interface Letter extends Draft {
  /** The name under which it is stored. Names sort in the order in which letters were written. */
  name: string;
  /** The place that it was written in, as in the name of its draft. */
  place: string;
  /** The address of that place. */
  path: string;
  /** The comment that it becomes. */
  comment: NewComment | null;
  /** The ticket that it becomes. `customerId` is the customer for whom staff open it. */
  ticket: { categoryId: string; followUpToId: string | null; customerId?: string } | null;
  /** When the first attempt was made, in milliseconds since 1970, or null before it. */
  sentAt: number | null;
  /** Why it was rejected, or null. */
  failure: { code: UserError["code"] | ApiError["code"]; isUserError: boolean } | null;
  /** What others have said since `seenUpTo`, if that is why it was not posted. */
  meanwhile: Meanwhile[];
  /** The names of files that had expired and are no longer part of it. */
  lost: string[];
}

/** A comment that is sent. */
interface NewComment {
  ticketId: string;
  number: string;
  /** The last event or comment that its author had seen. */
  seenUpTo: string | null;
  /** `PUBLIC` if it is left out. */
  visibility?: Scalar<"CommentVisibility">;
  /** The status that is set with it. */
  status?: Scalar<"TicketStatus">;
}

type Meanwhile = ResultOf<typeof ADD_COMMENT>["addComment"]["answeredMeanwhile"][number];
/**
 * What a letter has become: the id of a comment, or the number of a ticket. `wasShown` tells that a page
 * has shown that, `mark` which letters are its twins.
 */
type Posted = { letter: Letter; id: string; wasShown: boolean; mark: string };
/** A request that has become a ticket. `key` is that of the draft that it was. */
type Opened = { key: string; place: string; summary: string; number: string };

const PREFIX = "ticketwire:outbox:";
/** The lifetime of an idempotency key on the server, in milliseconds: 24 hours, less one for slow clocks. */
const KEY_LIFETIME_MS = 23 * 3_600_000;
/** The difference between the clocks of the server and of the browser that the search for a message allows. */
const CLOCKS_MS = 300_000;

/** The letters of the account, in their order. */
export const outbox = $state({
  letters: [] as Letter[],
  /** The places whose letters stand beside the field that they were written in. */
  shown: [] as string[],
  /** The name of the letter that is being sent. */
  sending: "",
  /** Why the last attempt failed, if the next one may succeed. */
  obstacle: null as ApiError | null,
  /** Letters that were posted while this page was open. */
  posted: [] as Posted[],
  /** Requests that were opened while this page was open, by any tab, and whose author has not been told. */
  opened: [] as Opened[],
});

/** The letters of a browser that stores nothing. */
const unstored = new Map<string, Letter>();
/** Lets the page go that letters would be lost with, or null if there are none. */
let release: (() => void) | null = null;
let prefix = "";
/** Tells the account's other tabs which requests were opened. It stores nothing. */
let channel: BroadcastChannel | null = null;
/** The prefix of the letters that are being sent, or empty. */
let draining = "";

/** Returns the names of an account's letters. */
export function listLetters(accountId: string): string[] {
  return namesBelow(`${PREFIX}${accountId}:`);
}

/** Begins to send an account's letters, those of earlier pages first. Returns a function that stops. */
export function open(accountId: string): () => void {
  prefix = `${PREFIX}${accountId}:`;
  outbox.posted = [];
  channel = new BroadcastChannel(prefix);
  channel.onmessage = ({ data }: MessageEvent<Opened>) => note(data);
  const follow = ({ key }: StorageEvent): void => {
    if (key === null || key.startsWith(prefix)) refresh();
  };
  addEventListener("storage", follow);
  refresh();
  return () => {
    removeEventListener("storage", follow);
    channel?.close();
    channel = null;
    prefix = "";
    outbox.letters = [];
    outbox.opened = [];
  };
}

/** Sends a draft. */
export function send(draft: Draft, target: Pick<Letter, "place" | "path" | "comment" | "ticket">): void {
  outbox.letters = read();
  const last = outbox.letters.at(-1)?.name.slice(prefix.length).split(":")[0] ?? "";
  const time = Math.max(Date.now(), parseInt(last || "0", 36) + 1).toString(36).padStart(9, "0");
  const letter: Letter = { ...draft, ...target, name: `${prefix}${time}:${draft.key}`, sentAt: null, failure: null, meanwhile: [], lost: [] };
  // Another tab may have sent the same draft in this moment.
  if (!outbox.letters.some((other) => markOf(other) === markOf(letter))) store(letter);
}

/** Sends a rejected letter again, with changes. */
export function retry(letter: Letter, changes: Partial<Letter> = {}): void {
  store({ ...letter, failure: null, meanwhile: [], lost: [], ...changes });
}

/**
 * Sends a letter whose author has read what others had said meanwhile. What they have said since
 * holds it back again.
 */
export function sendSeen(letter: Letter): void {
  const last = letter.meanwhile.at(-1);
  retry(letter, letter.comment && last ? { comment: { ...letter.comment, seenUpTo: last.id } } : {});
}

/** Sends a letter although one with the same key, and another text, has arrived. */
export function sendAsNew(letter: Letter): void {
  retry(letter, { key: newKey(), sentAt: null });
}

/** Returns the letters of a place of which none has arrived. Their author can still take them back. */
export function unsentOf(place: string): Letter[] {
  return outbox.letters.filter((letter) => letter.place === place && (letter.failure || !letter.sentAt) && letter.name !== outbox.sending);
}

/** Takes a letter out of the outbox, for its author to change or discard it. */
export function takeBack(letter: Letter): void {
  remove(letter);
  refresh();
}

/** Notes that a page shows what a letter has become. Its text is no longer needed, and may be erased there. */
export function noteShown(posted: Posted): void {
  posted.letter = { ...posted.letter, body: "", summary: "", files: [] };
  posted.wasShown = true;
}

/** Forgets a request that was opened: its author has been told. */
export function acknowledge(opened: Opened): void {
  outbox.opened = outbox.opened.filter(({ key }) => key !== opened.key);
}

function store(letter: Letter): void {
  if (!saveItem(letter.name, letter)) unstored.set(letter.name, letter);
  endPauses();
  refresh();
}

/** Removes a letter and its twins. */
function remove(letter: Letter): void {
  const { name } = letter;
  saveItem(name, null);
  for (const other of namesBelow(PREFIX).filter((other) => origin(other) === origin(name))) {
    const twin = loadItem<Letter>(other);
    if (twin && markOf(twin) === markOf(letter)) saveItem(other, null);
  }
  unstored.delete(name);
  keepUnstored();
}

/** Keeps the page while letters would be lost with it, unless another person has signed in. */
function keepUnstored(): void {
  const isNeeded = [...unstored.keys()].some((name) => name.startsWith(prefix));
  if (isNeeded) release ??= guardPage();
  else {
    release?.();
    release = null;
  }
}

/** Returns the key of the draft that a letter with this name was. */
function origin(name: string): string {
  return name.slice(name.lastIndexOf(":") + 1);
}

/**
 * Returns what twins share: letters of one draft that say the same, as of two tabs that sent it at once.
 * What was changed after another tab had begun to send it is no twin. A hash, as the text may be erased.
 */
function markOf({ name, summary, body, files, comment, ticket }: Letter): string {
  const content = JSON.stringify([summary, body, files.map(({ id }) => id), comment?.status, ticket]);
  let hash = 0;
  for (let index = 0; index < content.length; index += 1) hash = Math.imul(hash ^ content.charCodeAt(index), 16_777_619);
  return [origin(name), content.length, hash].join();
}

function read(): Letter[] {
  const stored = namesBelow(prefix).map((name) => loadItem<Letter>(name));
  const others = [...unstored.values()].filter(({ name }) => name.startsWith(prefix));
  const letters = new Map<string, Letter>();
  for (const letter of [...stored.filter((letter) => letter !== null), ...others]) {
    const mark = markOf(letter);
    // The twin of a letter that was posted while another tab stored it.
    if (outbox.posted.some((posted) => posted.mark === mark)) remove(letter);
    else if (!letters.has(mark)) letters.set(mark, letter);
  }
  return [...letters.values()];
}

function refresh(): void {
  outbox.letters = prefix ? read() : [];
  keepUnstored();
  void drain();
}

/** Returns the first letter that can be sent: a rejected one holds back those after it at its place. */
function next(waiting: ReadonlySet<string> = new Set()): Letter | undefined {
  const held = new Set(waiting);
  return outbox.letters.find(({ place, failure }) => {
    if (failure) held.add(place);
    return !held.has(place);
  });
}

async function drain(): Promise<void> {
  if (draining === prefix || !prefix || !next()) return;
  const own = prefix;
  draining = own;
  try {
    await exclusively(own, async () => {
      let attempts = 0;
      /** The places of letters at which the server has failed. It may not fail at others. */
      const waiting = new Set<string>();
      while (prefix === own) {
        outbox.letters = read();
        const letter = next(waiting);
        if (!letter) {
          if (waiting.size === 0) break;
          waiting.clear();
          await pause(attempts++);
          continue;
        }
        outbox.sending = letter.name;
        const obstacle = await deliver(letter);
        if (prefix !== own) break;
        if (obstacle || waiting.size === 0) outbox.obstacle = obstacle;
        outbox.sending = "";
        // The page of the next session continues.
        if (obstacle && !obstacle.isTransient) break;
        if (obstacle && ["INTERNAL", "TIMEOUT"].includes(obstacle.code)) waiting.add(letter.place);
        else if (obstacle) await pause(attempts++, obstacle.retryAfterSeconds);
        else if (waiting.size === 0) attempts = 0;
      }
    });
  } finally {
    if (draining === own) {
      outbox.sending = "";
      draining = "";
    }
  }
}

/** Lets one tab at a time send. Without locks the keys still keep a message from being posted twice. */
async function exclusively(name: string, work: () => Promise<void>): Promise<void> {
  if (navigator.locks) await navigator.locks.request(name, work);
  else await work();
}

/** Sends a letter. Returns why it must wait, or null if it was posted or rejected. */
async function deliver(letter: Letter): Promise<ApiError | null> {
  try {
    const earlier = await find(letter);
    // Another person may have signed in meanwhile.
    if (!prefix || !letter.name.startsWith(prefix)) return new ApiError("OTHER_ACCOUNT");
    if (earlier) return finish(letter, earlier);
    const isOld = letter.sentAt !== null && Date.now() - letter.sentAt >= KEY_LIFETIME_MS;
    if (isOld) letter = { ...letter, key: newKey() };
    if (isOld || letter.sentAt === null) letter = { ...letter, sentAt: Date.now() };
    update(letter);
    const { id, errors, meanwhile } = await (letter.comment ? addComment(letter) : createTicket(letter));
    return errors[0] ? reject(letter, errors, meanwhile) : finish(letter, id);
  } catch (error) {
    const failure = asApiError(error);
    const isOfSession = ["UNAUTHENTICATED", "OTHER_ACCOUNT", "SECOND_FACTOR_REQUIRED"].includes(failure.code);
    if (failure.isTransient || isOfSession) return failure;
    update({ ...letter, failure: { code: failure.code, isUserError: false } });
    return null;
  }
}

/** Stores a letter again, unless its author has taken it back. */
function update(letter: Letter): void {
  if (unstored.has(letter.name)) unstored.set(letter.name, letter);
  else if (loadItem(letter.name)) saveItem(letter.name, letter);
  const index = outbox.letters.findIndex(({ name }) => name === letter.name);
  if (index >= 0) outbox.letters[index] = letter;
}

function finish(letter: Letter, id: string): null {
  outbox.posted.push({ letter, id, wasShown: false, mark: markOf(letter) });
  announce(letter, id);
  remove(letter);
  outbox.letters = outbox.letters.filter(({ name }) => name !== letter.name);
  return null;
}

/** Says in all tabs that a request was opened, unless another person has signed in meanwhile. */
function announce({ name, place, summary, ticket }: Letter, number: string): void {
  if (!ticket || !prefix || !name.startsWith(prefix)) return;
  const opened: Opened = { key: origin(name), place, summary, number };
  note(opened);
  channel?.postMessage(opened);
}

/** Notes a request that was opened, once: two tabs may have sent it. */
function note(opened: Opened): void {
  if (!outbox.opened.some(({ key }) => key === opened.key)) outbox.opened.push(opened);
}

function reject(letter: Letter, errors: readonly UserError[], meanwhile: Meanwhile[]): null {
  const expired = errors.filter(({ code, field }) => code === "EXPIRED" && field?.[0] === "uploadedFileIds");
  const isLost = (_: unknown, index: number): boolean => expired.some(({ field }) => field?.[1] === String(index));
  const lost = letter.files.filter(isLost).map(({ name }) => name);
  const files = letter.files.filter((file, index) => !isLost(file, index));
  update({ ...letter, files, lost, meanwhile, failure: { code: errors[0]!.code, isUserError: true } });
  return null;
}

type Outcome = { id: string; errors: readonly UserError[]; meanwhile: Meanwhile[] };

async function addComment({ comment, body, files, key }: Letter): Promise<Outcome> {
  const { number: _, ...target } = comment!;
  const uploadedFileIds = files.map(({ id }) => id);
  const { addComment: answer } = await request(ADD_COMMENT, {
    input: { ...target, body, uploadedFileIds, idempotencyKey: key },
  });
  return { id: answer.comment?.id ?? "", errors: answer.userErrors, meanwhile: answer.answeredMeanwhile };
}

async function createTicket({ ticket, summary, body, files, key }: Letter): Promise<Outcome> {
  const uploadedFileIds = files.map(({ id }) => id);
  const { createTicket: answer } = await request(CREATE_TICKET, {
    input: { ...ticket!, summary, description: body, uploadedFileIds, idempotencyKey: key },
  });
  return { id: answer.ticket?.number ?? "", errors: answer.userErrors, meanwhile: [] };
}

/** Looks for a message that may have been posted by an attempt whose key is too old to tell. */
async function find(letter: Letter): Promise<string | null> {
  const { sentAt, comment, body, summary } = letter;
  if (sentAt === null || Date.now() - sentAt < KEY_LIFETIME_MS) return null;
  const isSince = (time: string): boolean => Date.parse(time) >= sentAt - CLOCKS_MS;
  if (comment) {
    const { ticket, viewer } = await request(OWN_COMMENTS, { number: comment.number });
    const comments = (ticket?.timeline.nodes ?? []).filter((event) => event.__typename === "CommentAdded");
    const own = comments.filter(({ actor, occurredAt }) => actor?.id === viewer?.id && isSince(occurredAt));
    return own.find((event) => event.comment.body === normal(body))?.comment.id ?? null;
  }
  const { tickets } = await request(OWN_TICKETS, { reporter: letter.ticket?.customerId ?? accountOf(letter) });
  return tickets.nodes.find((ticket) => ticket.summary === summary.trim() && ticket.description === normal(body) && isSince(ticket.createdAt))?.number ?? null;
}

function accountOf({ name }: Letter): string {
  return name.slice(PREFIX.length).split(":")[0] ?? "";
}

/** Returns a text as the server stores it. */
function normal(text: string): string {
  return text.replace(/\r\n?/g, "\n").trimEnd();
}
