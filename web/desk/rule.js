// One rule: written, tried over the comments that are there, saved.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { call, Failure, get, post, said } from './api.js';
import { Page, usePages } from './form.js';
import { go, to } from './router.js';
import { session } from './session.js';
import { Simulation } from './simulation.js';
import { toast } from './toast.js';
import { t } from './words.js';

/** @typedef {{on: string, is: string, values: (string | number)[], list?: boolean, not?: boolean, zone?: string}} Condition */
/** @typedef {{name: string, enabled: boolean, match: string, conditions: Condition[], effect: {decide?: string, score?: number}, reason?: string | null}} Draft */

const TEXTS = ['contains_word', 'contains', 'equals', 'matches'], NUMBERS = ['more_than', 'less_than'];
/** What can be looked at, and how (docs/rules.md). @type {Record<string, string[]>} */
const SUBJECTS = {
  anywhere: TEXTS, body: TEXTS, name: TEXTS, email: TEXTS, website: TEXTS, email_domain: ['within'], website_domain: ['within'],
  links: NUMBERS, images: NUMBERS, length: NUMBERS, author: ['new'], author_approved: NUMBERS, author_rejected: NUMBERS,
  author_spam: NUMBERS, language: ['one_of'], address: ['within'], time: ['between'],
};

/** @type {Draft} */
const BLANK = { name: '', enabled: true, match: 'all', conditions: [{ on: 'anywhere', is: 'contains_word', values: [] }], effect: { decide: 'hold' } };

/** @param {Event} event */
const value = (event) => /** @type {HTMLInputElement} */ (event.target).value;

/** @param {{id: string, label: string, value: string | undefined, options: [string, string][], change: (value: string) => void}} props */
const Choice = ({ id, label, value: now, options, change }) => html`<span class="field"><label for=${id}>${label}</label>
  <select id=${id} value=${now} onChange=${(/** @type {Event} */ event) => change(value(event))}>${options.map(([key, text]) => html`<option value=${key} selected=${key === now}>${text}</option>`)}</select></span>`;

/** @param {Condition} condition @param {string} text one value per line */
function values({ is }, text) {
  const lines = text.split('\n').map((line) => line.trim()).filter(Boolean);
  return NUMBERS.includes(is) ? lines.slice(0, 1).map(Number) : lines;
}

/** @param {{at: number, condition: Condition, change: (condition: Condition | null) => void}} props */
function ConditionFields({ at, condition, change }) {
  const [text, setText] = useState(condition.values.join('\n'));
  const { on, is, list, not } = condition;
  const type = (/** @type {string} */ typed) => { setText(typed); change({ ...condition, values: values(condition, typed) }); };
  const pick = (/** @type {string} */ subject) => { setText(''); change({ on: subject, is: SUBJECTS[subject]?.[0] ?? '', values: [] }); };
  const id = `c${at}`;
  return html`<fieldset class="condition"><legend>${t('rule.condition', { n: at + 1 })}</legend>
    <${Choice} id=${`${id}-on`} label=${t('rule.on')} value=${on} options=${Object.keys(SUBJECTS).map((key) => [key, t(`on.${key}`)])} change=${pick} />
    <${Choice} id=${`${id}-is`} label=${t('rule.is')} value=${is} options=${(SUBJECTS[on] ?? []).map((key) => [key, t(`is.${key}`)])} change=${(/** @type {string} */ next) => change({ ...condition, is: next })} />
    ${list ? html`<p class="hint">${t('rule.list')}</p>` : is !== 'new' && html`<span class="field"><label for=${`${id}-values`}>${t('rule.values')}</label>
      ${NUMBERS.includes(is) ? html`<input id=${`${id}-values`} type="number" value=${text} onInput=${(/** @type {Event} */ event) => type(value(event))} required />`
        : html`<textarea id=${`${id}-values`} rows="3" value=${text} onInput=${(/** @type {Event} */ event) => type(value(event))} required aria-describedby=${`${id}-hint`}></textarea><span class="hint" id=${`${id}-hint`}>${t('one.per.line')}</span>`}</span>`}
    ${is === 'between' && html`<span class="field"><label for=${`${id}-zone`}>${t('rule.zone')}</label><input id=${`${id}-zone`} value=${condition.zone ?? 'UTC'} onInput=${(/** @type {Event} */ event) => change({ ...condition, zone: value(event) })} /></span>`}
    <label class="check"><input type="checkbox" checked=${not === true} onChange=${() => change({ ...condition, not: !not })} /> ${t('rule.not')}</label>
    <button type="button" class="quiet" onClick=${() => change(null)}>${t('rule.less')}</button></fieldset>`;
}

/** @param {{draft: Draft, change: (patch: Partial<Draft>) => void}} props */
function Fields({ draft, change }) {
  const { decide, score } = draft.effect;
  const set = (/** @type {number} */ at, /** @type {Condition | null} */ next) =>
    change({ conditions: draft.conditions.flatMap((one, n) => (n === at ? (next ? [next] : []) : [one])) });
  const effects = /** @type {[string, string][]} */ ([...['hold', 'spam', 'reject', 'approve'].map((key) => [key, t(`do.${key}`)]), ['score', t('rule.score')]]);
  return html`
    <span class="field"><label for="rule-name">${t('name')} *</label><input id="rule-name" required maxlength="100" value=${draft.name} onInput=${(/** @type {Event} */ event) => change({ name: value(event) })} /></span>
    <${Choice} id="rule-match" label=${t('rule.match')} value=${draft.match} options=${[['all', t('rule.all')], ['any', t('rule.any')]]} change=${(/** @type {string} */ match) => change({ match })} />
    ${draft.conditions.map((condition, at) => html`<${ConditionFields} key=${`${at} ${condition.on}`} at=${at} condition=${condition} change=${(/** @type {Condition | null} */ next) => set(at, next)} />`)}
    <p><button type="button" onClick=${() => change({ conditions: [...draft.conditions, ...BLANK.conditions] })}>${t('rule.more')}</button></p>
    <${Choice} id="rule-effect" label=${t('rule.effect')} value=${decide ?? 'score'} options=${effects} change=${(/** @type {string} */ next) => change({ effect: next === 'score' ? { score: 1 } : { decide: next } })} />
    ${decide === undefined && html`<span class="field"><label for="rule-score">${t('rule.score')}</label><input id="rule-score" type="number" min="-100" max="100" step="0.01" value=${score} onInput=${(/** @type {Event} */ event) => change({ effect: { score: Number(value(event)) } })} /></span>`}
    <span class="field"><label for="rule-reason">${t('rule.reason')}</label><input id="rule-reason" maxlength="300" value=${draft.reason ?? ''} onInput=${(/** @type {Event} */ event) => change({ reason: value(event) || null })} /></span>
    <label class="check"><input type="checkbox" checked=${draft.enabled} onChange=${() => change({ enabled: !draft.enabled })} /> ${t('rule.enabled')}</label>`;
}

/** A stored rule as it is written. @param {any} stored @returns {Draft} */
const written = ({ name, enabled, match, conditions, effect, reason }) => ({ name, enabled, match, conditions, effect, ...(reason ? { reason } : {}) });

/** @param {{id: string}} props */
export function Rule({ id }) {
  const fresh = id === 'new';
  const admin = session.get().account?.role === 'admin';
  const { rows: sites } = usePages('/sites', 'sites');
  const [draft, setDraft] = useState(/** @type {Draft | null} */ (fresh ? BLANK : null));
  const [site, setSite] = useState(/** @type {string | null} */ (null));
  const [version, setVersion] = useState(0);
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [wrong, setWrong] = useState('');
  useEffect(() => {
    if (!fresh) get(`/moderation/rules/${id}`).then((rule) => { setDraft(written(rule)); setSite(rule.site); setVersion(rule.version); }, (error) => setWrong(said(error)));
  }, [id]);
  useEffect(() => { if (fresh && site === null && !admin && sites[0]) setSite(sites[0].key); }, [sites.length]);
  const tell = (/** @type {unknown} */ error) => setWrong([said(error), ...(error instanceof Failure ? error.faults.map((fault) => `${fault.field}: ${fault.message}`) : [])].join(' '));
  const simulate = async () => {
    setWrong('');
    setFound(null);
    try {
      setFound(await post('/moderation/rules/simulate', { site, rule: fresh ? draft : { ...draft, id } }));
    } catch (error) { tell(error); }
  };
  const save = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      if (fresh) await post('/moderation/rules', { site, ...draft });
      else await call('PATCH', `/moderation/rules/${id}`, { reason: null, ...draft }, { version });
      toast(t('saved'));
      go(to('rules'));
    } catch (error) { tell(error); }
  };
  const places = /** @type {[string, string][]} */ ([...(admin ? [['', t('sites.all')]] : []), ...sites.map((one) => [one.key, one.name])]);
  return html`<${Page} title=${fresh ? t('rules.new') : draft?.name ?? ''}>
    ${draft && html`<form class="form" onSubmit=${save}>
      ${fresh && html`<${Choice} id="rule-site" label=${t('column.site')} value=${site ?? ''} options=${places} change=${(/** @type {string} */ key) => setSite(key || null)} />`}
      <${Fields} draft=${draft} change=${(/** @type {Partial<Draft>} */ patch) => { setFound(null); setDraft({ ...draft, ...patch }); }} />
      ${wrong && html`<p class="note" role="alert">⚠ ${wrong}</p>`}
      <p class="deeds"><button type="button" onClick=${simulate}>${t('rule.try')}</button><button class="primary">${t('save')}</button><a class="button" href=${to('rules')}>${t('cancel')}</a></p>
    </form>`}
    ${found && html`<${Simulation} found=${found} />`}
    ${!draft && !wrong && html`<p class="empty loading">${t('loading')}</p>`}${!draft && wrong && html`<p class="note" role="alert">⚠ ${wrong}</p>`}<//>`;
}
