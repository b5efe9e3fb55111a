//! A stranger's words in a mail to somebody else. Mail programs make links of whatever looks like an address, so nothing may
//! look like one: a dot, a colon or an @ inside such a word stands in brackets, as in `example[.]com`.

use super::characters::made_visible;

/// The longest quotation in a mail, in characters.
const QUOTE_MAX: usize = 4000;

/// A text of one line that no mail program makes a link of.
pub fn dead_line(text: &str) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    dead(&made_visible(&folded))
}

/// A text, line by line, likewise; a very long one is cut and says so.
pub fn dead_lines(text: &str) -> Vec<String> {
    let cut: String = text.chars().take(QUOTE_MAX).collect();
    let mut lines: Vec<String> = cut.lines().map(|line| dead(&made_visible(line))).collect();
    if cut.len() < text.len() {
        lines.push("…".to_owned());
    }
    lines
}

/// A line of at most so many characters.
pub fn shortened(line: &str, most: usize) -> String {
    match line.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    }
}

fn dead(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        let joins = !before.is_whitespace() && rest.peek().is_some_and(|after| !after.is_whitespace());
        match c {
            // After the dot the full stops that browsers take for one in names of hosts (UTS 46).
            '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | ':' | '@' | '\u{ff20}' if joins => text.extend(['[', c, ']']),
            _ => text.push(c),
        }
        before = c;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looks_like_an_address() {
        for (typed, shown) in [
            ("see https://evil.example/a?b=c", "see https[:]//evil[.]example/a?b=c"),
            ("mail me: ann@evil.example", "mail me: ann[@]evil[.]example"),
            ("www.evil.example.", "www[.]evil[.]example."),
            ("A sentence. Another: yes.", "A sentence. Another: yes."),
            ("javascript:alert(1) tel:+49123", "javascript[:]alert(1) tel[:]+49123"),
            ("http://127.0.0.1", "http[:]//127[.]0[.]0[.]1"),
            ("evil。example", "evil[。]example"),
        ] {
            assert_eq!(dead_line(typed), shown);
        }
        assert_eq!(dead_line("two\r\nBcc: x@y.z"), "two Bcc: x[@]y[.]z");
        assert_eq!(dead_lines("a\n\nb"), ["a", "", "b"]);
        assert_eq!(dead_lines(&"x".repeat(5000)).last().unwrap(), "…");
        assert_eq!(shortened("äöü", 2), "äö…");
    }
}
