// @ts-check
/**
 * What a page loads to have comments: `<afterword-comments>`, `<afterword-count>` and `<afterword-recent>`. This file only
 * names the elements, reserves their space and asks for the data; their parts come at the same time, from `embed/`.
 */
import { ask, hashed } from './embed/kit.js';

/** Where the service is: beside this file, unless the element says otherwise. */
const here = new URL('.', import.meta.url).href;

/** What is common to the elements: where they belong. */
class Part extends HTMLElement {
  /** The start of the site's addresses. */
  get api() {
    const server = (this.getAttribute('server') ?? here).replace(/\/+$/, '');
    return `${server}/api/v1/sites/${encodeURIComponent(this.getAttribute('site') ?? 'default')}/`;
  }

  /** The key of the article; without one, the path of the page. */
  get article() {
    return this.getAttribute('article') || location.pathname;
  }

  /** The language of its words: its own, that of the page around it, or the reader's. */
  get language() {
    const around = /** @type {HTMLElement | null} */ (this.closest('[lang]'));
    return this.getAttribute('language') || around?.lang || navigator.language;
  }
}

class Comments extends Part {
  connectedCallback() {
    if (this.shadowRoot) return;
    // Whatever follows stays below the window until the comments are there, so nothing that is seen moves.
    this.attachShadow({ mode: 'open' }).append(document.createElement('slot'));
    this.style.cssText += 'display: block; min-height: 100vh';
    this.setAttribute('aria-busy', 'true');
    const sort = this.getAttribute('sort') ?? 'oldest';
    const address = `${this.api}comments?article=${encodeURIComponent(this.article)}${sort === 'oldest' ? '' : `&sort=${sort}`}`;
    const wanted = hashed();
    const list = ask(wanted ? `${address}&around=${wanted}` : address).catch(() => null);
    const form = ask(`${this.api}form`).catch(() => null);
    void import('./embed/thread.js').then(({ Thread }) => new Thread(this, { sort, list, form }).start());
  }

  disconnectedCallback() {
    this.dispatchEvent(new Event('afterword:left'));
  }
}

/** @type {Set<Count>} Elements that have no number yet. */
const uncounted = new Set();

class Count extends Part {
  connectedCallback() {
    // A line of counts alone is a line before they come.
    this.textContent ||= '\u200b';
    // One request for all that are on the page.
    if (!uncounted.size) setTimeout(() => import('./embed/count.js').then(({ count }) => count(uncounted)));
    uncounted.add(this);
  }
}

class Recent extends Part {
  connectedCallback() {
    if (!this.shadowRoot) void import('./embed/recent.js').then(({ recent }) => recent(this));
  }
}

for (const [name, element] of Object.entries({ comments: Comments, count: Count, recent: Recent })) {
  // A page may load this twice, by two addresses.
  if (!customElements.get(`afterword-${name}`)) customElements.define(`afterword-${name}`, element);
}
