/** Requests to the service, and its refusals. */

const KEY = "rhocast-key";

/** The key of this session, empty if none was given; never kept beyond the tab. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

/** A refusal: what was found, what was expected, what to do. */
export class Refusal extends Error {
  /**
   * @param {{title?: string, status: number, code: string, detail: string, errors?: string[]}} problem RFC 9457.
   * @param {number} [retryAfter] Seconds after which to try again.
   */
  constructor(problem, retryAfter) {
    super(problem.detail);
    this.title = problem.title ?? "";
    this.status = problem.status;
    this.code = problem.code;
    this.lines = problem.errors?.length > 1 ? problem.errors : [];
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** An answer of the service with a good status. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key.get()) headers.set("Authorization", `Bearer ${key.get()}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({
      title: "No answer",
      status: 0,
      code: "ConnectionFailed",
      detail: `found that nothing answers at ${location.origin}; expected the service; try again once it is up`,
    });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const type = response.headers.get("Content-Type") ?? "";
  const wait = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const problem = type.includes("json")
    ? await response.json()
    : {
        title: response.statusText,
        status: response.status,
        code: "ServerError",
        detail: `found status ${response.status} without a reason, perhaps from a proxy; expected an answer of rhocast`,
      };
  return new Refusal(problem, Number.isFinite(wait) ? wait : undefined);
}

export const models = async () => (await (await request("/v1/models")).json()).models;

export const job = async (id, signal, wait = 0) =>
  (await request(`/v1/jobs/${encodeURIComponent(id)}?wait=${wait}`, { signal })).json();

export const cancel = async (id) => (await request(`/v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" })).json();

/**
 * The job of a new request.
 *
 * @param {FormData|object} body A form with a file, or what is sent as JSON.
 * @param {string} idempotencyKey Makes a repeated request give the first one's job.
 */
export async function submit(body, idempotencyKey) {
  const isForm = body instanceof FormData;
  const headers = { "Idempotency-Key": idempotencyKey, ...(isForm ? {} : { "Content-Type": "application/json" }) };
  const response = await request("/v1/predictions", {
    method: "POST",
    headers,
    body: isForm ? body : JSON.stringify(body),
  });
  return response.json();
}

/** A random idempotency key, also where the page was not served over TLS. */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
