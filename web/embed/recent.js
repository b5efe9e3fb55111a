// @ts-check
/** The newest comments of a site. */
import { ask, h, isWeb, Words } from './kit.js';
import { sheet } from './style.js';

/** Letters of a text that are shown. */
const SHOWN = 90;

/** @param {HTMLElement & {api: string, language: string}} host */
export async function recent(host) {
  const limit = Number(host.getAttribute('limit')) || 5;
  const root = host.attachShadow({ mode: 'open' });
  root.adoptedStyleSheets = [sheet];
  root.append(h('slot'));
  const [words, answer] = await Promise.all([Words.of(host.language), ask(`${host.api}recent?limit=${limit}`).catch(() => null)]);
  if (!answer?.ok) return;
  const entries = answer.data.comments.map((/** @type {any} */ comment) => entry(words, comment));
  root.replaceChildren(h('ol.list', { part: 'list', role: 'list', lang: words.language }, ...entries));
}

/** @param {Words} words @param {import('./kit.js').Comment & {article: {key: string, title: string | null, url: string | null}}} comment */
function entry(words, { id, name, body_html, created_at, article }) {
  const on = words.say('on', { name: `\u2068${name}\u2069`, article: article.title ?? article.key });
  const link = isWeb(article.url) ? h('a', { href: `${article.url}#afterword-${id}` }, on) : on;
  // Of the text only its words: tags go, whatever they are.
  const text = body_html.replace(/<[^>]*>/g, ' ').replace(/&(?:amp|lt|gt|quot|#\w+);/g, ' ').replace(/\s+/g, ' ').trim();
  const letters = [...text];
  return h('li', { part: 'entry' }, h('p', null, h('bdi', null, link), h('span.muted', null, ' · ', words.time(created_at), h('br'),
    h('bdi', null, letters.slice(0, SHOWN).join('') + (letters.length > SHOWN ? '…' : '')))));
}
