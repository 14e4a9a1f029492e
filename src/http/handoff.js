// The page of a hand-over link. The token stands behind the `#`, which browsers send to
// no server and put into no log.

"use strict";

const REDEEM = `mutation($token: String!) { redeemHandoff(input: { token: $token }) {
  session { token account { name email role } } challenge { token methods } userErrors { message } } }`;
const VERIFY = `mutation($input: VerifySecondFactorInput!) { verifySecondFactor(input: $input) {
  session { token account { name email role } } userErrors { code } } }`;
const SEND = `mutation($token: String!) { sendSecondFactorCode(input: { challengeToken: $token }) {
  userErrors { code } } }`;

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");

/** Shows one of the texts that stand in the page. */
function show(id) {
  for (const text of document.querySelectorAll("[data-state]")) text.hidden = text.id !== id;
  at(id).focus();
}

async function ask(query, variables) {
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return Object.values((await response.json()).data)[0];
}

async function redeem() {
  const { session, challenge } = await ask(REDEEM, { token });
  if (challenge) return askForCode(challenge);
  if (!session) return show("refused");
  goOn(session);
}

function goOn(session) {
  if (!document.querySelector("[data-playground]")) {
    at("name").textContent = session.account.name;
    return show("done");
  }
  // The playground takes its session from here; it belongs to this tab.
  sessionStorage.setItem("ticketwire:session", JSON.stringify(session));
  location.replace("./");
}

/** Tells how a step went: one of the lines below the form. */
function tell(id) {
  for (const line of document.querySelectorAll("#challenge [data-line]")) line.hidden = line.id !== id;
}

/** The second step, with what the account has. */
function askForCode(challenge) {
  const method = at("method");
  for (const option of [...method.options]) {
    if (!challenge.methods.includes(option.value)) option.remove();
  }
  const choose = () => (at("send").hidden = method.value !== "EMAIL");
  method.addEventListener("change", choose);
  at("send").addEventListener("click", () => {
    ask(SEND, { token: challenge.token }).then(() => tell("sent"), () => tell("later"));
  });
  at("challenge").addEventListener("submit", (event) => {
    event.preventDefault();
    tell(null);
    const input = { challengeToken: challenge.token, method: method.value, code: at("code").value };
    ask(VERIFY, { input }).then(({ session, userErrors }) => {
      if (session) return goOn(session);
      if (userErrors[0].code === "EXPIRED") return show("refused");
      tell("wrong");
      at("code").focus();
    }, () => tell("later"));
  });
  choose();
  show("challenge");
  at("code").focus();
}

// It has been read: it shall not stay in the address that people copy or bookmark.
history.replaceState(null, "", location.pathname);
if (token) {
  show("ask");
  at("go").addEventListener("click", () => {
    at("go").disabled = true;
    at("failed").hidden = true;
    redeem().catch(() => {
      at("go").disabled = false;
      at("failed").hidden = false;
    });
  });
  at("go").focus();
} else show("refused");
