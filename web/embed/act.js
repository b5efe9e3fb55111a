// @ts-check
/** What is done seldom: votes, reports, changing and deleting one's own comment, a preview. */
import { fill } from './comment.js';
import { dress } from './fields.js';
import { ask, button, h, safe } from './kit.js';
import { take } from './live.js';

/**
 * @typedef {import('./thread.js').Thread} Thread
 * @typedef {import('./comment.js').Item} Item
 * @typedef {'vote' | 'flag' | 'edit' | 'remove' | 'preview' | 'forget' | 'fold'} Deed
 */

/** What can be done, by its name. @type {Record<Deed, (thread: Thread, ...what: any[]) => unknown>} */
const DEEDS = { vote, flag, edit, remove, preview, forget, fold };

/** @param {Thread} thread @param {Deed} name @param {any[]} what */
export function act(thread, name, what) {
  dress(thread);
  return DEEDS[name](thread, ...what);
}

/** Seconds in which a deletion can be taken back. */
const UNDO = 10;

/** @param {Thread} thread @param {string} id */
const address = (thread, id) => `${thread.api}../../comments/${id}`;

/** The place for what opens under a comment. @param {Item} li @returns {HTMLElement} */
const under = (li) => /** @type {HTMLElement} */ (li.querySelector('.under'));

/** A line that is read aloud. @param {string} text @param {...Node} more */
const line = (text, ...more) => h('p.status', { role: 'status' }, text, ' ', ...more);

/** What the service says of a request that it did not take. @param {Thread} thread @param {import('./kit.js').Answer | null} answer */
const trouble = (thread, answer) =>
  answer?.status === 429 ? thread.say('limited', { n: answer.wait }) : answer?.data?.errors?.[0]?.message ?? thread.say(answer ? 'failed' : 'offline');

/**
 * Votes, or takes the vote back.
 * @param {Thread} thread @param {Item} li @param {1 | -1} value
 */
async function vote(thread, li, value) {
  const { id } = li.comment;
  const now = thread.me.votes?.[id] === value ? 0 : value;
  const answer = await ask(`${address(thread, id)}/vote`, { method: 'PUT', body: { value: now } }).catch(() => null);
  if (!answer?.ok) return refuseVotes(thread, li, answer);
  // The newest two hundred are remembered.
  const votes = Object.entries({ ...thread.me.votes, [id]: now }).slice(-200);
  thread.remember({ votes: Object.fromEntries(votes) });
  const focused = [...li.querySelectorAll('.vote')].indexOf(/** @type {Element} */ (thread.host.shadowRoot?.activeElement));
  fill(thread, li, { ...li.comment, votes: answer.data.votes });
  /** @type {HTMLElement | undefined} */ (li.querySelectorAll('.vote')[focused])?.focus();
  thread.tell('voted', { id, value: now });
}

/** Votes that are taken no longer, on the site or on an article that is read-only, are not offered either. @param {Thread} thread @param {Item} li @param {import('./kit.js').Answer | null} answer */
function refuseVotes(thread, li, answer) {
  if (answer?.status === 403 || answer?.data?.code === 'closed') {
    thread.voteless = true;
    thread.items.forEach((item) => fill(thread, item, item.comment));
  } else {
    under(li).replaceChildren(line(trouble(thread, answer)));
  }
}

/** Hides the replies below a comment, or shows them again. @param {Thread} thread @param {Item} li @param {HTMLElement} toggle */
function fold(thread, li, toggle) {
  const hidden = toggle.getAttribute('aria-expanded') === 'true';
  for (const below of thread.below(li)) below.hidden = hidden;
  toggle.setAttribute('aria-expanded', String(!hidden));
  toggle.textContent = thread.say(hidden ? 'show' : 'hide', { n: li.comment.reply_count });
}

/**
 * Reports a comment to the moderators.
 * @param {Thread} thread @param {Item} li
 */
function flag(thread, li) {
  const { id } = li.comment;
  const choices = /** @type {const} */ (['spam', 'abuse', 'other']).map((reason, n) =>
    h('label.check', null, h('input', { type: 'radio', name: 'reason', value: reason, checked: n === 0 }), thread.say(reason)));
  const note = h('input', { name: 'note', id: `note-${id}`, maxlength: 500 });
  panel(thread, li, async (fields) => {
    const body = { reason: fields.get('reason'), note: fields.get('note') || undefined };
    const answer = await ask(`${address(thread, id)}/flags`, { method: 'POST', body }).catch(() => null);
    if (!answer?.ok) return trouble(thread, answer);
    under(li).replaceChildren(line(thread.say('flagged')));
    thread.tell('flagged', { id });
  }, 'send', h('fieldset', null, h('legend', null, thread.say('flagWhy')), ...choices),
  h('div.field', null, h('label', { for: `note-${id}` }, thread.say('note')), note));
}

/**
 * Opens the author's text for a change.
 * @param {Thread} thread @param {Item} li
 */
async function edit(thread, li) {
  const { id } = li.comment;
  const { token } = thread.me;
  const own = await ask(address(thread, id), { token }).catch(() => null);
  if (!own?.ok) return under(li).replaceChildren(line(trouble(thread, own)));
  const text = h('textarea', { name: 'body', id: `edit-${id}` });
  text.value = own.data.pending_edit?.body ?? own.data.body;
  panel(thread, li, async (fields) => {
    const answer = await ask(address(thread, id), { method: 'PATCH', body: { body: fields.get('body') }, token }).catch(() => null);
    if (!answer?.ok) return trouble(thread, answer);
    const waits = answer.status === 202;
    fill(thread, li, answer.data);
    if (waits) under(li).replaceChildren(line(thread.say('editWaits')));
    thread.tell('edited', { id, status: waits ? 'pending' : answer.data.status });
  }, 'save', h('div.field', null, h('label', { for: `edit-${id}` }, thread.say('body')), text));
}

/**
 * A small form under a comment. `done` answers with a sentence when it did not work.
 * @param {Thread} thread @param {Item} li @param {(fields: FormData) => Promise<string | void>} done
 * @param {...any} content the name of the button's text, then what stands above it
 */
function panel(thread, li, done, ...content) {
  const [name, ...fields] = content;
  const status = line('');
  const close = () => {
    under(li).replaceChildren();
    /** @type {HTMLElement | null} */ (li.querySelector('.quiet'))?.focus();
  };
  const form = h('form', { onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    const wrong = await done(new FormData(form));
    if (wrong) status.replaceChildren(wrong);
  }, onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === 'Escape' && close() },
  ...fields, status, h('button.primary', null, thread.say(name)), ' ', button(thread.say('cancel'), close));
  under(li).replaceChildren(form);
  form.querySelector('input, textarea').focus();
}

/**
 * Deletes the author's comment when nobody took it back for a while, or the page is left.
 * @param {Thread} thread @param {Item} li
 */
function remove(thread, li) {
  const { comment } = li;
  const token = thread.me.token;
  const stop = new AbortController();
  const gone = async () => {
    stop.abort();
    const answer = await ask(address(thread, comment.id), { method: 'DELETE', token }).catch(() => null);
    if (answer?.status !== 204 && answer?.status !== 404) {
      fill(thread, li, comment);
      return under(li).replaceChildren(line(trouble(thread, answer)));
    }
    const { [comment.id]: _, ...own } = thread.me.own ?? {};
    thread.remember({ own });
    thread.waiting = thread.waiting.filter(({ id }) => id !== comment.id);
    if (comment.status !== 'pending') thread.setCount(thread.count - 1);
    take(thread, comment.id);
    thread.tell('deleted', { id: comment.id });
  };
  const timer = setTimeout(gone, UNDO * 1000);
  addEventListener('pagehide', () => void gone(), { signal: stop.signal });
  const undo = button(thread.say('undo'), () => {
    clearTimeout(timer);
    stop.abort();
    fill(thread, li, comment);
    /** @type {HTMLElement | null} */ (li.querySelector('.quiet'))?.focus();
  });
  const article = /** @type {HTMLElement} */ (li.querySelector('article'));
  article.replaceChildren(h('div.gone', null, line(thread.say('deleted'), undo)));
  undo.focus();
}

/**
 * Shows a text as readers would see it.
 * @param {Thread} thread @param {{input: (name: string) => HTMLInputElement, shown: HTMLElement}} form
 */
async function preview(thread, form) {
  const body = form.input('body').value;
  if (!body.trim()) return form.input('body').focus();
  const answer = await ask(`${thread.api}preview`, { method: 'POST', body: { body } }).catch(() => null);
  form.shown.replaceChildren(answer?.ok ? safe(answer.data.body_html) : line(trouble(thread, answer)));
}

/** Forgets on this device who writes here. @param {Thread} thread @param {{fillIn: () => void}} form */
function forget(thread, form) {
  thread.remember({ name: undefined, email: undefined, website: undefined });
  form.fillIn();
}
