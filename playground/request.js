// GraphQL over HTTP.

/** The URL of the API. */
export const endpoint = new URL("graphql", document.baseURI);

/** Sends an operation, with a session's token if there is one. */
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
    throw new Error("The server is not responding. It may or may not have received the request.");
  }
  try {
    return await response.json();
  } catch {
    throw new Error(`The server responded with status ${response.status} and without JSON.`);
  }
}

/** Whether errors say that a session is needed. */
export const isUnauthenticated = (errors) =>
  Array.isArray(errors) && errors.some((error) => error.extensions?.code === "UNAUTHENTICATED");
