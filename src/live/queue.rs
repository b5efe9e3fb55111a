//! What moderators' streams tell of an entry of the log: that a comment came to wait, was decided, edited, removed.

use serde::Serialize;

use super::{Frame, Topic};
use crate::domain::comment::{Action, Status};
use crate::storage::follow::Happened;

/// The data of an event in the stream.
#[derive(Serialize)]
struct Data<'a> {
    /// The comment.
    id: String,
    site: &'a str,
    /// The state after it; none when the comment is gone.
    status: Option<&'static str>,
    /// The comment's version now; none when it is gone.
    version: Option<i64>,
    /// An account's name, `author` or `policy`.
    by: &'a str,
}

/// Whom it concerns.
pub fn topics(entry: &Happened) -> [Topic; 2] {
    [Topic::Queue(entry.event.site_id), Topic::AllQueues]
}

fn kind(entry: &Happened) -> &'static str {
    match (entry.event.action, entry.event.to_status) {
        (Action::Removed, _) => "removed",
        (Action::Edited | Action::EditDiscarded | Action::Corrected | Action::Pinned | Action::Unpinned, _) => "edited",
        (_, Some(Status::Pending)) => "held",
        _ => "decided",
    }
}

/// The frame of an entry.
pub fn frame(entry: &Happened) -> Frame {
    let event = &entry.event;
    let by = entry.account.as_deref().unwrap_or_else(|| event.via.nobodys_name());
    let data = Data {
        id: event.comment_id.to_string(),
        site: &entry.site,
        status: event.to_status.map(Status::as_str),
        version: entry.version.filter(|_| event.to_status.is_some()),
        by,
    };
    // JSON has no line breaks of its own, so it is one line of the stream.
    let data = serde_json::to_string(&data).unwrap_or_default();
    Frame::written(event.id, format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, kind(entry)).into())
}
