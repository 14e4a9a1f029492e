// The page of a link to set a new password. The token stands behind the `#`, which
// browsers send to no server and put into no log.

"use strict";

const RESET = `mutation($input: ResetPasswordInput!) { resetPassword(input: $input) {
  changed userErrors { field code message } } }`;

const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");

/** Shows one of the states that stand in the page. */
function show(id) {
  for (const state of document.querySelectorAll("[data-state]")) state.hidden = state.id !== id;
  at(id).focus();
}

/** Says what is wrong; `text` is the server's where it has one for this. */
function complain(id, text) {
  at(id).textContent = text ?? at(id).dataset.text;
  at(id).hidden = false;
}

async function reset() {
  const input = { token, password: at("password").value, passwordAgain: at("again").value };
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query: RESET, variables: { input } }),
  });
  const { data, errors } = await response.json();
  if (!data) return complain("limited", errors[0].message);
  const { changed, userErrors } = data.resetPassword;
  if (changed) return show("done");
  const [error] = userErrors;
  if (error.field.includes("token")) return show("over");
  // The server explains itself in English; other readers get the page's own words.
  const own = document.documentElement.lang === "en" ? error.message : null;
  const differ = error.code === "MISMATCH";
  complain(differ ? "mismatch" : "weak", differ ? null : own);
  at(differ ? "again" : "password").focus();
}

// It has been read: it shall not stay in the address that people copy or bookmark.
history.replaceState(null, "", location.pathname);
if (token) {
  show("ask");
  at("password").focus();
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    for (const complaint of document.querySelectorAll("#form [role=alert]")) complaint.hidden = true;
    at("go").disabled = true;
    reset()
      .catch(() => complain("failed", null))
      .finally(() => {
        at("go").disabled = false;
      });
  });
} else show("over");
