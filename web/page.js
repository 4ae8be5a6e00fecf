/** The page: what is asked goes to the service, what it answers is shown. */

import { answer } from "./answer.js";
import { cancel, key, models as fetchModels, newKey, submit } from "./api.js";
import { element, formula, table } from "./elements.js";
import { Form } from "./form.js";
import { forget, list, remember } from "./recent.js";
import { View } from "./view.js";
import { isFinal, watch } from "./watch.js";

const find = (id) => document.getElementById(id);

const view = new View();
const form = new Form(ask);
let models = [];
let current = new AbortController();
let pending; // what was sent and its idempotency key: sent again, it gives the same job
let isAsking = false;

/** Shows why something failed, moves the focus there, and offers to do it again where that may help. */
function complain(error, again) {
  if (error.name === "AbortError") return;
  const lines = error.lines ?? [];
  const wait = error.retryAfter && error.isTransient ? ` The service asks to wait ${error.retryAfter} s.` : "";
  const canRepeat = again && (error.isTransient || error.status === 401);
  if (error.status === 401) find("key-row").hidden = false;
  find("alert").replaceChildren(
    element("strong", {}, title(error)),
    element("p", {}, sentence(error.message) + wait),
    lines.length ? element("ul", {}, ...lines.map((line) => element("li", {}, line))) : "",
    canRepeat ? element("button", { type: "button", onclick: again }, "Try again") : "",
  );
  find("alert").hidden = false;
  (error.status === 401 ? find("key") : find("alert")).focus();
}

const TITLES = { 0: "No answer", 401: "A key is needed", 413: "Too large", 429: "Too many requests" };

function title(error) {
  return TITLES[error.status] ?? (error.status < 500 ? "This cannot be answered" : "The service has failed");
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function hush() {
  find("alert").hidden = true;
  find("alert").replaceChildren();
}

function say(...parts) {
  find("state").replaceChildren(...parts);
}

async function ask() {
  if (isAsking) return;
  key.set(find("key").value);
  if (!models.length) {
    await start();
    return;
  }
  if (form.isEmpty) {
    const detail = "found no structure; expected a file or text; choose, drop or paste one, or take an example";
    complain(Object.assign(new Error(detail), { status: 422 }));
    return;
  }
  pending = { body: form.body(), idempotencyKey: newKey() };
  await send();
}

async function send() {
  hush();
  setAsking(true);
  say("Sending …");
  try {
    const job = await submit(pending.body, pending.idempotencyKey);
    remember(job);
    list(find("recent"));
    history.pushState(null, "", `#job=${job.id}`);
    await follow(job.id);
  } catch (error) {
    say();
    complain(error, send);
  } finally {
    setAsking(false);
  }
}

function setAsking(is) {
  isAsking = is;
  find("submit").setAttribute("aria-disabled", String(is));
  find("submit").textContent = is ? "Predicting …" : "Predict";
}

/** Follows a job to its end and shows what became of it. */
async function follow(id) {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  find("welcome").hidden = true;
  find("result").hidden = true;
  tellProgress({});
  let last;
  try {
    await watch(
      id,
      (job) => {
        last = job;
        if (!signal.aborted) tellState(job);
      },
      signal,
    );
  } catch (error) {
    if (signal.aborted) return;
    tellProgress({});
    if (error.status === 404) forget(id);
    list(find("recent"));
    say();
    complain(error, () => {
      hush();
      follow(id);
    });
    return;
  }
  if (last.status === "succeeded") await show(last, signal);
  else if (last.status !== "cancelled")
    complain(Object.assign(new Error(last.error.detail), { status: last.error.status }));
}

const STATES = {
  queued: "Waiting for a worker …",
  running: "A worker computes it …",
  succeeded: "Done.",
  failed: "It failed.",
  cancelled: "It was cancelled.",
  expired: "It is no longer kept.",
};

/** Shows how far a job is; a screen reader finds it when it looks there, and is not told twice a second. */
function tellProgress({ progress }) {
  find("progress").hidden = !progress;
  if (!progress) return;
  Object.assign(find("progress").querySelector("progress"), { max: progress.total, value: progress.done });
  find("progress-text").textContent = `${progress.done} of ${progress.total}`;
}

function tellState(job) {
  tellProgress(job);
  const news = `${job.id} ${job.status} ${job.position ?? ""}`;
  if (find("state").dataset.news === news) return; // a screen reader shall not hear it again
  find("state").dataset.news = news;
  const stop = isFinal(job)
    ? ""
    : element("button", { type: "button", onclick: () => cancel(job.id).catch((error) => complain(error)) }, "Cancel");
  const ahead = job.status === "queued" && job.position > 1 ? ` ${job.position - 1} before it.` : "";
  say(element("strong", {}, ...formula(job.formula)), ` ${STATES[job.status]}${ahead} `, stop);
}

async function show(job, signal) {
  find("result-title").replaceChildren(...formula(job.formula), element("small", {}, ` ${job.n_atoms} atoms`));
  document.title = `${job.formula} · rhocast`;
  find("warnings").replaceChildren(...job.warnings.map((line) => element("p", { class: "warning" }, `${line}.`)));
  find("numbers").replaceChildren(...answer(job, models, (error) => complain(error)));
  find("result").hidden = false;
  find("result-title").focus({ preventScroll: false });
  try {
    await view.show(job, (text) => say(text), signal);
  } catch (error) {
    if (!signal.aborted) say(`No picture: ${error.message}.`);
  }
}

/** What stands where the answer will be. */
function welcome() {
  const rows = models.map(({ info, n_workers: n }) => [
    info.name,
    info.provides.join(", "),
    `${info.elements.length}`,
    info.domains.map((domain) => `${domain}s`).join(", "),
    n ? "ready" : "no live worker",
  ]);
  find("welcome").replaceChildren(
    element("p", {}, "Send a structure; its answer comes here: electron density, energy, forces, stress, moments."),
    element("h2", {}, "What answers"),
    element(
      "div",
      { class: "scrolling", tabindex: "0", role: "region", "aria-label": "Models" },
      table(["model", "gives", "elements", "for", "state"], rows),
    ),
    element(
      "p",
      { class: "note" },
      "Where none is chosen, the most specialised that covers the structure answers. " +
        "Every answer names its model, the theory it imitates, and how far to trust it.",
    ),
  );
}

const jobOfAddress = () => new URLSearchParams(location.hash.slice(1)).get("job");

async function start() {
  hush();
  list(find("recent"));
  find("key").value = key.get();
  const id = jobOfAddress();
  try {
    models = await fetchModels();
    form.offer(models);
    welcome();
  } catch (error) {
    complain(error, start);
    return;
  }
  if (id) await follow(id);
}

window.addEventListener("hashchange", () => {
  if (jobOfAddress()) start();
  else if (!location.hash) location.reload();
});
find("key").addEventListener("change", () => key.set(find("key").value));
start();
