// Forms and tables for whoever administers: described, not drawn. A fault stands beside its field, as the service said it.
import { html, useEffect, useRef, useState } from './vendor/preact-htm.js';
import { Failure, get, said } from './api.js';
import { announce } from './toast.js';
import { t } from './words.js';

/** @typedef {import('./types.js').Field} Field */

/** @param {Field} field @param {string} id @param {any} value @param {string | undefined} described */
function input(field, id, value, described) {
  const { name, type = 'text', options = [], required, autocomplete, min, max, maxlength, fixed } = field;
  const common = { id, name, required, 'aria-describedby': described, 'aria-invalid': described?.includes('fault') ? 'true' : null };
  if (type === 'choice') {
    return html`<select ...${common}>${options.map(([key, label]) => html`<option value=${key} selected=${key === (value ?? options[0]?.[0])}>${label}</option>`)}</select>`;
  }
  if (type === 'lines' || type === 'long') {
    return html`<textarea ...${common} rows="4" defaultValue=${Array.isArray(value) ? value.join('\n') : value ?? ''}></textarea>`;
  }
  return html`<input ...${common} type=${type} defaultValue=${value ?? ''} readonly=${fixed} autocomplete=${autocomplete ?? 'off'} min=${min} max=${max} maxlength=${maxlength} />`;
}

/** @param {{form: string, field: Field, value: any, fault: string | undefined}} props `form`: a name that no other form has */
function Labelled({ form, field, value, fault }) {
  const { name, label, hint, type, options = [] } = field;
  const id = `${form}-${name}`;
  const said = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(' ') || undefined;
  const notes = html`${hint && html`<span class="hint" id=${`${id}-hint`}>${hint}</span>`}${fault && html`<span class="bad" id=${`${id}-fault`}>⚠ ${fault}</span>`}`;
  if (type === 'flag') {
    return html`<p class="field"><label class="check"><input type="checkbox" name=${name} defaultChecked=${value === true} aria-describedby=${said} /> ${label}</label>${notes}</p>`;
  }
  if (type === 'several') {
    const chosen = new Set(value ?? []);
    return html`<fieldset class="field"><legend>${label}</legend>${options.map(([key, text]) => html`
      <label class="check"><input type="checkbox" name=${name} value=${key} defaultChecked=${chosen.has(key)} /> ${text}</label>`)}${notes}</fieldset>`;
  }
  return html`<p class="field"><label for=${id}>${label}${field.required ? ' *' : ''}</label>${input(field, id, value, said)}${notes}</p>`;
}

/** @param {Field} field @param {FormData} data */
function typed(field, data) {
  const text = String(data.get(field.name) ?? '').trim();
  switch (field.type) {
    case 'flag': return data.has(field.name);
    case 'several': return data.getAll(field.name).map(String);
    case 'lines': return text.split('\n').map((line) => line.trim()).filter(Boolean);
    case 'number': return text === '' ? null : Number(text);
    case 'password': return String(data.get(field.name) ?? '');
    default: return text;
  }
}

/**
 * What changed; fields that were left empty and had nothing in them stay out.
 * @param {Field[]} fields @param {FormData} data @param {Record<string, any>} before
 */
function changes(fields, data, before) {
  /** @type {Record<string, any>} */
  const values = {};
  for (const field of fields) {
    if (field.fixed) continue;
    const value = typed(field, data), old = before[field.name] ?? null;
    const empty = value === '' || value === null || (Array.isArray(value) && value.length === 0);
    if (empty && (old === null || old === '' || (Array.isArray(old) && old.length === 0))) continue;
    if (JSON.stringify(value) === JSON.stringify(old)) continue;
    values[field.name] = value === '' ? null : value;
  }
  return values;
}

/** Forms so far: two on one page have fields of the same names. */
let forms = 0;

/**
 * @param {{fields: Field[], values?: Record<string, any>, submit: (values: any) => Promise<unknown>, label: string,
 * cancel?: () => void, whole?: boolean, children?: any}} props `whole`: everything is sent, not only what changed
 */
export function Form({ fields, values = {}, submit, label, cancel, whole = false, children }) {
  const [name] = useState(() => `form${(forms += 1)}`);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState(/** @type {unknown} */ (null));
  const faults = failure instanceof Failure ? failure.faults : [];
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  useEffect(() => { if (failure) /** @type {HTMLElement | null} */ (form.current?.querySelector('[aria-invalid=true], .note'))?.focus(); }, [failure]);
  const send = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (busy || !form.current) return;
    const data = new FormData(form.current);
    setBusy(true);
    try {
      await submit(whole ? Object.fromEntries(fields.map((field) => [field.name, typed(field, data)])) : changes(fields, data, values));
      setFailure(null);
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };
  const named = new Set(fields.map((field) => field.name));
  const others = faults.filter((fault) => !named.has(fault.field)).map((fault) => fault.message);
  return html`<form class="form" ref=${form} onSubmit=${send} novalidate=${false}>
    ${fields.map((field) => html`<${Labelled} key=${field.name} form=${name} field=${field} value=${values[field.name]} fault=${faults.find((one) => one.field.split(/[.[]/)[0] === field.name)?.message} />`)}
    ${children}
    ${failure !== null && html`<p class="note" role="alert" tabindex="-1">⚠ ${[said(failure), ...others].join(' ')}</p>`}
    <p class="deeds"><button class="primary" disabled=${busy}>${label}</button>${cancel && html`<button type="button" onClick=${cancel}>${t('cancel')}</button>`}</p>
  </form>`;
}

/**
 * A list of the service, page by page.
 * @param {string} path with what it is narrowed to @param {string} noun the key of the list in the answer
 */
export function usePages(path, noun) {
  const [rows, setRows] = useState(/** @type {any[] | null} */ (null));
  const [next, setNext] = useState(/** @type {string | null} */ (null));
  const [failed, setFailed] = useState('');
  const read = async (/** @type {string} */ cursor) => {
    try {
      const answer = await get(`${path}${path.includes('?') ? '&' : '?'}limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
      setRows((last) => (cursor ? [...(last ?? []), ...answer[noun]] : answer[noun]));
      setNext(answer.next_cursor);
      setFailed('');
    } catch (error) {
      setFailed(said(error));
    }
  };
  useEffect(() => { setRows(null); void read(''); }, [path]);
  const end = html`
    ${failed && html`<p class="note" role="alert">⚠ ${failed}</p>`}
    ${rows === null && !failed && html`<p class="empty loading">${t('loading')}</p>`}
    ${rows?.length === 0 && html`<p class="empty">${t('list.empty')}</p>`}
    ${next && html`<p><button type="button" onClick=${() => read(next)}>${t('more')}</button></p>`}`;
  return { rows: rows ?? [], end, again: () => read('') };
}

/** One thing of the service, read when it is needed. @param {string} path empty: nothing */
export function useOne(path) {
  const [one, setOne] = useState(/** @type {any} */ (null));
  const [failed, setFailed] = useState('');
  useEffect(() => {
    setOne(null);
    setFailed('');
    if (path) get(path).then(setOne, (error) => setFailed(said(error)));
  }, [path]);
  return { one, set: setOne, end: failed ? html`<p class="note" role="alert">⚠ ${failed}</p>` : one ? null : html`<p class="empty loading">${t('loading')}</p>` };
}

/** @param {{title: string, add?: string, children?: any}} props */
export const Page = ({ title, add, children }) => html`<div class="page"><header class="head"><h1>${title}</h1>${add && html`<a class="button primary" href=${add}>${t('add')}</a>`}</header>${children}</div>`;

/** Something that is shown once, to be copied. @param {{text: string, label: string}} props */
export function Secret({ text, label }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => place.current?.focus(), [text]);
  const copy = () => navigator.clipboard?.writeText(text).then(() => announce(t('copied')), () => {});
  return html`<section class="secret" tabindex="-1" ref=${place} aria-label=${label}><p>${label}</p>
    <pre>${text}</pre><button type="button" onClick=${copy}>${t('copy')}</button></section>`;
}

/**
 * A part of `passkeys.js`, where the service and the browser know passkeys: only then is it loaded.
 * @param {{part: 'SignIn' | 'Own'}} props
 */
export function Passkeys({ part }) {
  const [found, setFound] = useState(/** @type {any} */ (null));
  useEffect(() => {
    if ('parseRequestOptionsFromJSON' in (window.PublicKeyCredential ?? {})) {
      get('/session/passkey').then(({ offered }) => offered && import('./passkeys.js').then((all) => setFound(() => all[part]))).catch(() => {});
    }
  }, []);
  return found && html`<${found} />`;
}
