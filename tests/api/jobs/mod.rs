//! What happens after a commit: who is told of what, how often, and what becomes of it when a mail does not leave.

mod announcements;
mod ceiling;
mod choice;
mod webhooks;
