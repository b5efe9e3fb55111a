// Turns the HTML of a comment into nodes. The service has cleaned it; here it is cleaned once more, by the browser's own
// parser: a document that runs nothing and loads nothing reads the text, and what is on the list below is made anew from
// it, element by element. No HTML of others is ever given to the page itself, and the policy of this file, the only one
// that the page allows (Trusted Types), serves that parser alone.

const parser = new DOMParser();
const policy = window.trustedTypes?.createPolicy('afterword-body', { createHTML: (text) => text });

/** What `body_html` is made of (the contract, section 2). */
const ALLOWED = new Set(['P', 'BR', 'EM', 'STRONG', 'DEL', 'CODE', 'PRE', 'BLOCKQUOTE', 'UL', 'OL', 'LI', 'HR', 'A']);

/** Deeper than any comment is. */
const DEEPEST = 32;

/** @param {Element} element @param {Element} copy */
function attributes(element, copy) {
  if (copy instanceof HTMLAnchorElement) {
    const href = element.getAttribute('href') ?? '';
    if (!/^https?:\/\//i.test(href)) return;
    copy.href = href;
    copy.rel = 'nofollow ugc noopener noreferrer';
    copy.target = '_blank';
  } else if (copy instanceof HTMLOListElement) {
    copy.start = Number.parseInt(element.getAttribute('start') ?? '1', 10) || 1;
  }
}

/** @param {Node} from @param {Node} into @param {number} depth */
function carry(from, into, depth) {
  for (const node of from.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) into.appendChild(document.createTextNode(node.nodeValue ?? ''));
    if (!(node instanceof Element) || depth > DEEPEST) continue;
    if (!ALLOWED.has(node.tagName)) {
      carry(node, into, depth + 1);
      continue;
    }
    const copy = document.createElement(node.tagName);
    attributes(node, copy);
    carry(node, copy, depth + 1);
    into.appendChild(copy);
  }
}

/** The nodes of a comment's HTML. @param {string} text */
export function nodes(text) {
  const source = /** @type {string} */ (/** @type {unknown} */ (policy ? policy.createHTML(text) : text));
  const found = document.createDocumentFragment();
  carry(parser.parseFromString(source, 'text/html').body, found, 0);
  return found;
}
