// The page behind the link for setting a password. The token is in the fragment of the
// address (`#token=…`), which browsers send to no server, so that it appears in no log.

"use strict";

const RESET = `mutation($input: ResetPasswordInput!) { resetPassword(input: $input) {
  changed userErrors { field code message } } }`;

const byId = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");

/** Shows one of the page's states and hides the others. */
function show(id) {
  for (const state of document.querySelectorAll("[data-state]")) state.hidden = state.id !== id;
  byId(id).focus();
}

/** Shows an alert with a text, or with its own text if there is none. */
function showAlert(id, text) {
  byId(id).textContent = text ?? byId(id).dataset.text;
  byId(id).hidden = false;
}

async function reset() {
  const input = { token, password: byId("password").value, passwordAgain: byId("repetition").value };
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query: RESET, variables: { input } }),
  });
  const { data, errors } = await response.json();
  if (!data) return showAlert("failed", errors[0].message);
  const { changed, userErrors } = data.resetPassword;
  if (changed) return show("done");
  const [error] = userErrors;
  if (error.field.includes("token")) return show("invalid-link");
  if (error.code === "MISMATCH") {
    showAlert("mismatch");
    byId("repetition").focus();
  } else {
    // The server's advice is in English only.
    const isEnglish = document.documentElement.lang === "en";
    showAlert("weak", isEnglish ? error.message : null);
    byId("password").focus();
  }
}

// Keeps the token out of copied addresses and bookmarks.
history.replaceState(null, "", location.pathname);
if (token) {
  show("new-password");
  byId("password").focus();
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    for (const alert of document.querySelectorAll("#form [role=alert]")) alert.hidden = true;
    byId("set-password").disabled = true;
    reset()
      .catch(() => showAlert("unreachable"))
      .finally(() => {
        byId("set-password").disabled = false;
      });
  });
} else show("invalid-link");
