// @ts-check
/** Numbers of comments: one request for all that a page shows. */
import { ask, Words } from './kit.js';

/** @typedef {HTMLElement & {api: string, article: string, language: string}} Count */

/** Articles in one request, at most. */
const MOST = 100;

/** @param {Set<Count>} waiting emptied here */
export async function count(waiting) {
  const elements = [...waiting];
  waiting.clear();
  /** @type {Map<string, Set<string>>} */
  const articles = new Map();
  for (const { api, article } of elements) articles.set(api, (articles.get(api) ?? new Set()).add(article));
  for (const [api, keys] of articles) {
    const all = [...keys];
    for (let at = 0; at < all.length; at += MOST) void show(api, all.slice(at, at + MOST), elements.filter((element) => element.api === api));
  }
}

/** @param {string} api @param {string[]} keys @param {Count[]} elements */
async function show(api, keys, elements) {
  const answer = await ask(`${api}counts?${keys.map((key) => `article=${encodeURIComponent(key)}`).join('&')}`).catch(() => null);
  for (const element of elements) {
    const n = answer?.data?.counts?.[element.article];
    if (n === undefined) continue;
    const words = await Words.of(element.language);
    element.textContent = element.getAttribute('format') === 'number' ? words.numbers.format(n) : words.say('comments', { n });
  }
}
