// Sites: what blogs there are, and what each decides for itself.
import { html } from './vendor/preact-htm.js';
import { call, post } from './api.js';
import { Form, Page, useOne, usePages } from './form.js';
import { go, to } from './router.js';
import { toast } from './toast.js';
import { t } from './words.js';

/** @param {boolean} fresh @returns {import('./types.js').Field[]} */
const fields = (fresh) => [
  { name: 'key', label: t('site.key'), required: true, fixed: !fresh, hint: t('site.key.hint') },
  { name: 'name', label: t('name'), required: true, maxlength: 100 },
  { name: 'url', label: t('site.url'), type: 'url' },
  { name: 'origins', label: t('site.origins'), type: 'lines', hint: t('one.per.line') },
  { name: 'moderation', label: t('site.moderation'), type: 'choice', options: ['all', 'new_authors', 'none'].map((key) => [key, t(`policy.${key}`)]) },
  { name: 'articles', label: t('site.articles'), type: 'choice', options: ['any', 'known'].map((key) => [key, t(`articles.${key}`)]) },
  { name: 'language', label: t('language'), hint: 'BCP 47: en, de-AT' },
  { name: 'required_fields', label: t('site.required'), type: 'several', options: ['name', 'email', 'website'].map((key) => [key, t(key)]) },
  { name: 'close_after_days', label: t('site.close'), type: 'number', min: 0, max: 36_500 },
  { name: 'privacy_text', label: t('site.privacy'), type: 'long' },
];

/** @param {{id: string}} props */
function Site({ id }) {
  const fresh = id === 'new';
  const { one, end } = useOne(fresh ? '' : `/sites/${id}`);
  const save = async (/** @type {Record<string, unknown>} */ values) => {
    if (fresh) await post('/sites', values);
    else await call('PATCH', `/sites/${id}`, values);
    toast(t('saved'));
    go(to('sites'));
  };
  return html`<${Page} title=${fresh ? t('sites.new') : id}>${!fresh && end}
    ${(fresh || one) && html`<${Form} fields=${fields(fresh)} values=${one ?? { moderation: '', articles: '' }} submit=${save} label=${t('save')} cancel=${() => go(to('sites'))} />`}<//>`;
}

function Sites() {
  const { rows, end } = usePages('/sites', 'sites');
  return html`<${Page} title=${t('view.sites')} add=${to('sites/new')}>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.sites')}><table>
      <thead><tr>${['site', 'name', 'policy', 'moderators'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((site) => html`<tr key=${site.key}><td><a href=${to(`sites/${site.key}`)}>${site.key}</a></td><td>${site.name}</td><td>${t(`policy.${site.moderation}`)}</td>
        <td>${site.moderators.map((/** @type {{name: string}} */ one) => one.name).join(', ')}</td></tr>`)}</tbody></table></div>`}
    ${end}<//>`;
}

/** @param {{id: string}} props */
export const View = ({ id }) => (id ? html`<${Site} key=${id} id=${id} />` : html`<${Sites} />`);
