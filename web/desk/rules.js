// The rules, in the order in which they are asked.
import { html } from './vendor/preact-htm.js';
import { call, get, post, said } from './api.js';
import { Page, usePages } from './form.js';
import { to } from './router.js';
import { Rule } from './rule.js';
import { toast } from './toast.js';
import { t } from './words.js';

/** @typedef {import('./rule.js').Draft & {id: string, site: string | null, version: number, word_count: number}} Stored */

/** What it does, in words. @param {import('./rule.js').Draft} rule */
const effect = ({ effect: { decide, score } }) => (decide ? t(`do.${decide}`) : t('rule.points', { n: score ?? 0 }));

/** @param {Stored} rule @param {(site: string | null, id: string) => void} earlier @param {() => void} again */
function line(rule, earlier, again) {
  const flip = () => call('PATCH', `/moderation/rules/${rule.id}`, { enabled: !rule.enabled }, { version: rule.version }).then(again, (error) => toast(said(error), { bad: true }));
  const { id, position: _, version: __, word_count: ___, created_at: ____, updated_at: _____, ...kept } = /** @type {any} */ (rule);
  const remove = async () => {
    try {
      await call('DELETE', `/moderation/rules/${id}`, undefined, { version: rule.version });
      // A rule with a list of its own cannot be made again from what stands here.
      const back = () => post('/moderation/rules', kept).then(again, (error) => toast(said(error), { bad: true }));
      toast(t('rule.removed', { name: rule.name }), rule.word_count > 0 ? {} : { undo: back });
      again();
    } catch (error) {
      toast(said(error), { bad: true });
    }
  };
  return html`<tr key=${id}><td><a href=${to(`rules/${id}`)}>${rule.name}</a></td><td>${rule.site ?? t('sites.all')}</td><td>${effect(rule)}</td>
    <td><label class="check"><input type="checkbox" checked=${rule.enabled} onChange=${flip} aria-label=${`${t('rule.enabled')}: ${rule.name}`} /> ${rule.enabled ? t('on') : t('off')}</label></td>
    <td><button type="button" onClick=${() => earlier(rule.site, id)} aria-label=${`${t('rule.earlier')}: ${rule.name}`}>↑</button>
      <button type="button" class="quiet" onClick=${remove} aria-label=${`${t('do.remove')}: ${rule.name}`}>${t('do.remove')}</button></td></tr>`;
}

function Rules() {
  const { rows, end, again } = usePages('/moderation/rules', 'rules');
  const earlier = async (/** @type {string | null} */ site, /** @type {string} */ id) => {
    try {
      const { rules } = await get(`/moderation/rules?limit=200${site ? `&site=${site}` : ''}`);
      const ids = rules.filter((/** @type {Stored} */ one) => one.site === site).map((/** @type {Stored} */ one) => one.id);
      const at = ids.indexOf(id);
      if (at > 0) [ids[at - 1], ids[at]] = [ids[at], ids[at - 1]];
      await call('PUT', '/moderation/rules/order', { site, ids });
      await again();
    } catch (error) {
      toast(said(error), { bad: true });
    }
  };
  return html`<${Page} title=${t('view.rules')} add=${to('rules/new')}>
    <p class="hint">${t('rules.hint')}</p>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.rules')}><table>
      <thead><tr>${['name', 'site', 'effect', 'state', 'do'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((rule) => line(rule, earlier, again))}</tbody></table></div>`}
    ${end}<//>`;
}

/** @param {{id: string}} props */
export const View = ({ id }) => (id ? html`<${Rule} key=${id} id=${id} />` : html`<${Rules} />`);
