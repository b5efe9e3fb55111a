// @ts-check
/** What all parts of the widget share: elements, requests, texts, times, what is kept on this device, safe HTML. */
import { english } from './language/en.js';

/**
 * @typedef {import('./afterword.d.ts').AfterwordComment} Comment
 * @typedef {{ok: boolean, status: number, data: any, wait: number}} Answer `wait`: seconds, of `Retry-After`
 * @typedef {{method?: string, body?: unknown, token?: string | null, key?: string}} Asked
 * @typedef {keyof typeof english | keyof typeof import('./language/en-forms.js').forms} TextName
 * @typedef {Record<TextName, string | Record<string, string>>} Texts
 */

/**
 * An element. `tag` is `name.class`; functions become properties, true becomes an empty attribute, null and false nothing.
 * @param {string} tag
 * @param {Record<string, unknown> | null} [attributes]
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {any}
 */
export function h(tag, attributes, ...children) {
  const [name, kind] = tag.split('.');
  const element = document.createElement(name);
  if (kind) element.className = kind;
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === 'function') /** @type {any} */ (element)[key] = value;
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child || child === '')));
  return element;
}

/**
 * A quiet button.
 * @param {string} text
 * @param {(event: Event) => void} onclick
 * @param {Record<string, unknown>} [attributes]
 * @returns {HTMLButtonElement}
 */
export const button = (text, onclick, attributes) => h('button.quiet', { type: 'button', onclick, ...attributes }, text);

/**
 * Asks the service. Rejects only when it cannot be reached.
 * @param {string} address
 * @param {Asked} [asked]
 * @returns {Promise<Answer>}
 */
export async function ask(address, { method, body, token, key } = {}) {
  const headers = new Headers();
  if (body) headers.set('Content-Type', 'application/json');
  if (token) headers.set('Authorization', `Bearer ${token}`);
  if (key) headers.set('Idempotency-Key', key);
  if (body && typeof body !== 'string') body = JSON.stringify(body);
  const answer = await fetch(address, { method, headers, credentials: 'omit', keepalive: method === 'DELETE', body: /** @type {any} */ (body) });
  const data = await answer.json().catch(() => null);
  return { ok: answer.ok, status: answer.status, data, wait: Number(answer.headers.get('Retry-After')) || 0 };
}

/** The comment that the page's address names. */
export const hashed = () => /^#afterword-([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null;

/**
 * What is kept on this device. A browser that keeps nothing is fine.
 * @param {string} name
 * @returns {any}
 */
export function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(`afterword:${name}`) ?? 'null');
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {unknown} value null: forget it
 */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(`afterword:${name}`);
    else localStorage.setItem(`afterword:${name}`, JSON.stringify(value));
  } catch {
    // Full, or forbidden: then nothing is kept.
  }
}

/** The languages beside English. */
const LANGUAGES = ['ar', 'de', 'es', 'fr', 'ja'];

/** The words of one language, and its ways to write numbers and times. */
export class Words {
  /** @param {string} language @param {Texts} texts */
  constructor(language, texts) {
    this.language = language;
    this.texts = texts;
    this.numbers = new Intl.NumberFormat(language);
    this.plurals = new Intl.PluralRules(language);
    this.dates = new Intl.DateTimeFormat(language, { dateStyle: 'long' });
    this.moments = new Intl.DateTimeFormat(language, { dateStyle: 'full', timeStyle: 'short' });
    this.ago = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  }

  /**
   * The words of a language, loaded if they are not here.
   * @param {string} wanted as HTML names languages
   */
  static async of(wanted) {
    const language = wanted.toLowerCase().split('-')[0];
    if (LANGUAGES.includes(language)) {
      const loaded = await import(`./language/${language}.js`).catch(() => null);
      if (loaded) return new Words(language, { ...english, ...loaded.texts });
    }
    return new Words('en', /** @type {any} */ (english));
  }

  /**
   * A text; `{n}` and other names are filled in.
   * @param {TextName} name
   * @param {Record<string, string | number>} [values]
   * @returns {string}
   */
  say(name, values = {}) {
    const text = this.texts[name];
    const form = typeof text === 'string' ? text : (text[this.plurals.select(Number(values.n))] ?? text.other);
    return form.replace(/\{(\w+)\}/g, (_, key) => (typeof values[key] === 'number' ? this.numbers.format(values[key]) : String(values[key])));
  }

  /**
   * How long ago that was; after a week, the date.
   * @param {string} at
   */
  when(at) {
    const seconds = (Date.now() - Date.parse(at)) / 1000;
    if (seconds > 7 * 86400) return this.dates.format(new Date(at));
    const [unit, length] = /** @type {const} */ ([['day', 86400], ['hour', 3600], ['minute', 60]]).find(([, length]) => seconds >= length) ?? ['second', Infinity];
    return this.ago.format(-Math.floor(seconds / length), unit);
  }

  /**
   * A moment as an element: relative, with the exact one on hover.
   * @param {string} at
   */
  time(at) {
    return h('time', { datetime: at, title: this.moments.format(new Date(at)) }, this.when(at));
  }
}

/** @param {string | null | undefined} address */
export const isWeb = (address) => /^https?:\/\//i.test(address ?? '');

/** The elements of a comment's text, and the attributes that they keep (the contract names both). */
const ALLOWED = { p: '', br: '', em: '', strong: '', del: '', code: 'class', pre: '', blockquote: '', ul: '', ol: 'start', li: '', hr: '', a: 'href' };

/** @type {Record<string, string>} */
const NAMED = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** @param {string} text */
const unescaped = (text) =>
  text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(amp|lt|gt|quot|apos));/gi, (_, hex, decimal, name) =>
    name ? NAMED[name.toLowerCase()] : String.fromCodePoint(Math.min(hex ? parseInt(hex, 16) : Number(decimal), 0x10ffff)));

/**
 * Builds a comment's text from the few elements that the service sends. The browser's own parser never sees the text, so
 * pages that demand Trusted Types need no policy, and nothing but these elements can come of it.
 * @param {string} html
 * @returns {HTMLElement}
 */
export function safe(html) {
  const root = h('div.body', { part: 'body', dir: 'auto' });
  /** @type {HTMLElement} */
  let at = root;
  for (const [whole, slash, name, rest] of html.matchAll(/<(\/?)([a-z]+)((?: [a-z]+="[^"]*")*) ?\/?>|[^<]+|</g)) {
    if (!name || !(name in ALLOWED)) at.append(unescaped(whole));
    else if (!slash) at = opened(at, name, rest);
    else at = /** @type {HTMLElement | null} */ (at.closest(name))?.parentElement ?? at;
  }
  return root;
}

/**
 * @param {HTMLElement} at
 * @param {string} name
 * @param {string} rest the attributes as they were sent
 */
function opened(at, name, rest) {
  const element = h(name);
  for (const [, key, value] of rest.matchAll(/ ([a-z]+)="([^"]*)"/g)) {
    const text = unescaped(value);
    if (ALLOWED[/** @type {keyof typeof ALLOWED} */ (name)] === key && (key !== 'href' || isWeb(text))) element.setAttribute(key, text);
  }
  if (name === 'a') element.rel = 'nofollow ugc noopener noreferrer';
  // It may be wider than the page; the keyboard scrolls it then.
  if (name === 'pre') element.tabIndex = 0;
  at.append(element);
  return name === 'br' || name === 'hr' ? at : element;
}
