// The log: who decided what, when and by which way, the newest first.
import { html } from './vendor/preact-htm.js';
import { Time } from './comment.js';
import { Page, usePages } from './form.js';
import { to } from './router.js';
import { state } from './say.js';
import { t } from './words.js';

/** @param {{entry: import('./types.js').LogEntry}} props */
const Line = ({ entry }) => html`<tr>
  <td><${Time} at=${entry.at} /></td><td>${entry.actor}</td>
  <td>${t(`action.${entry.action}`)}${entry.reason && html` <q>${entry.reason}</q>`}</td>
  <td>${entry.from ? `${state(entry.from)} → ` : ''}${entry.to ? state(entry.to) : ''}</td>
  <td>${t(`via.${entry.via}`)}</td><td>${entry.to ? html`<a href=${to(`comment/${entry.comment}`)}>${t('log.look')}</a>` : ''}</td></tr>`;

export function View() {
  const { rows, end } = usePages('/moderation/events', 'events');
  return html`<${Page} title=${t('view.log')}>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.log')}><table>
      <thead><tr>${['when', 'who', 'what', 'state', 'way', 'comment'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((entry) => html`<${Line} key=${entry.id} entry=${entry} />`)}</tbody></table></div>`}
    ${end}<//>`;
}
