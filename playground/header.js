// The header: the live connection, the ticket of the tour, the demo accounts, the session.

import { button, element } from "./dom.js";
import * as link from "./link.js";
import * as notices from "./notices.js";
import * as session from "./session.js";
import * as tour from "./tour.js";

const LINK = {
  connecting: "Connecting…",
  open: "Live",
  lost: "Connection lost",
  closed: "Disconnected",
};

const place = document.getElementById("header");
let demo;
let mailboxUrl;

/** Shows the header. `setup.demo` has the demo accounts, and `setup.mailbox` the address of the
    mailbox page; either is null if the server has none. */
export function begin(setup) {
  demo = setup.demo;
  mailboxUrl = setup.mailbox;
  [session, tour, link].forEach((subject) => subject.onChange(draw));
  session.onChange(showExpiry);
  draw();
  showExpiry();
}

function draw() {
  const brand = element("strong", { className: "brand" }, "Ticketwire");
  const dot = element("span", { className: `link ${link.state()}`, id: "link" }, LINK[link.state()]);
  place.replaceChildren(brand, dot, ...ticket(), element("span", { className: "gap" }), ...mailbox(), ...accounts(), ...who());
}

function ticket() {
  const current = tour.ticket();
  if (!current) return [];
  const back = button("×", tour.forget, { className: "quiet", title: "Go back to the ticket of the demo data" });
  return [element("span", { className: "chip", id: "ticket" }, `Working on ${current.number}`, back)];
}

function mailbox() {
  if (!mailboxUrl) return [];
  const title = "The mails that this server would have sent";
  return [element("a", { id: "mailbox", href: mailboxUrl, target: "_blank", rel: "noopener", title }, "Mailbox ↗")];
}

function accounts() {
  if (!demo) return [];
  const current = session.account()?.email;
  const choice = ({ email, name, role }) =>
    button(`${name.split(" ")[0]} · ${role}`, () => switchTo(email), {
      className: email === current ? "account active" : "account",
      title: `Sign in as ${name}, ${email}`,
      ariaPressed: String(email === current),
    });
  return [element("span", { className: "accounts" }, "Demo accounts:", ...demo.accounts.map(choice))];
}

function who() {
  const current = session.account();
  if (!current) return [element("span", { id: "who" }, "Not signed in")];
  const text = `${current.name} · ${current.role.toLowerCase()}`;
  const out = button("Sign out", session.signOut, { id: "sign-out" });
  return [element("span", { id: "who", title: current.email }, text), out];
}

async function switchTo(email) {
  try {
    await session.signIn(email, demo.password);
  } catch (error) {
    notices.show("session", "bad", `Could not sign in: ${error.message}`);
  }
}

function showExpiry() {
  const expired = session.expired();
  if (!expired) return notices.hide("session");
  const isDemo = demo?.accounts.some(({ email }) => email === expired.email);
  const again = isDemo ? [[`Sign in again as ${expired.name}`, () => switchTo(expired.email)]] : [];
  const text = `The session of ${expired.name} has ended. Sign in again${isDemo ? "" : " with the tab SignIn"}: live streams resume then.`;
  notices.show("session", "bad", text, again);
}
