// The page of a hand-over link. The token stands behind the `#`, which browsers send to
// no server and put into no log.

"use strict";

const REDEEM = `mutation($token: String!) { redeemHandoff(input: { token: $token }) {
  session { token account { name email role } } challenge { token } userErrors { message } } }`;

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");

/** Shows one of the texts that stand in the page. */
function show(id) {
  for (const text of document.querySelectorAll("[data-state]")) text.hidden = text.id !== id;
  at(id).focus();
}

async function redeem() {
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query: REDEEM, variables: { token } }),
  });
  const payload = (await response.json()).data.redeemHandoff;
  if (payload.challenge) return show("challenge");
  if (!payload.session) return show("refused");
  if (!document.querySelector("[data-playground]")) {
    at("name").textContent = payload.session.account.name;
    return show("done");
  }
  // The playground takes its session from here; it belongs to this tab.
  sessionStorage.setItem("ticketwire:session", JSON.stringify(payload.session));
  location.replace("./");
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
