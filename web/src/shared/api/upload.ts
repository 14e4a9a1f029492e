import { ApiError, errorOf, guardRequest, headers, request } from "./client";
import { graphql, textOf, type Scalar } from "./document";
import type { ResultOf } from "gql.tada";

const UPLOAD = graphql(`
  mutation UploadFile($file: Upload!) {
    uploadFile(input: { file: $file }) {
      file { id name size contentType }
      userErrors { code }
    }
  }
`);

const LIMITS = graphql(`
  query FileLimits { fileLimits { maxFileBytes } }
`);

/** A file that the server keeps for a message that is still being written. */
export type Uploaded = NonNullable<ResultOf<typeof UPLOAD>["uploadFile"]["file"]>;

/** Why the server rejected a file. */
export class RejectedFile extends Error {
  constructor(readonly code: Scalar<"UserErrorCode">) {
    super(code);
  }
}

/**
 * After how long without progress the line is given up, in milliseconds. Browsers report what they have
 * handed over, and a slow line needs minutes for the last of it.
 */
const STALL_MS = 300_000;

let limit: Promise<number> | undefined;

/** Returns the largest size of a file, in bytes, or infinity if the server does not say. */
export function maxFileBytes(): Promise<number> {
  limit ??= request(LIMITS, {}).then(
    ({ fileLimits }) => fileLimits.maxFileBytes,
    () => {
      limit = undefined;
      return Infinity;
    },
  );
  return limit;
}

/** The browser cannot read the file. */
export class UnreadableFile extends Error {}

/**
 * Uploads a file. `onProgress` gets the part that is sent, 0 to 1. Throws `RejectedFile`, `UnreadableFile`,
 * an `ApiError`, or an `AbortError` after the signal. `fetch` reports no progress, so this doesn't use it.
 */
export function upload(file: File, onProgress: (part: number) => void, signal: AbortSignal): Promise<Uploaded> {
  guardRequest();
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", "/graphql");
    xhr.responseType = "json";
    for (const [name, value] of Object.entries(headers())) xhr.setRequestHeader(name, value);
    let stalled: ReturnType<typeof setTimeout>;
    const expectProgress = (): void => {
      clearTimeout(stalled);
      stalled = setTimeout(() => {
        reject(new ApiError("OFFLINE"));
        xhr.abort();
      }, STALL_MS);
    };
    expectProgress();
    xhr.upload.onprogress = (event) => {
      expectProgress();
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    xhr.onloadend = () => clearTimeout(stalled);
    xhr.onload = () => settle(xhr.response, resolve, reject);
    xhr.onerror = () => void explain(file).then(reject);
    xhr.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => xhr.abort());
    xhr.send(form(file));
  });
}

/** Why a file was not sent: it may have been moved or changed since it was chosen. */
async function explain(file: File): Promise<Error> {
  const isReadable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  return isReadable ? new ApiError("OFFLINE") : new UnreadableFile();
}

function form(file: File): FormData {
  const body = new FormData();
  body.append("operations", JSON.stringify({ query: textOf(UPLOAD), variables: { file: null } }));
  body.append("map", JSON.stringify({ "0": ["variables.file"] }));
  body.append("0", file);
  return body;
}

type Answer = { data?: ResultOf<typeof UPLOAD> } | null;

function settle(answer: Answer, resolve: (file: Uploaded) => void, reject: (error: Error) => void): void {
  const error = answer ? errorOf(answer) : new ApiError("OFFLINE");
  if (error) return reject(error);
  const { file, userErrors } = answer?.data?.uploadFile ?? { file: null, userErrors: [] };
  if (file) resolve(file);
  else reject(new RejectedFile(userErrors[0]?.code ?? "INVALID"));
}
