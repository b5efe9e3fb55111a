// Accounts: who may moderate what, how they are told, and the invitation by mail.
import { html } from './vendor/preact-htm.js';
import { call, post, said } from './api.js';
import { Form, Page, useOne, usePages } from './form.js';
import { go, to } from './router.js';
import { toast } from './toast.js';
import { t } from './words.js';

/** @param {{key: string, name: string}[]} sites @param {boolean} fresh @returns {import('./types.js').Field[]} */
const fields = (sites, fresh) => [
  { name: 'email', label: t('email'), type: 'email', required: true },
  { name: 'name', label: t('name'), maxlength: 100 },
  { name: 'role', label: t('role'), type: 'choice', options: [['moderator', t('role.moderator')], ['admin', t('role.admin')]] },
  { name: 'sites', label: t('account.sites'), type: 'several', options: sites.map((site) => [site.key, site.name]), hint: t('account.sites.hint') },
  { name: 'mail', label: t('account.mail'), type: 'choice', options: ['each', 'digest', 'none'].map((key) => [key, t(`mail.${key}`)]) },
  ...(fresh ? [] : [{ name: 'disabled', label: t('account.disabled'), type: 'flag' }]),
];

/** @param {{id: string}} props */
function Account({ id }) {
  const fresh = id === 'new';
  const { one, end } = useOne(fresh ? '' : `/accounts/${id}`);
  const { rows: sites } = usePages('/sites', 'sites');
  const save = async (/** @type {Record<string, unknown>} */ values) => {
    if (fresh) {
      const made = await post('/accounts', values);
      await post(`/accounts/${made.id}/invite`).then(() => toast(t('account.invited')), (error) => toast(said(error), { bad: true }));
    } else {
      await call('PATCH', `/accounts/${id}`, values);
      toast(t('saved'));
    }
    go(to('accounts'));
  };
  const invite = () => post(`/accounts/${id}/invite`).then(() => toast(t('account.invited')), (error) => toast(said(error), { bad: true }));
  const values = one ? { ...one, disabled: one.disabled_at !== null } : {};
  return html`<${Page} title=${fresh ? t('accounts.new') : one?.name ?? ''}>${!fresh && end}
    ${(fresh || one) && sites.length > 0 && html`<${Form} fields=${fields(sites, fresh)} values=${values} submit=${save} label=${fresh ? t('account.invite') : t('save')} cancel=${() => go(to('accounts'))} />`}
    ${one && html`<p><button type="button" onClick=${invite}>${t('account.invite.again')}</button></p>`}<//>`;
}

function Accounts() {
  const { rows, end } = usePages('/accounts', 'accounts');
  return html`<${Page} title=${t('view.accounts')} add=${to('accounts/new')}>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.accounts')}><table>
      <thead><tr>${['name', 'email', 'role', 'sites', 'mail'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((account) => html`<tr key=${account.id}><td><a href=${to(`accounts/${account.id}`)}>${account.name}</a>${account.disabled_at && html` <span class="muted">(${t('account.disabled.short')})</span>`}</td>
        <td>${account.email}</td><td>${t(`role.${account.role}`)}</td><td>${account.role === 'admin' ? t('sites.all') : account.sites.join(', ')}</td><td>${t(`mail.${account.mail}`)}</td></tr>`)}</tbody></table></div>`}
    ${end}<//>`;
}

/** @param {{id: string}} props */
export const View = ({ id }) => (id ? html`<${Account} key=${id} id=${id} />` : html`<${Accounts} />`);
