// The desk: on the left what there is, in the middle the list, on the right the comment. On a small screen one after the
// other, with a bar of four buttons.
import { html, useEffect, useLayoutEffect, useRef, useState } from './vendor/preact-htm.js';
import { said } from './api.js';
import { Comment } from './comment.js';
import { block, decide, meant, undo } from './decide.js';
import { keys, useKeys } from './keys.js';
import { List } from './list.js';
import { currentRow, load, move, queue, select, toggle, WAITING } from './queue.js';
import { go, route, to } from './router.js';
import { useStore } from './store.js';
import { announce, toast } from './toast.js';
import { ago, t } from './words.js';

/** @param {URLSearchParams} query @returns {import('./types.js').Filter} */
function filterOf(query) {
  const of = (/** @type {keyof import('./types.js').Filter} */ key) => query.get(key) ?? WAITING[key];
  return { status: of('status'), site: of('site'), article: of('article'), q: of('q'), sort: of('sort') };
}

/** @param {Partial<import('./types.js').Filter>} patch */
export function filtered(patch) {
  const all = { ...queue.get().filter, ...patch };
  const odd = Object.entries(all).filter(([key, value]) => value !== WAITING[/** @type {keyof typeof WAITING} */ (key)]);
  return to('queue', Object.fromEntries(odd));
}

function Search() {
  const { filter } = useStore(queue);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const values = new FormData(/** @type {HTMLFormElement} */ (event.target));
    go(filtered({ q: String(values.get('q') ?? '').trim(), sort: String(values.get('sort')) }));
  };
  const change = (/** @type {Event} */ event) => /** @type {HTMLSelectElement} */ (event.target).form?.requestSubmit();
  return html`
    <form class="search" role="search" onSubmit=${submit}>
      <label class="hidden" for="q">${t('search')}</label>
      <input key=${filter.q} id="q" name="q" type="search" maxlength="200" placeholder=${t('search')} defaultValue=${filter.q} />
      <label class="hidden" for="sort">${t('sort')}</label>
      <select id="sort" name="sort" value=${filter.sort} onChange=${change}>
        <option value="oldest">${t('sort.oldest')}</option><option value="newest">${t('sort.newest')}</option></select>
    </form>
    ${filter.article && html`<p class="filter">${t('filter.article', { key: filter.article })} <a href=${filtered({ article: '' })}>${t('filter.clear')}</a></p>`}`;
}

/** What stands where nothing is left. */
function nothingLeft() {
  const { filter } = queue.get();
  if (filter.q || filter.status !== 'pending') return t('queue.none');
  return lastDecision ? t('queue.done', { when: ago(lastDecision) }) : t('queue.empty');
}
let lastDecision = '';

/** Several at once. */
function Bulk() {
  const { selected } = useStore(queue);
  if (selected.size === 0) return null;
  return html`<div class="bulk" role="group" aria-label=${t('selected', { n: selected.size })} data-decides>
    ${['approve', 'reject', 'spam', 'hold'].map((one) => html`<button type="button" onClick=${() => deed(one)}>${t(`do.${one}`)}</button>`)}
    <button type="button" class="quiet" onClick=${() => select(false)}>${t('select.none')}</button></div>`;
}

/** @param {string} decision */
function deed(decision) {
  lastDecision = new Date().toISOString();
  decide(decision);
}

/** @param {(mode: string) => void} compose @param {string} mode */
function write(compose, mode) {
  if (meant().length > 1) announce(t('one.only'));
  else if (currentRow()) compose(mode);
}

function blockCurrent() {
  const row = currentRow();
  if (row) block(row).catch((error) => toast(said(error), { bad: true }));
}

/** @param {(mode: string) => void} compose */
function commands(compose) {
  return {
    j: () => move(1), k: () => move(-1), a: () => deed('approve'), r: () => deed('reject'), s: () => deed('spam'),
    h: () => deed('hold'), c: () => write(compose, 'reply'), e: () => write(compose, 'edit'), b: blockCurrent,
    u: () => void undo(), x: () => toggle(queue.get().current), '*': () => select(queue.get().selected.size === 0),
    n: () => void load(), '/': () => document.getElementById('q')?.focus(), '?': () => keys.set({ help: !keys.get().help }),
  };
}

/** The four that are done most, on a small screen. @param {{compose: (mode: string) => void}} props */
const Bar = ({ compose }) => html`
  <div class="bar" role="group" aria-label=${t('deeds')} data-decides>
    <button type="button" class="primary" onClick=${() => deed('approve')}>${t('do.approve')}</button>
    <button type="button" onClick=${() => deed('reject')}>${t('do.reject')}</button>
    <button type="button" onClick=${() => deed('spam')}>${t('do.spam')}</button>
    <button type="button" onClick=${() => write(compose, 'reply')}>${t('do.reply')}</button>
  </div>`;

export function Desk() {
  const { query } = useStore(route);
  const { current } = useStore(queue);
  const [mode, compose] = useState('');
  const pane = useRef(/** @type {HTMLElement | null} */ (null));
  const text = JSON.stringify(filterOf(query));
  const open = query.get('open') === '1';
  useEffect(() => void load(JSON.parse(text)), [text]);
  // Before the next key: a form that it opens must not be closed by what happens after this one is painted.
  useLayoutEffect(() => { compose(''); pane.current?.scrollTo(0, 0); if (open) scrollTo(0, 0); }, [current]);
  useKeys(commands(compose));
  const enter = () => {
    if (!matchMedia('(max-width: 800px)').matches) return;
    const here = filtered({});
    go(`${here}${here.includes('?') ? '&' : '?'}open=1`);
  };
  const written = (/** @type {string} */ wanted) => compose(wanted === mode ? '' : wanted);
  return html`
    <h1 class="hidden">${t('queue.title')}</h1>
    <div class=${`work ${open && current ? 'open' : ''}`}>
      <section class="list" aria-label=${t('queue.title')}>
        <${Search} /><${Bulk} /><${List} open=${enter} empty=${nothingLeft()} />
      </section>
      <section class="pane" ref=${pane} aria-label=${t('comment.title')}>
        <p class="back"><a href=${filtered({})}>‹ ${t('queue.back')}</a></p>
        <${Comment} row=${currentRow()} mode=${mode} compose=${written} nothing=${nothingLeft()} />
      </section>
      <${Bar} compose=${written} />
    </div>`;
}
