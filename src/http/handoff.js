// The page behind a handoff link. The token is in the fragment of the address (`#token=…`),
// which browsers send to no server, so that it appears in no log.

"use strict";

const REDEEM = `mutation($input: RedeemHandoffInput!) { redeemHandoff(input: $input) {
  session { token account { name email role } } challenge { token methods } userErrors { message } } }`;
const VERIFY = `mutation($input: VerifySecondFactorInput!) { verifySecondFactor(input: $input) {
  session { token account { name email role } } userErrors { code } } }`;
const SEND_CODE = `mutation($token: String!) { sendSecondFactorCode(input: { challengeToken: $token }) {
  userErrors { code } } }`;

const hasPortal = document.querySelector("[data-portal]") !== null;
/** The portal's session is in a cookie, which no script can read. */
const sessionTransport = hasPortal ? "COOKIE" : "BEARER";

const byId = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");

/** Shows one of the page's states and hides the others. */
function show(id) {
  for (const state of document.querySelectorAll("[data-state]")) state.hidden = state.id !== id;
  byId(id).focus();
}

/** Runs a mutation and returns its payload; rejects if it fails. */
async function mutate(query, variables) {
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json", "ticketwire-client": "handoff" },
    body: JSON.stringify({ query, variables }),
  });
  return Object.values((await response.json()).data)[0];
}

async function redeem() {
  const { session, challenge } = await mutate(REDEEM, { input: { token, sessionTransport } });
  if (challenge) return askForCode(challenge);
  if (!session) return show("invalid-link");
  continueWith(session);
}

function continueWith(session) {
  if (hasPortal) return location.replace("./");
  if (!document.querySelector("[data-playground]")) {
    byId("name").textContent = session.account.name;
    return show("signed-in");
  }
  // The playground reads its session from here. It belongs to this browser tab only.
  sessionStorage.setItem("ticketwire:session", JSON.stringify(session));
  location.replace("./playground");
}

/** Shows one of the messages of the form, or none. */
function showMessage(id) {
  for (const text of document.querySelectorAll("#challenge [data-message]")) text.hidden = text.id !== id;
}

/** Asks for a code of a kind that the challenge accepts. */
function askForCode(challenge) {
  const method = byId("method");
  for (const option of [...method.options]) {
    if (!challenge.methods.includes(option.value)) option.remove();
  }
  const update = () => (byId("send-code").hidden = method.value !== "EMAIL");
  method.addEventListener("change", update);
  byId("send-code").addEventListener("click", () => {
    mutate(SEND_CODE, { token: challenge.token }).then(() => showMessage("code-sent"), () => showMessage("failed"));
  });
  byId("challenge").addEventListener("submit", (event) => {
    event.preventDefault();
    showMessage(null);
    const input = {
      challengeToken: challenge.token, method: method.value, code: byId("code").value, sessionTransport,
    };
    mutate(VERIFY, { input }).then(({ session, userErrors }) => {
      if (session) return continueWith(session);
      if (userErrors[0].code === "EXPIRED") return show("invalid-link");
      showMessage("wrong-code");
      byId("code").focus();
    }, () => showMessage("failed"));
  });
  update();
  show("challenge");
  byId("code").focus();
}

// Keeps the token out of copied addresses and bookmarks.
history.replaceState(null, "", location.pathname);
if (token) {
  show("question");
  byId("sign-in").addEventListener("click", () => {
    byId("sign-in").disabled = true;
    byId("unreachable").hidden = true;
    redeem().catch(() => {
      byId("sign-in").disabled = false;
      byId("unreachable").hidden = false;
    });
  });
  byId("sign-in").focus();
} else show("invalid-link");
