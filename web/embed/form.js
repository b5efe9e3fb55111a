// @ts-check
/** The form: fields with their faults, a draft, sending, and what is said while it waits. */
import { dress } from './fields.js';
import { ask, button, h, keep, kept } from './kit.js';

/**
 * @typedef {import('./thread.js').Thread} Thread
 * @typedef {import('./kit.js').Comment} Comment
 */

/** What the service calls faults, and what we say. @type {Record<string, import('./kit.js').TextName>} */
const FAULTS = { required: 'required', too_long: 'tooLong', too_short: 'tooShort', invalid_email: 'badEmail', invalid_url: 'badUrl', illegal_character: 'badCharacter' };

const SHOWN = /** @type {const} */ (['name', 'email', 'body', 'website']);

/** Seconds until a form that found no connection tries again by itself. */
const AGAIN = 5;

/** The form at the end of the list, or under a comment. @param {Thread} thread @param {Comment} [parent] @returns {HTMLFormElement} */
export function form(thread, parent) {
  dress(thread);
  return new Form(thread, parent).element;
}

class Form {
  /** @param {Thread} thread @param {Comment} [parent] */
  constructor(thread, parent) {
    this.thread = thread;
    this.parent = parent;
    this.id = parent?.id ?? 'end';
    this.draft = `draft:${thread.api}:${thread.article}:${this.id}`;
    /** What was sent last: the same again has the same key, so that it is taken once. @type {{text: string, json: string, key: string} | null} */
    this.attempt = null;
    this.waits = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.element = this.draw();
    this.fillIn();
  }

  draw() {
    const { thread, parent, id } = this;
    const say = thread.words.say.bind(thread.words);
    const privacy = thread.rules.texts?.privacy;
    const ours = !privacy || privacy.startsWith('Your email address will not be published.');
    this.status = h('p.status', { role: 'status', part: 'status' });
    this.length = h('span', { 'aria-hidden': 'true' });
    this.shown = h('div', { 'aria-live': 'polite' });
    this.button = h('button.primary', { class: 'primary submit', part: 'submit' }, say('submit'));
    return h('form', { part: 'form', novalidate: true, 'aria-labelledby': `write-${id}`, oninput: () => this.typed(), onsubmit: (/** @type {Event} */ event) => this.submit(event), onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && this.submit(event) },
      h('h3', { id: `write-${id}` }, parent ? say('replyTo', { name: parent.name }) : say('write')),
      h('div.pair', null, this.field('name', { autocomplete: 'name' }), this.field('email', { type: 'email', autocomplete: 'email' })),
      h('slot', { name: 'policy' }, h('p.muted', null, ours ? say('privacy') : privacy)),
      this.field('body', {}, h('div.foot', null, button(say('preview'), () => thread.act('preview', this)), this.length), this.shown),
      this.field('website', { type: 'url', autocomplete: 'url' }),
      h('label.check', null, h('input', { type: 'checkbox', name: 'notify' }), say('notify')),
      h('div.trap', { 'aria-hidden': 'true' }, h('label', null, 'Company', h('input', { name: 'company', tabindex: -1, autocomplete: 'off' }))),
      this.status, this.button, ' ', parent && button(say('cancel'), () => this.close()),
      !parent && thread.me.name && button(say('forget'), () => thread.act('forget', this)),
      !parent && h('p.own', null, h('a', { href: thread.api.replace(/api\/v1\/sites\/(.+)\/$/, 'me/$1') }, say('yourData'))));
  }

  /** @param {typeof SHOWN[number]} name @param {Record<string, unknown>} attributes @param {...Node} more */
  field(name, attributes, ...more) {
    const id = `${name}-${this.id}`;
    const required = this.rule(name)?.required ?? name !== 'website';
    const input = h(name === 'body' ? 'textarea' : 'input', { id, name, part: 'field', 'aria-required': required && 'true', ...attributes });
    return h('div.field', null, h('label', { for: id }, this.thread.say(name), required ? ' *' : ''), input, h('p.fault', { id: `${id}-fault`, hidden: true }), ...more);
  }

  /** What the service asks of a field. @param {string} name */
  rule(name) {
    return this.thread.rules.fields?.find((/** @type {{name: string}} */ field) => field.name === name);
  }

  /** @param {string} name @returns {HTMLInputElement} */
  input(name) {
    return /** @type {HTMLInputElement} */ (this.element.elements.namedItem(name));
  }

  /** What was typed before and not sent; who wrote here before. */
  fillIn() {
    const { me } = this.thread;
    const values = { ...me, ...kept(this.draft) };
    for (const name of SHOWN) this.input(name).value = values[name] ?? '';
    this.count();
  }

  count() {
    const length = [...this.input('body').value.trim()].length;
    const most = this.rule('body')?.max_length ?? 10_000;
    const { numbers } = this.thread.words;
    this.length.textContent = length ? `${numbers.format(length)} / ${numbers.format(most)}` : '';
    this.length.className = length > most ? 'bad' : '';
  }

  typed() {
    this.count();
    keep(this.draft, Object.fromEntries(SHOWN.map((name) => [name, this.input(name).value])));
  }

  /** @param {Event} event */
  submit(event) {
    event.preventDefault();
    if (!this.waits) void this.send();
  }

  /** What is sent, as text: the same as before when nothing was changed. */
  written() {
    const { thread } = this;
    /** @type {Record<string, unknown>} */
    const fields = { article: thread.article };
    for (const name of [...SHOWN, 'company']) fields[name] = this.input(name).value || undefined;
    if (this.input('notify').checked) fields.notify = true;
    if (this.parent) fields.parent_id = this.parent.id;
    fields.article_title = document.title.slice(0, 300) || undefined;
    fields.article_url = location.href.replace(/#.*/, '').slice(0, 2048);
    const text = JSON.stringify(fields);
    if (this.attempt?.text !== text) {
      const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join('');
      this.attempt = { text, key, json: JSON.stringify({ ...fields, form_token: thread.rules.form_token }) };
    }
    return this.attempt;
  }

  /** @returns {Promise<void>} */
  async send() {
    clearTimeout(this.timer);
    const { json, key } = this.written();
    this.wait(this.thread.say('sending'));
    const answer = await ask(`${this.thread.api}comments`, { method: 'POST', body: json, token: this.thread.me.token, key }).catch(() => null);
    this.wait(null);
    if (!answer || answer.status === 503) return this.later(answer?.wait || AGAIN);
    if (answer.ok) return this.done(answer.data);
    this.thread.tell('error', { code: answer.data?.code });
    if (answer.status === 401 && this.thread.me.token) {
      this.thread.remember({ token: undefined });
      return this.send();
    }
    if (answer.status === 429) return this.limited(answer.wait);
    this.refused(answer.data ?? {});
  }

  /** Says that it waits; null: no longer. @param {string | null} text */
  wait(text) {
    this.waits = text !== null;
    this.button.setAttribute('aria-disabled', String(this.waits));
    this.tell(text ?? '');
  }

  /** @param {string} text @param {string} [kind] */
  tell(text, kind = '') {
    this.status.className = `status ${kind}`;
    this.status.textContent = text;
  }

  /** No connection: it goes out when there is one, and every few seconds it is tried. @param {number} seconds */
  later(seconds) {
    this.thread.tell('error', { code: 'offline' });
    this.tell(this.thread.say('offline'), 'bad');
    const again = () => {
      removeEventListener('online', again);
      clearTimeout(this.timer);
      if (this.element.isConnected) void this.send();
    };
    addEventListener('online', again);
    this.timer = setTimeout(again, seconds * 1000);
  }

  /** Counts down until it may be sent. @param {number} seconds */
  limited(seconds) {
    const end = Date.now() + seconds * 1000;
    // Read aloud once, not every second.
    this.status.setAttribute('role', 'timer');
    const tick = () => {
      const n = Math.ceil((end - Date.now()) / 1000);
      if (n > 0) {
        this.wait(this.thread.say('limited', { n }));
        this.timer = setTimeout(tick, 250);
        return;
      }
      this.status.setAttribute('role', 'status');
      this.wait(null);
      this.tell(this.thread.say('ready'));
    };
    tick();
  }

  /** Shows what is wrong where it is wrong. @param {any} problem */
  refused(problem) {
    const errors = /** @type {{field: string, code: string, message: string}[]} */ (problem.errors ?? []);
    if (problem.code === 'idempotency_key_reused') this.attempt = null;
    const text = problem.code === 'duplicate_comment' ? 'duplicate' : problem.code === 'closed' ? 'closed' : errors.length ? 'check' : 'failed';
    const elsewhere = errors.filter(({ field }) => !SHOWN.some((name) => name === field)).map(({ message }) => message);
    this.tell([this.thread.say(text), ...elsewhere].join(' '), 'bad');
    this.mark(errors);
  }

  /** @param {{field: string, code: string, message: string}[]} errors */
  mark(errors) {
    /** @type {HTMLElement | undefined} */
    let first;
    for (const name of SHOWN) {
      const input = this.input(name);
      const fault = /** @type {HTMLElement} */ (this.element.querySelector(`[id="${input.id}-fault"]`));
      const error = errors.find(({ field }) => field === name);
      fault.hidden = !error;
      fault.textContent = error ? (FAULTS[error.code] ? this.thread.say(FAULTS[error.code]) : error.message) : '';
      for (const [key, value] of [['aria-invalid', 'true'], ['aria-describedby', fault.id]]) error ? input.setAttribute(key, value) : input.removeAttribute(key);
      if (error) first ??= input;
    }
    first?.focus();
  }

  /** @param {{comment: Comment, status: string, author_token: string, editable_until: string}} taken */
  done({ comment, status, author_token, editable_until }) {
    const { thread } = this;
    const pending = status === 'pending';
    keep(this.draft, null);
    this.attempt = null;
    const [name, email, website] = ['name', 'email', 'website'].map((field) => this.input(field).value);
    thread.remember({ name, email, website, token: author_token, own: { ...thread.me.own, [comment.id]: { article: thread.article, until: editable_until } } });
    this.mark([]);
    this.shown.replaceChildren();
    this.input('body').value = '';
    this.count();
    if (pending) thread.waiting.push({ ...comment, status: 'pending' });
    thread.place(pending ? { ...comment, status: 'pending' } : comment);
    if (!pending) thread.setCount(thread.count + 1);
    this.tell(thread.say(pending ? 'pending' : 'published'), 'good');
    thread.tell('submitted', { id: comment.id, status });
    if (this.parent) this.close(this.status);
  }

  /** Goes from under a comment; what was said last stays. @param {Node} [last] */
  close(last) {
    clearTimeout(this.timer);
    const li = this.element.closest('li');
    this.element.replaceWith(...(last ? [last] : []));
    /** @type {HTMLElement | null} */ (li?.querySelector('.quiet'))?.focus();
  }
}
