/** What pages may rely on: the shapes of the service's answers, and the events of the elements. */

/** A comment as everybody sees it; of one that was removed only `id`, `parent_id`, `depth` and `removed`. */
export interface AfterwordComment {
  id: string;
  parent_id: string | null;
  /** 0 for a root. */
  depth: number;
  name: string;
  website: string | null;
  /** None: the site shows no images. */
  avatar: string | null;
  badge: 'staff' | null;
  /** HTML of a few elements (docs/embed/own-form.md). */
  body_html: string;
  /** RFC 3339, in UTC. */
  created_at: string;
  edited_at: string | null;
  pinned: boolean;
  votes: { up: number; down: number };
  /** Direct replies that are public. */
  reply_count: number;
  removed?: boolean;
  /** On one's own comments. */
  status?: 'pending' | 'approved';
}

/** Every event bubbles, crosses shadow roots and names the article. */
export interface AfterwordEventDetails {
  /** The list is there. */
  'afterword:loaded': { article: string; count: number };
  /** A comment was taken. */
  'afterword:submitted': { article: string; id: string; status: 'pending' | 'approved' };
  /** A comment became public while the page was open. */
  'afterword:published': { article: string; id: string };
  /** The author changed a comment; `pending` while the approved text stays. */
  'afterword:edited': { article: string; id: string; status: 'pending' | 'approved' };
  /** The author deleted a comment. */
  'afterword:deleted': { article: string; id: string };
  'afterword:voted': { article: string; id: string; value: 1 | -1 | 0 };
  'afterword:reacted': { article: string; reaction: string | null };
  'afterword:flagged': { article: string; id: string };
  /** Something did not work: a `code` of docs/errors.md, or `offline`. */
  'afterword:error': { article: string; code: string };
}

declare global {
  interface HTMLElementEventMap extends AfterwordEvents {}
  interface DocumentEventMap extends AfterwordEvents {}
}

type AfterwordEvents = { [name in keyof AfterwordEventDetails]: CustomEvent<AfterwordEventDetails[name]> };
