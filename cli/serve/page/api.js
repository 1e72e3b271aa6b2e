// What the page asks of the server. The addresses and the data are described in ../openapi.json.

/** An answer that refuses something; its message is the server's own line. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let words = { gone: "", failed: "" };

/** Sets what is said when the server does not answer, and when it answers with something else than JSON. */
export function speak(gone, failed) {
  words = { gone, failed };
}

async function ask(method, path, { json, body, signal } = {}) {
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/octet-stream";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: json === undefined ? body : JSON.stringify(json) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, words.gone);
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error || `${words.failed} (${answer.status})`);
  }
  return answer;
}

async function data(method, path, more) {
  const answer = await ask(method, path, more);
  return answer.status === 204 ? null : answer.json();
}

export const signIn = (token) => data("POST", "/api/session", { json: { token } });
export const choices = () => data("GET", "/api/choices");
export const upload = (name, body) => data("POST", `/api/pictures?name=${encodeURIComponent(name)}`, { body });
export const picture = (id) => data("GET", `/api/pictures/${id}/info`);
export const estimate = (request, signal) => data("POST", "/api/estimate", { json: request, signal });
export const runs = async () => (await data("GET", "/api/runs")).runs;
export const submit = (request) => data("POST", "/api/runs", { json: request });
export const move = (id, position) => data("PATCH", `/api/runs/${id}`, { json: { position } });
export const remove = (id) => data("DELETE", `/api/runs/${id}`);
export const stop = (id) => data("POST", `/api/runs/${id}/stop`);
export const cancel = (id) => data("POST", `/api/runs/${id}/cancel`);
export const resume = (id, more = {}) => data("POST", `/api/runs/${id}/resume`, { json: more });
export const record = (id) => data("GET", `/api/runs/${id}/record`);

/** Returns every evaluation of a run, as objects. A line that is being written is left out. */
export async function log(id) {
  const text = await (await ask("GET", `/api/runs/${id}/log`)).text();
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** Addresses of pictures, for <img> and <a>. */
export const place = {
  shown: (picture) => `/api/pictures/${picture}/shown`,
  thumbnail: (picture) => `/api/pictures/${picture}/thumbnail`,
  file: (picture) => `/api/pictures/${picture}`,
  preview: (run, version) => `/api/runs/${run}/preview?version=${version}`,
  made: (run) => `/api/runs/${run}/thumbnail`,
  result: (run) => `/api/runs/${run}/result.png`,
  download: (run, suffix) => `/api/runs/${run}/result.${suffix}?download=true`,
};
