// How much waits and how the last 30 days went, as a picture and, for whoever cannot see it, as a table.
import { html } from './vendor/preact-htm.js';
import { Page, useOne } from './form.js';
import { filtered } from './desk.js';
import { ago, date, number, t } from './words.js';

/** @typedef {import('./types.js').Day} Day */

const WIDE = 20, HIGH = 160;
const KINDS = /** @type {('approved' | 'waiting' | 'rejected' | 'spam')[]} */ (['approved', 'waiting', 'rejected', 'spam']);

/** @param {Day} day @param {typeof KINDS[number]} kind */
const of = (day, kind) => (kind === 'waiting' ? day.received - day.approved - day.rejected - day.spam : day[kind]);

/** @param {{days: Day[]}} props */
function Picture({ days }) {
  const most = Math.max(1, ...days.map((day) => day.received));
  const bar = (/** @type {Day} */ day, /** @type {number} */ at) => {
    let under = HIGH;
    return html`<g key=${day.date}><title>${date(day.date)}: ${number(day.received)}</title>${KINDS.map((kind) => {
      const high = (of(day, kind) / most) * (HIGH - 10);
      under -= high;
      return high > 0 && html`<rect class=${kind} x=${at * WIDE + 3} y=${under} width=${WIDE - 6} height=${high} />`;
    })}</g>`;
  };
  return html`
    <figure class="picture">
      <svg viewBox=${`0 0 ${days.length * WIDE} ${HIGH + 4}`} role="img" aria-labelledby="picture-title">
        <title id="picture-title">${t('picture.title', { n: days.length, most })}</title>
        <line x1="0" x2=${days.length * WIDE} y1=${HIGH + 1} y2=${HIGH + 1} />${days.map(bar)}</svg>
      <figcaption><span class="muted">${date(days[0]?.date ?? '')} – ${date(days.at(-1)?.date ?? '')}</span>
        ${KINDS.map((kind) => html`<span class=${`key ${kind}`}>${t(`picture.${kind}`)}</span>`)}<span class="muted">${t('picture.most', { n: most })}</span></figcaption>
    </figure>
    <details><summary>${t('picture.table')}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t('picture.table')}><table>
      <thead><tr><th scope="col">${t('column.day')}</th><th scope="col">${t('picture.received')}</th>${KINDS.map((kind) => html`<th scope="col">${t(`picture.${kind}`)}</th>`)}</tr></thead>
      <tbody>${[...days].reverse().map((day) => html`<tr key=${day.date}><th scope="row">${date(day.date)}</th><td>${number(day.received)}</td>${KINDS.map((kind) => html`<td>${number(of(day, kind))}</td>`)}</tr>`)}</tbody></table></div></details>`;
}

export function View() {
  const { one, end } = useOne('/moderation/summary?days=30');
  /** @type {import('./types.js').Summary | null} */
  const summary = one;
  return html`<${Page} title=${t('view.overview')}>${end}${summary && html`
    <dl class="tiles"><div><dt>${t('state.pending')}</dt><dd><a href=${filtered({ status: 'pending' })}>${number(summary.counts.pending)}</a></dd></div>
      <div><dt>${t('tile.oldest')}</dt><dd>${summary.oldest_pending_at ? ago(summary.oldest_pending_at) : '–'}</dd></div>
      ${/** @type {const} */ (['approved', 'rejected', 'spam']).map((state) => html`<div><dt>${t(`state.${state}`)}</dt><dd>${number(summary.counts[state])}</dd></div>`)}</dl>
    <h2>${t('picture.head', { n: 30 })}</h2>
    ${summary.days && html`<${Picture} days=${summary.days} />`}`}<//>`;
}
