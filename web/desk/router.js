// The address after #: which view, of what, with which filters. It can be sent to a colleague and lies in the history.
import { store } from './store.js';

/** @param {string} hash @returns {import('./types.js').Route} */
function parse(hash) {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [view = '', ...rest] = path.split('/');
  return { view: view || 'queue', id: decodeURIComponent(rest.join('/')), query: new URLSearchParams(query) };
}

export const route = store(parse(location.hash));

addEventListener('hashchange', () => route.set(parse(location.hash)));

/**
 * An address of this page; empty values are left out.
 * @param {string} path
 * @param {Record<string, string>} [query]
 */
export function to(path, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(kept).toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

/** Goes there. @param {string} hash as `to` makes it @param {boolean} [instead] of the entry in the history */
export function go(hash, instead = false) {
  if (instead) {
    history.replaceState(null, '', hash);
    route.set(parse(hash));
  } else location.hash = hash;
}
