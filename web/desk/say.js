// Words for what the service says in codes: states, and why a comment was held.
import { t } from './words.js';

/** @param {string} status */
export const state = (status) => t(`state.${status}`);

/** The codes that have words of their own; what a rule says comes from its author. */
const KNOWN = new Set(['policy', 'new_author', 'honeypot', 'email_rate', 'edit', 'flagged', 'too_fast', 'bad_form_token', 'no_form_token']);

/** Why it was held, one plain sentence each. @param {import('./types.js').Comment} comment */
export function reasons({ hold_reasons: all, spam_score: score }) {
  const said = all.map(({ code, detail }) => (KNOWN.has(code) ? t(`why.${code}`) : detail));
  return score === null ? said : [...said, t('why.score', { n: score })];
}
