// The list that is being worked through: which comments, in which order, where the moderator stands, what is selected.
// It knows nothing of requests that decide; decide.js does.
import { get, said } from './api.js';
import { store } from './store.js';

/** @typedef {import('./types.js').Row} Row */
/** @typedef {import('./types.js').Comment} Comment */
/** @typedef {import('./types.js').Filter} Filter */

/** Comments of one page, and of all pages that are kept: what was scrolled past is let go. */
const PAGE = 50;
export const MOST = 400;

/** @type {Filter} */
export const WAITING = { status: 'pending', site: '', article: '', q: '', sort: 'oldest' };

export const queue = store({
  filter: WAITING,
  rows: /** @type {Row[]} */ ([]),
  /** The comment that the keys act on. */
  current: '',
  selected: /** @type {ReadonlySet<string>} */ (new Set()),
  /** The cursor of the next page; none at the end. */
  next: /** @type {string | null} */ (null),
  loading: true,
  failed: '',
  /** Whether rows above were let go. */
  trimmed: false,
  /** Whether something new came that is not in the list. */
  news: false,
});

/** @param {Filter} filter @param {string} [cursor] */
function page(filter, cursor = '') {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const [key, value] of Object.entries({ ...filter, cursor })) if (value) query.set(key, value);
  return get(`/moderation/comments?${query}`);
}

let loads = 0;

/** Reads the list anew. @param {Filter} [filter] */
export async function load(filter = queue.get().filter) {
  const load = (loads += 1);
  queue.set({ filter, loading: true, failed: '', news: false });
  try {
    const { comments, next_cursor: next } = await page(filter);
    if (load !== loads) return;
    const kept = comments.some((/** @type {Row} */ row) => row.id === queue.get().current);
    const current = kept ? queue.get().current : comments[0]?.id ?? '';
    queue.set({ rows: comments, next, current, selected: new Set(), loading: false, trimmed: false });
  } catch (error) {
    if (load === loads) queue.set({ loading: false, failed: said(error) });
  }
}

/** The next page, behind what is there. */
export async function more() {
  const { filter, next, loading } = queue.get();
  if (!next || loading) return;
  const load = loads;
  queue.set({ loading: true });
  try {
    const { comments, next_cursor } = await page(filter, next);
    if (load !== loads) return;
    const there = new Set(queue.get().rows.map((row) => row.id));
    const rows = [...queue.get().rows, ...comments.filter((/** @type {Row} */ row) => !there.has(row.id))];
    const trimmed = rows.length > MOST;
    const kept = trimmed ? rows.slice(rows.length - MOST) : rows;
    const current = kept.some((row) => row.id === queue.get().current) ? queue.get().current : kept[0]?.id ?? '';
    queue.set({ rows: kept, next: next_cursor, loading: false, trimmed: trimmed || queue.get().trimmed, current });
  } catch (error) {
    if (load === loads) queue.set({ loading: false, failed: said(error) });
  }
}

/** Whether the list is one in which this comment stands. @param {Comment} row */
export function belongs({ status, pending_edit: edit, site, article }) {
  const { filter } = queue.get();
  if (filter.site && filter.site !== site) return false;
  if (filter.article && filter.article !== article.key) return false;
  return filter.status === 'all' || filter.status === status || (filter.status === 'pending' && edit !== null);
}

/** What is gone elsewhere stays in sight until the moderator goes on. @param {string} except */
function swept(except) {
  return queue.get().rows.filter((row) => row.id === except || row.note?.kind !== 'elsewhere' || belongs(row));
}

/** @param {string} id */
export function stand(id) {
  if (id !== queue.get().current) queue.set({ rows: swept(id), current: id });
  const { rows } = queue.get();
  if (rows.findIndex((row) => row.id === id) > rows.length - 15) void more();
}

/** @param {number} by so many rows down */
export function move(by) {
  const { rows, current } = queue.get();
  const at = rows.findIndex((row) => row.id === current);
  const row = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
  if (row) stand(row.id);
}

/** The row that the keys act on. */
export function currentRow() {
  const { rows, current } = queue.get();
  return rows.find((row) => row.id === current);
}

/** @param {string} id */
export function toggle(id) {
  const selected = new Set(queue.get().selected);
  if (!selected.delete(id)) selected.add(id);
  queue.set({ selected });
}

/** @param {boolean} all */
export function select(all) {
  queue.set({ selected: new Set(all ? queue.get().rows.map((row) => row.id) : []) });
}

/** Takes rows out; the moderator stands on what follows. @param {ReadonlySet<string>} ids */
export function take(ids) {
  const { rows, current } = queue.get();
  let next = current;
  if (ids.has(current)) {
    const at = rows.findIndex((row) => row.id === current);
    const left = [...rows.slice(at), ...rows.slice(0, at).reverse()].find((row) => !ids.has(row.id));
    next = left?.id ?? '';
  }
  const kept = swept(next).filter((row) => !ids.has(row.id));
  queue.set({ rows: kept, current: next, selected: new Set([...queue.get().selected].filter((id) => !ids.has(id))) });
  if (kept.length < PAGE / 2) void more();
}

/** Puts rows where they belong; ids sort by time. @param {Row[]} back @param {boolean} [stand] on the first of them */
export function put(back, stand = false) {
  const { rows, filter, current } = queue.get();
  const ids = new Set(back.map((row) => row.id));
  const sign = filter.sort === 'newest' ? -1 : 1;
  const all = [...rows.filter((row) => !ids.has(row.id)), ...back];
  all.sort((a, b) => (a.id < b.id ? -sign : sign));
  queue.set({ rows: all, current: (stand || !current) && back[0] ? back[0].id : current });
}

/** What is known anew of a comment that stands in the list. @param {string} id @param {Partial<Row>} patch */
export function renew(id, patch) {
  const rows = queue.get().rows.map((row) => (row.id === id ? { ...row, ...patch } : row));
  queue.set({ rows });
}
