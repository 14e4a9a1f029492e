// The line at the top: who is signed in, the demo accounts, the ticket of the story.

import { button, element } from "./dom.js";
import * as link from "./link.js";
import * as notices from "./notices.js";
import * as session from "./session.js";
import * as tour from "./tour.js";

const LINK = {
  connecting: "Connecting …",
  open: "Live",
  lost: "Connection lost",
  closed: "Disconnected",
};

const place = document.getElementById("header");
let demo;
let mails;

/** Shows the header; `accounts` are offered, and the `mailbox` shown, where the server runs
    the demo. */
export function begin(accounts, mailbox) {
  demo = accounts;
  mails = mailbox;
  [session, tour, link].forEach((subject) => subject.onChange(draw));
  session.onChange(tellOfExpiry);
  draw();
  tellOfExpiry();
}

function draw() {
  const brand = element("strong", { className: "brand" }, "Ticketwire");
  const dot = element("span", { className: `link ${link.state()}`, id: "link" }, LINK[link.state()]);
  place.replaceChildren(brand, dot, ...ticket(), element("span", { className: "gap" }), ...mailbox(), ...accounts(), ...who());
}

function ticket() {
  const present = tour.ticket();
  if (!present) return [];
  const back = button("×", tour.forget, { className: "quiet", title: "Work on the demo data's ticket again" });
  return [element("span", { className: "chip", id: "ticket" }, `Working on ${present.number}`, back)];
}

function mailbox() {
  if (!mails) return [];
  const title = "The mails that people would have been sent";
  return [element("a", { id: "mailbox", href: mails, target: "_blank", rel: "noopener", title }, "Mailbox ↗")];
}

function accounts() {
  if (!demo) return [];
  const present = session.account()?.email;
  const choice = ({ email, name, role }) =>
    button(`${name.split(" ")[0]} · ${role}`, () => switchTo(email), {
      className: email === present ? "account active" : "account",
      title: `Sign in as ${name}, ${email}`,
      ariaPressed: String(email === present),
    });
  return [element("span", { className: "accounts" }, "Demo accounts:", ...demo.accounts.map(choice))];
}

function who() {
  const present = session.account();
  if (!present) return [element("span", { id: "who" }, "Not signed in")];
  const text = `${present.name} · ${present.role.toLowerCase()}`;
  const out = button("Sign out", session.signOut, { id: "sign-out" });
  return [element("span", { id: "who", title: present.email }, text), out];
}

async function switchTo(email) {
  try {
    await session.signIn(email, demo.password);
  } catch (error) {
    notices.show("session", "bad", `Signing in failed: ${error.message}`);
  }
}

function tellOfExpiry() {
  const gone = session.expired();
  if (!gone) return notices.hide("session");
  const isDemo = demo?.accounts.some(({ email }) => email === gone.email);
  const again = isDemo ? [[`Sign in again as ${gone.name}`, () => switchTo(gone.email)]] : [];
  const text = `The session of ${gone.name} has ended. Sign in again${isDemo ? "" : " with the tab SignIn"}; live streams wait for it.`;
  notices.show("session", "bad", text, again);
}
