//! The words of a message in a chat. What visitors wrote stands in a block of its own, in which each of these chats shows
//! letters and nothing else: no link, no mention, no markup comes out of it. Only our own words are outside of it.

use serde_json::{Value, json};

use super::message::Message;
use crate::domain::webhook::Format;

/// So much of what visitors wrote is shown: below the limits of all four chats (Discord: 2,000 characters a message).
/// Unit: characters.
const QUOTED_MAX: usize = 1200;

/// What a chat is told.
pub(super) struct Note {
    /// Our own words.
    headline: String,
    /// What visitors wrote.
    quoted: String,
    /// Our own address.
    link: Option<String>,
}

/// The note about an event.
pub(super) fn note(message: &Message, public_url: &str) -> Note {
    let what = match message.kind {
        "comment.held" => "A comment waits for a moderator",
        "comment.approved" => "A comment is public",
        "comment.rejected" => "A comment was refused",
        "comment.spam" => "A comment was called spam",
        "comment.edited" => "A comment was changed",
        "comment.removed" => "A comment was deleted",
        _ => "This webhook works",
    };
    let site = message.data.site_name.as_deref().map(|site| format!(" on {}", plain(site))).unwrap_or_default();
    let mut quoted = Vec::new();
    if let Some(article) = &message.data.article {
        quoted.push(article.title.as_ref().unwrap_or(&article.key).clone());
    }
    if let Some(text) = message.data.comment.as_ref().and_then(|comment| comment.text.as_ref()) {
        let (name, body) = text.shown();
        quoted.push(format!("{name}:\n{body}"));
    }
    let quoted = quoted.join("\n");
    let mut cut: String = quoted.chars().take(QUOTED_MAX).collect();
    if cut.len() < quoted.len() {
        cut.push('…');
    }
    let link = message.data.moderation_url.clone().unwrap_or_else(|| public_url.to_owned());
    Note { headline: format!("{what}{site}."), quoted: cut, link: Some(link) }
}

/// A site's name is the operator's own; what chats take for markup is left out all the same.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !"*_~`|<>&@#[]()\\:/".contains(*c)).collect()
}

impl Note {
    /// The JSON that a chat reads.
    pub fn in_words_of(&self, format: Format) -> Value {
        match format {
            Format::Slack => self.slack(),
            Format::Discord => self.discord(),
            Format::Telegram => self.telegram(),
            Format::Standard | Format::Matrix => self.matrix(),
        }
    }

    fn link(&self) -> &str {
        self.link.as_deref().unwrap_or_default()
    }

    /// `plain_text` knows no markup; `text` is what a notification shows, and is ours alone.
    fn slack(&self) -> Value {
        let section = |kind: &str, text: &str| json!({"type": "section", "text": {"type": kind, "text": text}});
        let mut blocks = vec![section("mrkdwn", &self.headline)];
        if !self.quoted.is_empty() {
            let text = json!({"type": "plain_text", "text": self.quoted, "emoji": false});
            blocks.push(json!({"type": "section", "text": text}));
        }
        blocks.push(section("mrkdwn", &format!("<{}>", escaped(self.link()))));
        json!({"text": self.headline, "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
    }

    /// A code block ends at three backticks, of which none is left; `allowed_mentions` says it once more, and flag 4 keeps
    /// previews of links away.
    fn discord(&self) -> Value {
        let quoted = self.quoted.replace('`', "\u{02CB}");
        let block = if quoted.is_empty() { String::new() } else { format!("```\n{quoted}\n```\n") };
        let content = format!("{}\n{block}<{}>", self.headline, self.link());
        json!({"content": content, "allowed_mentions": {"parse": []}, "flags": 4})
    }

    /// Without a `parse_mode` there is no markup; inside `pre` Telegram looks for no links and mentions either. Offsets are
    /// counted in UTF-16 (Bot API, `MessageEntity`).
    fn telegram(&self) -> Value {
        let units = |text: &str| text.encode_utf16().count();
        let before = format!("{}\n", self.headline);
        let mut message = json!({
            "text": format!("{before}{}\n{}", self.quoted, self.link()),
            "link_preview_options": {"is_disabled": true},
        });
        if let (false, Some(fields)) = (self.quoted.is_empty(), message.as_object_mut()) {
            let pre = json!([{"type": "pre", "offset": units(&before), "length": units(&self.quoted)}]);
            fields.insert("entities".to_owned(), pre);
        }
        message
    }

    /// matrix-hookshot shows `html` and falls back to `text`, which some clients search for `@room`.
    fn matrix(&self) -> Value {
        let text = self.quoted.replace('@', "@\u{200B}");
        let block = if text.is_empty() { String::new() } else { format!("<pre><code>{}</code></pre>", escaped(&text)) };
        let link = escaped(self.link());
        json!({
            "text": format!("{}\n{text}\n{}", self.headline, self.link()),
            "html": format!("<p>{}</p>{block}<p><a href=\"{link}\">{link}</a></p>", escaped(&self.headline)),
        })
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile(quoted: &str) -> Note {
        Note {
            headline: "A comment waits for a moderator on My site.".into(),
            quoted: quoted.into(),
            link: Some("https://c.example/x?a=1&b=2".into()),
        }
    }

    const HOSTILE: &str =
        "@everyone <!channel> ```\n@here [a](https://evil.example) <https://evil.example|b> <script>&\"";

    #[test]
    fn slack_gets_what_visitors_wrote_as_plain_text_alone() {
        let sent = hostile(HOSTILE).in_words_of(Format::Slack);
        let plain: Vec<_> = sent["blocks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|block| block["text"]["text"].as_str().unwrap().contains("evil"))
            .map(|block| block["text"]["type"].as_str().unwrap())
            .collect();
        assert_eq!(plain, ["plain_text"]);
        assert_eq!(sent["text"], "A comment waits for a moderator on My site.");
        assert_eq!(sent["blocks"][2]["text"]["text"], "<https://c.example/x?a=1&amp;b=2>");
    }

    #[test]
    fn a_code_block_of_discord_cannot_be_left() {
        let sent = hostile(HOSTILE).in_words_of(Format::Discord);
        let content = sent["content"].as_str().unwrap();
        let parts: Vec<_> = content.split("```").collect();
        assert!(parts.len() == 3 && parts[1].contains("evil") && parts[1].contains("@everyone"), "{content}");
        assert!(!parts[0].contains("evil") && !parts[2].contains("evil") && !parts[1].contains('`'));
        assert_eq!(sent["allowed_mentions"], serde_json::json!({"parse": []}));
        let longest = hostile(&"\u{1F600}".repeat(QUOTED_MAX)).in_words_of(Format::Discord);
        assert!(longest["content"].as_str().unwrap().chars().count() <= 2000);
    }

    #[test]
    fn telegram_is_told_where_the_block_stands() {
        let quoted = "\u{1F600} @everyone https://evil.example /start";
        let sent = hostile(quoted).in_words_of(Format::Telegram);
        let text: Vec<u16> = sent["text"].as_str().unwrap().encode_utf16().collect();
        let entity = &sent["entities"][0];
        let at = |key: &str| usize::try_from(entity[key].as_u64().unwrap()).unwrap();
        let block = String::from_utf16(&text[at("offset")..at("offset") + at("length")]).unwrap();
        assert_eq!((block.as_str(), entity["type"].as_str()), (quoted, Some("pre")));
        assert!(sent.get("parse_mode").is_none());
        assert!(hostile("").in_words_of(Format::Telegram).get("entities").is_none());
    }

    #[test]
    fn matrix_shows_letters() {
        let sent = hostile("@room <img src=x onerror=alert(1)> </code></pre>").in_words_of(Format::Matrix);
        let html = sent["html"].as_str().unwrap();
        assert!(!html.contains("<img") && html.matches("</pre>").count() == 1, "{html}");
        assert!(!sent["text"].as_str().unwrap().contains("@room") && !html.contains("@room"));
    }
}
