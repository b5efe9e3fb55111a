// @ts-check
/** What happens after the list stands: reactions to the article, and comments of others while they arrive. */
import { fill } from './comment.js';
import { ask, button, h } from './kit.js';

/**
 * @typedef {import('./thread.js').Thread} Thread
 * @typedef {import('./kit.js').Comment} Comment
 */

/** Signs of reactions that have one. @type {Record<string, string>} */
const SIGNS = { like: '♥', love: '♥', laugh: '😄', wow: '😮', sad: '😢', angry: '😠', thanks: '🙏', useful: '💡' };

/** @param {Thread} thread */
export function live(thread) {
  if (!thread.liked.hidden) void reactions(thread);
  const ages = () => thread.list.querySelectorAll('time').forEach((/** @type {HTMLTimeElement} */ time) => {
    time.textContent = thread.words.when(time.dateTime);
  });
  const timer = setInterval(ages, 60_000);
  thread.host.addEventListener('afterword:left', () => clearInterval(timer), { once: true });
  if (thread.host.getAttribute('live') !== 'none') new Stream(thread).follow();
}

/** Takes a comment away; where others answered, it leaves a word. @param {Thread} thread @param {string} id */
export function take(thread, id) {
  const li = thread.items.get(id);
  if (!li) return;
  if (thread.below(li).length) return void fill(thread, li, { ...li.comment, removed: true });
  li.remove();
  thread.items.delete(id);
}

/** @param {Thread} thread */
async function reactions(thread) {
  const address = `${thread.api}reactions?article=${encodeURIComponent(thread.article)}`;
  /** @param {import('./kit.js').Answer | null} answer */
  const show = (answer) => {
    if (!answer?.ok || !Object.keys(answer.data.reactions).length) return thread.liked.replaceChildren();
    const focused = thread.liked.querySelector(':focus')?.dataset.name;
    const { yours } = answer.data;
    const buttons = Object.entries(answer.data.reactions).map(([name, n]) => {
      const word = name in thread.words.texts ? thread.say(/** @type {'like'} */ (name)) : name;
      const react = async () => {
        const reaction = name === yours ? null : name;
        const told = await ask(address, { method: 'PUT', body: { reaction } }).catch(() => null);
        if (!told?.ok) return;
        show(told);
        thread.tell('reacted', { reaction });
      };
      return button(`${SIGNS[name] ?? ''} ${word} ${n ? thread.words.numbers.format(Number(n)) : ''}`, react, { 'aria-pressed': String(name === yours), 'data-name': name, part: 'reaction' });
    });
    thread.liked.replaceChildren(h('span', null, thread.say('liked')), ...buttons);
    buttons.find(({ dataset }) => dataset.name === focused)?.focus();
  };
  show(await ask(address).catch(() => null));
}

/** The stream of an article. It is open while the page is seen: browsers have few connections for each server. */
class Stream {
  /** @param {Thread} thread */
  constructor(thread) {
    this.thread = thread;
    /** Comments that came and are not shown yet. @type {Map<string, Comment>} */
    this.arrived = new Map();
    /** @type {EventSource | null} */
    this.source = null;
  }

  follow() {
    const seen = () => (document.hidden ? this.close() : this.open());
    document.addEventListener('visibilitychange', seen);
    this.thread.host.addEventListener('afterword:left', () => {
      document.removeEventListener('visibilitychange', seen);
      this.close();
    }, { once: true });
    seen();
  }

  open() {
    if (this.source) return;
    const { api, article } = this.thread;
    this.source = new EventSource(`${api}stream?article=${encodeURIComponent(article)}`);
    this.source.onopen = () => void this.catchUp();
    const on = (/** @type {string} */ name, /** @type {(data: any) => void} */ what) =>
      this.source?.addEventListener(name, (event) => what(JSON.parse(/** @type {MessageEvent} */ (event).data)));
    on('published', (comment) => this.published(comment));
    on('changed', (comment) => this.changed(comment));
    on('removed', ({ id }) => this.removed(id));
    on('reset', () => void this.catchUp());
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  /** What was missed while nobody listened: a list that has grown is to be loaded anew. */
  async catchUp() {
    const { thread } = this;
    const answer = await thread.page('&limit=1');
    const grown = (answer?.data?.article?.comment_count ?? 0) - thread.count - this.arrived.size;
    if (grown > 0) this.tell(grown, () => void thread.load());
  }

  /** @param {Comment} comment */
  published(comment) {
    const { thread } = this;
    const there = thread.items.get(comment.id);
    if (there && there.comment.status !== 'pending' && !there.comment.removed) return this.changed(comment);
    thread.tell('published', { id: comment.id });
    if (there) {
      // One's own, or one that came back.
      fill(thread, there, comment);
      return thread.setCount(thread.count + 1);
    }
    this.arrived.set(comment.id, comment);
    this.tell(this.arrived.size, () => this.show());
  }

  /** @param {Comment} comment */
  changed(comment) {
    const there = this.thread.items.get(comment.id);
    if (this.arrived.has(comment.id)) this.arrived.set(comment.id, comment);
    // Not under the hands of somebody who writes there.
    if (there && !there.querySelector('form')) fill(this.thread, there, comment);
  }

  /** @param {string} id */
  removed(id) {
    const { thread } = this;
    if (this.arrived.delete(id)) return this.tell(this.arrived.size, () => this.show());
    const there = thread.items.get(id);
    if (!there || there.comment.removed || there.comment.status === 'pending') return;
    take(thread, id);
    thread.setCount(thread.count - 1);
  }

  /** Offers what came; nothing moves before somebody asks for it. @param {number} n @param {() => void} show */
  tell(n, show) {
    const { thread } = this;
    const offer = button(`${thread.say('arrived', { n })} · ${thread.say('showNew')}`, () => {
      thread.notice.replaceChildren();
      show();
    }, { part: 'notice' });
    thread.notice.replaceChildren(...(n ? [offer] : []));
  }

  show() {
    const [first] = this.arrived.keys();
    for (const comment of this.arrived.values()) this.thread.place(comment);
    this.thread.setCount(this.thread.count + this.arrived.size);
    this.arrived.clear();
    this.thread.go(first);
  }
}
