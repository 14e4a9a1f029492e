// GraphQL over HTTP.

/** Where the API is, seen from the page. */
export const endpoint = new URL("graphql", document.baseURI);

/** Sends an operation, with a session's token if one is given. */
export async function request(operation, token) {
  const headers = {
    accept: "application/graphql-response+json, application/json;q=0.9",
    "content-type": "application/json",
  };
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify(operation) });
  } catch {
    throw new Error("The server does not answer. The request may or may not have reached it.");
  }
  try {
    return await response.json();
  } catch {
    throw new Error(`The server answered ${response.status} and no JSON.`);
  }
}

/** Whether errors say that a session is needed. */
export const unauthenticated = (errors) =>
  Array.isArray(errors) && errors.some((error) => error.extensions?.code === "UNAUTHENTICATED");
