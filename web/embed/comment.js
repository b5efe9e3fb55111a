// @ts-check
/** One comment of the list, as an element. */
import { button, h, isWeb, safe } from './kit.js';

/**
 * @typedef {import('./thread.js').Thread} Thread
 * @typedef {import('./kit.js').Comment} Comment
 * @typedef {HTMLLIElement & {comment: Comment}} Item
 */

/** Replies are indented so many times, then no further. */
const INDENTED = 5;

/**
 * @param {Thread} thread
 * @param {Comment} comment
 * @returns {Item}
 */
export function item(thread, comment) {
  const li = h('li.item', { id: `afterword-${comment.id}` });
  li.style.setProperty('--depth', Math.min(comment.depth, INDENTED));
  return fill(thread, li, comment);
}

/**
 * Shows a comment, or what became of it, in its place.
 * @param {Thread} thread
 * @param {Item} li
 * @param {Comment} comment
 */
export function fill(thread, li, comment) {
  li.comment = comment;
  const waits = comment.status === 'pending';
  li.classList.toggle('waits', waits);
  li.replaceChildren(
    comment.removed
      ? h('article', { tabindex: -1 }, h('p.gone', { class: 'gone muted' }, thread.say('removed')))
      : h('article', { part: 'comment', tabindex: -1, 'aria-labelledby': `by-${comment.id}` },
        comment.avatar && h('img.avatar', { part: 'avatar', src: comment.avatar, alt: '', width: 36, height: 36, loading: 'lazy' }),
        by(thread, comment, waits), safe(comment.body_html), deeds(thread, li), h('div.under')));
  return li;
}

/** @param {Thread} thread @param {Comment} comment @param {boolean} waits */
function by({ words, items }, comment, waits) {
  const name = h('bdi', { id: `by-${comment.id}` }, comment.name);
  const badge = (/** @type {string} */ text) => h('span.badge', { part: 'badge' }, text);
  const above = comment.parent_id && items.get(comment.parent_id)?.comment.name;
  return h('div.by', null,
    h('b', { part: 'author' }, isWeb(comment.website) ? h('a', { href: comment.website, rel: 'nofollow ugc noopener noreferrer' }, name) : name),
    comment.badge === 'staff' && badge(words.say('staff')), comment.pinned && badge(words.say('pinned')), waits && badge(words.say('waits')),
    h('a', { href: `#afterword-${comment.id}`, part: 'time' }, words.time(comment.created_at)),
    comment.edited_at && h('span.mark', { title: words.moments.format(new Date(comment.edited_at)) }, words.say('edited')),
    above && h('span.hear', null, words.say('answers', { name: above })));
}

/**
 * What can be done with a comment.
 * @param {Thread} thread
 * @param {Item} li
 */
function deeds(thread, li) {
  const { comment } = li;
  const mine = thread.me.own?.[comment.id];
  const does = h('div.does', { part: 'actions' });
  if (comment.status !== 'pending') {
    if (!thread.closed && comment.depth + 1 < thread.levels) {
      does.append(button(thread.say('reply'), () => thread.reply(li), { 'aria-label': thread.say('replyTo', { name: comment.name }) }));
    }
    if (!mine) does.append(vote(thread, li, 1), vote(thread, li, -1), button(thread.say('flag'), () => thread.act('flag', li)));
    const n = comment.reply_count;
    if (n) does.append(button(thread.say('hide', { n }), ({ target }) => thread.act('fold', li, target), { 'aria-expanded': 'true' }));
  }
  if (mine) {
    if (Date.parse(mine.until) > Date.now()) does.append(button(thread.say('edit'), () => thread.act('edit', li)));
    does.append(button(thread.say('remove'), () => thread.act('remove', li)));
  }
  return does;
}

/** @param {Thread} thread @param {Item} li @param {1 | -1} value */
function vote(thread, li, value) {
  const n = li.comment.votes[value > 0 ? 'up' : 'down'];
  const text = `${value > 0 ? '▲' : '▼'} ${n ? thread.words.numbers.format(n) : ''}`;
  return button(text, () => thread.act('vote', li, value), {
    'aria-label': thread.say(value > 0 ? 'up' : 'down', { n }), 'aria-pressed': String(thread.me.votes?.[li.comment.id] === value),
    class: 'quiet vote', hidden: thread.voteless,
  });
}
