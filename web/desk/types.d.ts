// The shapes that the API gives and the desk keeps, for `tsc --checkJs`. Browsers never load this file.

export interface Reason { code: string; detail: string }
export interface LogEntry {
  id: string; at: string; comment: string; actor: string; action: string;
  from: string | null; to: string | null; reason: string | null; via: string;
}
export interface Flag { reason: string; note: string | null; at: string }
export interface Above {
  id: string; depth: number; status: string | null; name: string | null; badge: string | null;
  body_html: string | null; created_at: string;
}
export interface Edit { name: string; website: string | null; body: string; body_html: string }
export interface Comment {
  id: string; parent_id: string | null; depth: number; name: string; website: string | null; avatar: string | null;
  badge: string | null; body_html: string; created_at: string; edited_at: string | null; reply_count: number;
  site: string; article: { key: string; title: string | null; url: string | null; comment_count: number; closed: boolean };
  status: string; email: string | null; body: string; pending_edit: Edit | null; hold_reasons: Reason[];
  spam_score: number | null; address: string | null; user_agent: string | null; version: number;
  events?: LogEntry[]; author?: { approved: number; rejected: number; spam: number }; thread?: Above[]; flags?: Flag[];
}
/** A comment in the list, with what the moderator must know about it. */
export interface Row extends Comment { note?: Note }
export interface Note { kind: 'conflict' | 'elsewhere' | 'error'; text: string }
export interface Filter { status: string; site: string; article: string; q: string; sort: string }
export interface Counts { pending: number; approved: number; rejected: number; spam: number }
export interface Day { date: string; received: number; approved: number; rejected: number; spam: number }
export interface Summary {
  counts: Counts; sites: Record<string, Counts>; oldest_pending_at: string | null; days?: Day[];
}
export interface Account {
  id: string; name: string; email: string; role: 'admin' | 'moderator'; sites: string[];
  language: string | null; totp: boolean; mail: string;
}
export interface Session { account: Account; csrf_token: string; expires_at: string }
export interface Fault { field: string; code: string; message: string }
export interface Toast { id: number; text: string; bad?: boolean; undo?: (() => void) | undefined }
export interface Store<T> { get(): T; set(patch: Partial<T>): void; listen(listener: () => void): () => void }
export interface Field {
  name: string; label: string; type?: string; hint?: string | undefined; options?: [string, string][]; required?: boolean;
  autocomplete?: string; min?: number; max?: number; fixed?: boolean; maxlength?: number;
}
export interface Route { view: string; id: string; query: URLSearchParams }

declare global {
  interface Window {
    trustedTypes?: { createPolicy(name: string, rules: { createHTML(text: string): string }): { createHTML(text: string): string } };
  }
}
