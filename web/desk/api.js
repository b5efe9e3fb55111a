// Requests to the service. A failure says in plain words what is wrong, as the service said it.
import { t } from './words.js';

/** An answer that is no success, or none at all. */
export class Failure extends Error {
  /**
   * @param {number} status 0 when nobody answered
   * @param {{code?: string, detail?: string, title?: string, errors?: import('./types.js').Fault[]}} problem
   */
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? t('failed.unknown'));
    this.status = status;
    this.code = problem.code ?? '';
    this.faults = problem.errors ?? [];
  }
}

let csrf = '';
/** @type {() => void} */
let signedOut = () => {};

/** @param {string} token sent with whatever changes something */
export function useCsrf(token) {
  csrf = token;
}

/** Whether somebody is signed in, as far as is known. */
export const isIn = () => csrf !== '';

/** @param {() => void} listener told when the service does not know us any more */
export function onSignedOut(listener) {
  signedOut = listener;
}

const BASE = new URL('../api/v1', document.baseURI).pathname;

/** @param {string} path */
export const address = (path) => BASE + path;

/** @param {Response} answer */
async function read(answer) {
  if (answer.status === 204 || answer.status === 202) return null;
  const type = answer.headers.get('content-type') ?? '';
  return type.includes('json') ? answer.json() : answer.text();
}

/** @param {unknown} body @param {number | undefined} version */
function headers(body, version) {
  /** @type {Record<string, string>} */
  const sent = { accept: 'application/json' };
  if (typeof body === 'string') sent['content-type'] = 'text/plain; charset=utf-8';
  else if (body !== undefined) sent['content-type'] = 'application/json';
  if (csrf) sent['x-csrf-token'] = csrf;
  if (version !== undefined) sent['if-match'] = `"${version}"`;
  return sent;
}

/**
 * @param {string} method
 * @param {string} path below /api/v1
 * @param {unknown} [body] an object, or text that is sent as it is
 * @param {{version?: number | undefined, keepalive?: boolean}} [how] the version that was looked at; whether it must leave
 * although the page closes
 * @returns {Promise<any>}
 */
export async function call(method, path, body, { version, keepalive = false } = {}) {
  let answer;
  try {
    const sent = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
    answer = await fetch(address(path), {
      method, body: sent, headers: headers(body, version), credentials: 'same-origin', cache: 'no-store', keepalive,
    });
  } catch {
    throw new Failure(0, { detail: t('failed.offline') });
  }
  if (answer.ok) return read(answer);
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401 && !path.startsWith('/session')) signedOut();
  if (answer.status === 429) {
    problem.detail = t('failed.later', { n: Number(answer.headers.get('retry-after') ?? 60) });
  }
  throw new Failure(answer.status, problem);
}

/** @param {string} path */
export const get = (path) => call('GET', path);
/** @param {string} path @param {unknown} [body] @param {number} [version] */
export const post = (path, body, version) => call('POST', path, body, { version });

/** What went wrong, as one sentence. @param {unknown} error */
export const said = (error) => (error instanceof Error ? error.message : String(error));
