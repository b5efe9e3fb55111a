// One comment: as readers will see it, as it was typed, what it answers, why it was held, what readers say
// against it, who wrote it, what happened to it.
import { html, useEffect, useLayoutEffect, useRef } from './vendor/preact-htm.js';
import { get, said } from './api.js';
import { Composer } from './compose.js';
import { block, decide, discardEdit, removeForGood, undo } from './decide.js';
import { renew } from './queue.js';
import { nodes } from './rich.js';
import { reasons, state } from './say.js';
import { toast } from './toast.js';
import { ago, moment, t } from './words.js';

/** @typedef {import('./types.js').Row} Row */

/** Others' HTML, made of nodes of ours. @param {{of: string}} props */
function Body({ of }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => place.current?.replaceChildren(nodes(of)), [of]);
  return html`<div class="body" dir="auto" ref=${place}></div>`;
}

/** @param {{at: string}} props */
export const Time = ({ at }) => html`<time datetime=${at} title=${moment(at)}>${ago(at)}</time>`;

/** A link that leads away, if it is one. @param {{href: string | null, children?: any}} props */
export function Away({ href, children }) {
  if (!href || !/^https?:\/\//i.test(href)) return html`<span>${children}</span>`;
  return html`<a href=${href} target="_blank" rel="nofollow noopener noreferrer">${children}</a>`;
}

/** @param {{row: Row}} props */
function Reader({ row }) {
  const edit = row.pending_edit;
  return html`
    <section aria-labelledby="as-read">
      <h3 id="as-read">${edit ? t('read.edit') : t('read.title')}</h3>
      <article class="card">
        <header>${row.avatar && html`<img src=${row.avatar} alt="" width="36" height="36" />`}
          <b dir="auto"><${Away} href=${edit ? edit.website : row.website}>${edit ? edit.name : row.name}<//></b>
          ${row.badge && html`<span class="badge">${t('badge.staff')}</span>`}
          <${Time} at=${row.created_at} />${row.edited_at && html`<span class="muted">${t('edited')}</span>`}</header>
        <${Body} of=${edit ? edit.body_html : row.body_html} />
      </article>
      ${edit && html`<h3>${t('read.public')}</h3><article class="card"><${Body} of=${row.body_html} /></article>`}
    </section>
    <section aria-labelledby="as-typed"><h3 id="as-typed">${t('typed.title')}</h3>
      <pre class="typed" dir="auto" tabindex="0" aria-labelledby="as-typed">${edit ? edit.body : row.body}</pre></section>`;
}

/** @param {{row: Row}} props */
function Thread({ row }) {
  const above = row.thread ?? [];
  if (above.length === 0) return null;
  return html`<section aria-labelledby="thread"><h3 id="thread">${t('thread.title')}</h3>
    ${above.map((one) => html`<article key=${one.id} class=${`above depth-${Math.min(one.depth, 5)}`}>
      ${one.status ? html`<p class="muted"><b dir="auto">${one.name}</b> · <${Time} at=${one.created_at} />${one.status === 'approved' ? '' : ` · ${state(one.status)}`}</p>
        <${Body} of=${one.body_html ?? ''} />` : html`<p class="muted">${t('thread.removed')}</p>`}
    </article>`)}</section>`;
}

/** @param {{row: Row}} props */
function Author({ row }) {
  const history = row.author;
  const known = history && history.approved + history.rejected + history.spam > 0;
  return html`
    <section aria-labelledby="author"><h3 id="author">${t('author.title')}</h3>
      <p class="figures">${history === undefined ? '…' : known
        ? html`<span class="ok">✓ ${t('author.approved', { n: history.approved })}</span> <span class="warn">✕ ${t('author.rejected', { n: history.rejected })}</span> <span class="bad">⚑ ${t('author.spam', { n: history.spam })}</span>`
        : t('author.new')}</p>
      <dl class="facts">
        ${row.email && html`<dt>${t('email')}</dt><dd>${row.email}</dd>`}
        ${row.website && html`<dt>${t('website')}</dt><dd>${row.website}</dd>`}
        ${row.address && html`<dt>${t('address')}</dt><dd>${row.address}</dd>`}
        ${row.user_agent && html`<dt>${t('program')}</dt><dd>${row.user_agent}</dd>`}
      </dl></section>`;
}

/** What readers said against it, and why in their words. @param {{row: Row}} props */
function Flags({ row }) {
  const flags = row.flags ?? [];
  return flags.length > 0 && html`<section aria-labelledby="flags"><h3 id="flags">${t('flags.title')}</h3>
    <ol class="log">${flags.map((flag) => html`<li>⚑ ${t(`flag.${flag.reason}`)} <span class="muted"><${Time} at=${flag.at} /></span>${flag.note && html`<q dir="auto">${flag.note}</q>`}</li>`)}</ol></section>`;
}

/** @param {{entry: import('./types.js').LogEntry}} props */
export const Entry = ({ entry }) => html`<li><b>${entry.actor}</b> ${t(`action.${entry.action}`)} <span class="muted">${t(`via.${entry.via}`)} · <${Time} at=${entry.at} /></span>${entry.reason && html`<q>${entry.reason}</q>`}</li>`;

/** @param {{row: Row}} props */
function Log({ row }) {
  return html`<section aria-labelledby="log"><h3 id="log">${t('log.title')}</h3>
    <ol class="log">${(row.events ?? []).map((entry) => html`<${Entry} key=${entry.id} entry=${entry} />`)}</ol></section>`;
}

/** @param {() => Promise<unknown>} work */
const tried = (work) => () => void work().catch((error) => toast(said(error), { bad: true }));

/** What can be done with it; on small screens the four that are done most stay in sight. @param {{row: Row, mode: string, compose: (mode: string) => void}} props */
function Deeds({ row, mode, compose }) {
  const one = (/** @type {string} */ decision, /** @type {string} */ key) => html`<button type="button"
    class=${decision === 'approve' ? 'primary' : ''} onClick=${() => decide(decision, [row])}>${t(`do.${decision}`)} <kbd aria-hidden="true">${key}</kbd></button>`;
  return html`
    <div class="deeds" data-decides>
      <div class="four">${one('approve', 'a')}${one('reject', 'r')}${one('spam', 's')}
        <button type="button" aria-expanded=${mode === 'reply'} onClick=${() => compose('reply')}>${t('do.reply')} <kbd aria-hidden="true">c</kbd></button></div>
      <div class="others">
        ${row.status !== 'pending' && one('hold', 'h')}
        <button type="button" aria-expanded=${mode === 'edit'} onClick=${() => compose('edit')}>${t('do.edit')} <kbd aria-hidden="true">e</kbd></button>
        <button type="button" onClick=${() => undo()}>${t('undo')} <kbd aria-hidden="true">u</kbd></button>
        ${row.pending_edit && html`<button type="button" onClick=${tried(() => discardEdit(row))}>${t('do.discard')}</button>`}
        <button type="button" onClick=${tried(() => block(row))}>${t('do.block')} <kbd aria-hidden="true">b</kbd></button>
        <button type="button" class="quiet" onClick=${() => removeForGood(row)}>${t('do.remove')}</button>
      </div>
    </div>`;
}

/** Asks for what the list does not have, once the moderator stays. @param {Row | undefined} row */
function useWhole(row) {
  const id = row?.id, version = row?.version, whole = row?.events !== undefined;
  useEffect(() => {
    if (!id || whole) return;
    const timer = setTimeout(() => get(`/moderation/comments/${id}`).then((fresh) => renew(id, fresh)).catch(() => {}), 150);
    return () => clearTimeout(timer);
  }, [id, version, whole]);
}

/** @param {{row: Row | undefined, mode: string, compose: (mode: string) => void, nothing: string}} props */
export function Comment({ row, mode, compose, nothing }) {
  useWhole(row);
  if (!row) return html`<p class="empty">${nothing}</p>`;
  const why = reasons(row);
  return html`
    <header class="about">
      <h2 dir="auto" tabindex="-1" id="about">${t('comment.by', { name: row.name })}</h2>
      <p class="muted"><${Away} href=${row.article.url}>${row.article.title ?? row.article.key}<//> · ${row.site} · <span class=${`state ${row.status}`}>${state(row.status)}</span></p>
      ${row.note && html`<p class="note" role="alert">⚠ ${row.note.text}</p>`}
      ${why.length > 0 && html`<ul class="reasons" aria-label=${t('why.title')}>${why.map((text) => html`<li>${text}</li>`)}</ul>`}
    </header>
    <${Deeds} row=${row} mode=${mode} compose=${compose} />
    ${mode && html`<${Composer} key=${`${row.id} ${mode}`} row=${row} mode=${mode} done=${() => compose('')} />`}
    <${Flags} row=${row} /><${Thread} row=${row} /><${Reader} row=${row} /><${Author} row=${row} /><${Log} row=${row} />`;
}
