// The list: dense, one line of why a comment is held under each. One row is in the order of tabs; the keys move it.
import { html, useEffect, useLayoutEffect, useRef } from './vendor/preact-htm.js';
import { load, more, queue, select, stand, toggle } from './queue.js';
import { reasons, state } from './say.js';
import { useStore } from './store.js';
import { ago, moment, t } from './words.js';

/** @param {{row: import('./types.js').Row, current: boolean, selected: boolean, open: () => void}} props */
function Row({ row, current, selected, open }) {
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  useLayoutEffect(() => {
    if (!current) return;
    button.current?.scrollIntoView({ block: 'nearest' });
    // The focus goes along, unless it is somewhere else on purpose.
    const at = document.activeElement;
    if (at === document.body || at?.closest('.rows') || at?.closest('[data-decides]')) button.current?.focus({ preventScroll: true });
  }, [current]);
  const text = row.pending_edit?.body ?? row.body;
  const why = row.note?.text ?? (row.pending_edit ? t('edit.waits') : reasons(row).join(' · '));
  return html`
    <li class=${`row ${current ? 'current' : ''} ${row.note ? row.note.kind : ''}`}>
      <input type="checkbox" tabindex=${current ? 0 : -1} checked=${selected} aria-label=${t('select.one', { name: row.name })}
        onChange=${() => toggle(row.id)} />
      <button type="button" ref=${button} tabindex=${current ? 0 : -1} aria-current=${current ? 'true' : null}
        onFocus=${() => stand(row.id)} onClick=${() => { stand(row.id); open(); }}>
        <span class="line"><b dir="auto">${row.name}</b><time datetime=${row.created_at} title=${moment(row.created_at)}>${ago(row.created_at)}</time></span>
        <span class="text" dir="auto">${text.slice(0, 200)}</span>
        <span class="why">${row.note ? '⚠ ' : ''}${row.status === 'pending' ? '' : `${state(row.status)} · `}${why}</span>
      </button>
    </li>`;
}

/** Asks for more when its end comes into sight. */
function Tail() {
  const end = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const watch = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), { rootMargin: '400px' });
    if (end.current) watch.observe(end.current);
    return () => watch.disconnect();
  }, []);
  return html`<p ref=${end} class="tail"><button type="button" onClick=${more}>${t('more')}</button></p>`;
}

/** @param {{open: () => void, empty: string}} props */
export function List({ open, empty }) {
  const { rows, current, selected, next, loading, failed, trimmed, news } = useStore(queue);
  const again = () => load();
  if (failed) return html`<p class="empty" role="alert">${failed} <button type="button" onClick=${again}>${t('again')}</button></p>`;
  return html`
    ${news && html`<p class="news"><button type="button" onClick=${again}>${t('queue.news')}</button></p>`}
    ${trimmed && html`<p class="news"><button type="button" onClick=${again}>${t('queue.top')}</button></p>`}
    ${rows.length > 0 && html`<p class="all">
      <label class="check"><input type="checkbox" checked=${selected.size === rows.length}
        onChange=${(/** @type {any} */ event) => select(event.target.checked)} /> ${selected.size > 0 ? t('selected', { n: selected.size }) : t('select.all')}</label></p>`}
    <ol class="rows" aria-label=${t('queue.list')} aria-busy=${loading}>
      ${rows.map((row) => html`<${Row} key=${row.id} row=${row} current=${row.id === current} selected=${selected.has(row.id)} open=${open} />`)}
    </ol>
    ${rows.length === 0 && !loading && html`<p class="empty">${empty}</p>`}
    ${next && !loading && html`<${Tail} key=${next} />`}
    ${loading && html`<p class="tail">${t('loading')}</p>`}`;
}
