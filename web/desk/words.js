// What the page says, in the moderator's language: texts by key, numbers, plurals, times.

/** The languages that there are; a file of each lies in language/. */
export const LANGUAGES = /** @type {[string, string][]} */ ([
  ['en', 'English'], ['es', 'Español'], ['de', 'Deutsch'], ['fr', 'Français'],
]);

/** @type {Record<string, string | Record<string, string>>} */
let words = {};
let plural = new Intl.PluralRules('en');
let relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
let dates = new Intl.DateTimeFormat('en');
let moments = new Intl.DateTimeFormat('en');
let numbers = new Intl.NumberFormat('en');

/** The first language that we have. @param {readonly (string | null | undefined)[]} wanted */
function known(wanted) {
  const names = wanted.map((name) => (name ?? '').toLowerCase().split('-')[0] ?? '');
  return names.find((name) => LANGUAGES.some(([own]) => own === name)) ?? 'en';
}

/** Speaks the first of these languages that it knows. @param {string | null} [wanted] */
export async function speak(wanted) {
  const language = known([wanted, ...navigator.languages]);
  const answer = await fetch(`language/${language}.json`);
  words = await answer.json();
  document.documentElement.lang = language;
  plural = new Intl.PluralRules(language);
  relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  dates = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
  moments = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
  numbers = new Intl.NumberFormat(language);
}

/**
 * The text of this key. `{name}` in it is replaced; a text with plurals goes by `n`.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const entry = words[key] ?? key;
  const text = typeof entry === 'string' ? entry : entry[plural.select(Number(values.n))] ?? entry.other ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name] ?? '';
    return typeof value === 'number' ? numbers.format(value) : value;
  });
}

/** @param {number} n */
export const number = (n) => numbers.format(n);

const MINUTE = 60, HOUR = 3600, DAY = 86_400, WEEK = 604_800;

/** How long ago, up to a week; the date of what is older. @param {string} at */
export function ago(at) {
  const seconds = (new Date(at).getTime() - Date.now()) / 1000;
  const far = Math.abs(seconds);
  if (far >= WEEK) return dates.format(new Date(at));
  if (far < 45) return relative.format(0, 'second');
  if (far < HOUR) return relative.format(Math.round(seconds / MINUTE), 'minute');
  if (far < DAY) return relative.format(Math.round(seconds / HOUR), 'hour');
  return relative.format(Math.round(seconds / DAY), 'day');
}

/** The whole date and time. @param {string} at */
export const moment = (at) => moments.format(new Date(at));

/** A day without its time, as YYYY-MM-DD. @param {string} day */
export const date = (day) => dates.format(new Date(`${day}T12:00:00`));
