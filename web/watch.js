/** A job, until it has ended. */

import { job as fetchJob, request } from "./api.js";

const POLL_SECONDS = 2;
const FINAL = ["succeeded", "failed", "cancelled", "expired"];

export const isFinal = (job) => FINAL.includes(job.status);

/**
 * Tells every state of a job until it has ended: by server-sent events where the service has them, else by asking.
 *
 * @param {string} id Its id.
 * @param {(job: object) => void} tell Called with the job at each change.
 * @param {AbortSignal} signal Ends the watch.
 * @throws {Refusal} If there is no such job, or the service is gone.
 */
export async function watch(id, tell, signal) {
  let job = await fetchJob(id, signal);
  tell(job);
  if (isFinal(job)) return;
  for await (const told of events(id, signal)) {
    job = isFinal(told) ? await fetchJob(id, signal) : told; // an event has no result
    tell(job);
    if (isFinal(job)) return;
  }
  while (!isFinal(job)) {
    job = await fetchJob(id, signal, POLL_SECONDS);
    tell(job);
  }
}

/** The job as each event that the service sends of it says; none where it sends no events. */
async function* events(id, signal) {
  // Not EventSource, for it cannot send a key.
  let response;
  try {
    response = await request(`/v1/jobs/${encodeURIComponent(id)}/events`, {
      headers: { Accept: "text/event-stream" },
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return;
  }
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value.replaceAll("\r", "");
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const data = /^data: ?(.*)/m.exec(block)?.[1];
        if (data) yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (signal.aborted) throw error; // else the stream broke, and asking goes on
  } finally {
    reader.cancel().catch(() => {});
  }
}
