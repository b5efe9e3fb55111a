// @ts-check
/** The comments of one article: the list, its order, its pages, permalinks; and whatever is done there. */
import { fill, item } from './comment.js';
import { ask, button, h, hashed, keep, kept, Words } from './kit.js';
import { sheet } from './style.js';

/**
 * @typedef {import('./kit.js').Comment} Comment
 * @typedef {import('./kit.js').Answer} Answer
 * @typedef {import('./comment.js').Item} Item
 * @typedef {HTMLElement & {api: string, article: string, language: string}} Host
 * @typedef {{token?: string, name?: string, email?: string, website?: string,
 *   own?: Record<string, {article: string, until: string}>, votes?: Record<string, number>}} Me
 */

/** What is as near to the window as that, in pixels, is loaded. */
const NEAR = 600;

/** @param {Element} element @param {() => unknown} then once */
function near(element, then) {
  const seen = new IntersectionObserver(([{ isIntersecting }]) => {
    if (!isIntersecting) return;
    seen.disconnect();
    then();
  }, { rootMargin: `${NEAR}px` });
  seen.observe(element);
  return seen;
}

export class Thread {
  /**
   * @param {Host} host
   * @param {{sort: string, list: Promise<Answer | null>, form: Promise<Answer | null>}} early what was asked for already
   */
  constructor(host, early) {
    this.host = host;
    this.api = host.api;
    this.article = host.article;
    this.early = early;
    this.sort = early.sort;
    /** Levels of a thread; a deeper answer is refused by the service. */
    this.levels = Number(host.getAttribute('levels')) || 5;
    this.voteless = host.getAttribute('votes') === 'none';
    this.closed = false;
    this.count = 0;
    /** @type {string | null} */
    this.next = null;
    /** @type {Map<string, Item>} */
    this.items = new Map();
    /** What this device knows of its person on this site. @type {Me} */
    this.me = kept(this.api) ?? {};
    /** What the service says of the form. @type {any} */
    this.rules = null;
    /** The visitor's own, which others do not see. @type {Comment[]} */
    this.waiting = [];
    this.title = h('h2', { part: 'heading', id: 'title' });
    this.liked = h('div.liked', { part: 'reactions', hidden: host.getAttribute('reactions') === 'none' });
    this.orders = h('div');
    this.notice = h('div.notice', { role: 'status' });
    this.list = h('ol.list', { part: 'list', role: 'list' });
    this.hint = h('p.empty', { part: 'empty' });
    this.end = h('div.end');
    this.earlier = button('', () => this.load());
    this.later = button('', () => this.more(), { part: 'more' });
    /** Known before anything is shown. */
    this.words = /** @type {Words} */ (/** @type {unknown} */ (null));
  }

  async start() {
    const own = Object.values(this.me.own ?? {}).some(({ article }) => article === this.article);
    const mine = own ? import('./own.js').then(({ waiting }) => waiting(this)) : [];
    const [words, form, list, waiting] = await Promise.all([Words.of(this.host.language), this.early.form, this.early.list, mine]);
    this.words = words;
    this.rules = form?.data ?? {};
    this.voteless ||= this.rules.votes === false;
    this.waiting = waiting;
    this.draw();
    // A permalink whose comment is gone leads to the list as it begins.
    this.fillList(list?.status === 404 ? await this.page() : list);
    await this.showForm();
    this.settle();
    this.listen();
  }

  /** @param {import('./kit.js').TextName} name @param {Record<string, string | number>} [values] */
  say(name, values) {
    return this.words.say(name, values);
  }

  /** Tells the page what happened. @param {string} name @param {Record<string, unknown>} detail */
  tell(name, detail) {
    const event = new CustomEvent(`afterword:${name}`, { bubbles: true, composed: true, detail: { article: this.article, ...detail } });
    this.host.dispatchEvent(event);
  }

  /** The frame around the list. */
  draw() {
    const root = /** @type {ShadowRoot} */ (this.host.shadowRoot);
    const { language } = this.words;
    this.earlier.textContent = this.say('all');
    this.later.textContent = this.say('more');
    root.adoptedStyleSheets = [sheet];
    root.replaceChildren(h('section', { part: 'section', 'aria-labelledby': 'title', lang: language, dir: language === 'ar' ? 'rtl' : null },
      this.liked, h('div.head', null, h('slot', { name: 'heading' }, this.title), this.orders),
      this.notice, this.earlier, this.list, this.hint, this.later, this.end));
  }

  /** Asks for a page of the list. @param {string} [more] of the query @returns {Promise<Answer | null>} */
  page(more = '') {
    const sort = this.sort === 'oldest' ? '' : `&sort=${this.sort}`;
    return ask(`${this.api}comments?article=${encodeURIComponent(this.article)}${sort}${more}`).catch(() => null);
  }

  /** Shows the list anew. @param {string} [around] */
  async load(around) {
    const answer = await this.page(around && `&around=${around}`);
    if (answer?.status === 404 && around) return;
    this.fillList(answer, around ?? null);
    if (!around) /** @type {HTMLElement} */ (this.list.querySelector('article'))?.focus({ preventScroll: true });
  }

  /** @param {Answer | null} answer @param {string | null} [around] */
  fillList(answer, around = hashed()) {
    this.items.clear();
    this.list.replaceChildren();
    if (!answer?.ok) return void this.fail(answer);
    const { article, comments } = answer.data;
    this.closed = article.closed;
    this.append(answer.data);
    for (const comment of this.waiting) this.place(comment);
    this.setCount(article.comment_count);
    this.earlier.hidden = !around || !this.items.has(around) || comments.length >= article.comment_count;
    const orders = /** @type {const} */ (['oldest', 'newest', 'top']).map((sort) => button(this.say(sort), () => {
      this.sort = sort;
      return this.load();
    }, { 'aria-pressed': String(sort === this.sort) }));
    this.orders.replaceChildren(...(article.comment_count > 1 ? orders : []));
    if (around) this.go(around);
    this.tell('loaded', { count: article.comment_count });
  }

  /** @param {any} page */
  append({ comments, next_cursor }) {
    for (const comment of comments) {
      this.items.get(comment.id)?.remove();
      const li = item(this, comment);
      this.items.set(comment.id, li);
      this.list.append(li);
    }
    this.next = next_cursor;
    this.later.hidden = !next_cursor;
  }

  /** The list did not come. @param {Answer | null} answer */
  fail(answer) {
    this.hint.hidden = false;
    this.hint.replaceChildren(this.say('unreachable'), ' ', button(this.say('again'), () => this.load()));
    this.tell('error', { code: answer?.data?.code ?? 'offline' });
  }

  /** @param {number} count */
  setCount(count) {
    this.count = count;
    this.title.textContent = this.say('comments', { n: count });
    this.hint.replaceChildren(h('slot', { name: 'empty' }, this.say('empty')));
    this.hint.hidden = this.closed || this.items.size > 0;
  }

  /** Shows the form when somebody comes near it. */
  async showForm() {
    if (this.closed) return this.end.replaceChildren(h('slot', { name: 'closed' }, h('p.empty', null, this.say('closed'))));
    const form = async () => this.end.replaceChildren((await import('./form.js')).form(this));
    if (this.end.getBoundingClientRect().top < innerHeight + NEAR) return form();
    near(this.end, form);
  }

  /** Of the reserved space as much stays as keeps what follows out of sight. */
  settle() {
    const { top } = this.host.getBoundingClientRect();
    this.host.style.minHeight = top < innerHeight ? `${innerHeight - top}px` : '';
    this.host.removeAttribute('aria-busy');
  }

  async more() {
    const answer = await this.page(`&cursor=${this.next}`);
    // A cursor may have grown old; the list begins anew then.
    if (answer?.status === 400) return this.load();
    if (!answer?.ok) return void this.fail(answer);
    this.append(answer.data);
    this.items.get(answer.data.comments[0]?.id)?.querySelector('article')?.focus();
  }

  /** Puts a comment where it belongs: under its parent, or at the end of the list. @param {Comment} comment */
  place(comment) {
    const there = this.items.get(comment.id);
    if (there) return fill(this, there, comment);
    const li = item(this, comment);
    const parent = comment.parent_id ? this.items.get(comment.parent_id) : null;
    this.items.set(comment.id, li);
    if (parent) (this.below(parent).pop() ?? parent).after(li);
    else if (this.sort === 'newest') this.list.prepend(li);
    else this.list.append(li);
    this.hint.hidden = true;
    return li;
  }

  /** The replies below a comment, and theirs. @param {Item} li @returns {Item[]} */
  below(li) {
    const found = [];
    let next = /** @type {Item | null} */ (li.nextElementSibling);
    for (; next && next.comment.depth > li.comment.depth; next = /** @type {Item | null} */ (next.nextElementSibling)) found.push(next);
    return found;
  }

  /** Shows a comment, on whatever page of the list it is. @param {string} id */
  go(id) {
    const li = this.items.get(id);
    if (!li) return;
    for (const other of this.items.values()) other.classList.toggle('named', other === li);
    li.hidden = false;
    li.scrollIntoView({ block: 'start' });
    /** @type {HTMLElement} */ (li.querySelector('article')).focus({ preventScroll: true });
  }

  /** Opens the form under a comment. @param {Item} li */
  async reply(li) {
    const { form } = await import('./form.js');
    const under = /** @type {HTMLElement} */ (li.querySelector('.under'));
    if (!under.querySelector('textarea')) under.replaceChildren(form(this, li.comment));
    /** @type {HTMLElement} */ (under.querySelector('textarea')).focus();
  }

  /** Does what is done seldom, with code that comes when it is needed. @param {import('./act.js').Deed} name @param {...any} what */
  async act(name, ...what) {
    (await import('./act.js')).act(this, name, what);
  }

  /** Keeps what this device knows. @param {Partial<Me>} more */
  remember(more) {
    Object.assign(this.me, more);
    keep(this.api, this.me);
  }

  /** Follows permalinks, and what others write. */
  listen() {
    const follow = () => {
      const id = hashed();
      if (id) this.items.has(id) ? this.go(id) : this.load(id);
    };
    addEventListener('hashchange', follow);
    const seen = near(this.host, () => import('./live.js').then(({ live }) => live(this)));
    this.host.addEventListener('afterword:left', () => {
      removeEventListener('hashchange', follow);
      seen.disconnect();
    }, { once: true });
  }
}
