//! The one function that turns what a visitor typed into HTML. A small Markdown: emphasis, strong, strike-through, links,
//! code, quotes, lists, rules, line breaks. The parser's events are filtered (raw HTML becomes text, images become links,
//! headings become paragraphs, links lead to http(s) or become their text, at most eight elements deep), then a sanitiser
//! with its own short list of tags checks the result again. It runs when a comment is written, never when it is read.

use std::borrow::Cow;
use std::sync::LazyLock;

use linkify::{LinkFinder, LinkKind};
use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, TextMergeStream};
use url::Url;

use super::characters::{has_ink, made_visible};
use super::text::Body;
use super::web::absolute_http;

/// The version of this renderer, stored beside what it made, so that a better one knows what to make again.
pub const RENDERER: i16 = 2;

/// Elements inside elements, at most. ammonia's time grows with the square of the depth: 20 KB of `> ` took 0.5 s.
const MAX_DEPTH: usize = 8;

/// What every link says to search engines and to the page it leads to.
const LINK_REL: &str = "nofollow ugc noopener noreferrer";

/// Renders a body. The result contains `p br em strong del code[class] pre blockquote ul ol[start] li hr a[href rel]` and
/// nothing else.
pub fn render(body: &Body) -> String {
    render_text(body.as_str())
}

fn render_text(text: &str) -> String {
    let parser = TextMergeStream::new(Parser::new_ext(text, Options::ENABLE_STRIKETHROUGH));
    let mut filter = Filter::default();
    for event in parser {
        filter.take(event);
    }
    let mut kept = filter.kept;
    if !kept.iter().any(shows) {
        // `[note]: this` defines a link that nothing uses. What a person wrote is worth showing, if only as it was typed.
        kept = vec![Event::Start(Tag::Paragraph), Event::Text(text.into()), Event::End(TagEnd::Paragraph)];
    }
    let mut html = String::with_capacity(text.len() + text.len() / 2);
    pulldown_cmark::html::push_html(&mut html, kept.into_iter());
    let mut clean = if is_harmless(&html) { html } else { SANITISER.clean(&html).to_string() };
    clean.truncate(clean.trim_end().len());
    clean
}

/// How many pictures a text means to show; each is shown as a link.
pub fn images(text: &str) -> usize {
    let parser = Parser::new_ext(text, Options::ENABLE_STRIKETHROUGH);
    parser.filter(|event| matches!(event, Event::Start(Tag::Image { .. }))).count()
}

/// Whether there is anything to see in it.
fn shows(event: &Event<'_>) -> bool {
    match event {
        Event::Text(text) | Event::Code(text) => has_ink(text),
        Event::Rule => true,
        _ => false,
    }
}

static SANITISER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(
            ["p", "br", "em", "strong", "del", "code", "pre", "blockquote", "ul", "ol", "li", "hr", "a"]
                .into_iter()
                .collect(),
        )
        .tag_attributes(
            [
                ("a", ["href"].into_iter().collect()),
                ("ol", ["start"].into_iter().collect()),
                ("code", ["class"].into_iter().collect()),
            ]
            .into_iter()
            .collect(),
        )
        .url_schemes(["http", "https"].into_iter().collect())
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some(LINK_REL));
    builder
});

/// Tags that carry nothing, and the characters that are written as entities.
const HARMLESS: &[&str] =
    &["<p>", "</p>", "<em>", "</em>", "<strong>", "</strong>", "<code>", "</code>", "&amp;", "&lt;", "&gt;"];

/// Whether the sanitiser would leave every byte as it is: text in paragraphs, as most comments are. It costs more than all
/// else that is done for such a comment, because it builds a document to look at.
fn is_harmless(html: &str) -> bool {
    // A space that does not break is written as an entity by the sanitiser.
    !html.contains('\u{a0}')
        && html
            .match_indices(['<', '&'])
            .all(|(at, _)| HARMLESS.iter().any(|token| html.get(at..).is_some_and(|rest| rest.starts_with(token))))
        && html.matches('>').count() == html.matches('<').count()
}

/// Passes on what may stay, changed where it must be.
#[derive(Default)]
struct Filter<'a> {
    kept: Vec<Event<'a>>,
    /// For each open tag of the parser: what was written for it.
    open: Vec<Open>,
    /// Elements open in the output.
    depth: usize,
    in_link: Option<OpenLink<'a>>,
    in_code: bool,
}

/// A link whose end has not come yet.
struct OpenLink<'a> {
    /// Where it leads, as typed.
    target: CowStr<'a>,
    /// Where its content begins in what is kept.
    content: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// An element that the end tag closes.
    Element(TagEnd),
    /// Nothing: only its content stays.
    Bare,
    /// Nothing, but what follows must not run into it.
    BareBlock,
    /// A link (or a picture turned into one).
    Link,
}

impl<'a> Filter<'a> {
    fn take(&mut self, event: Event<'a>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(end) => self.end(end),
            Event::Text(text) if self.in_link.is_some() || self.in_code => self.kept.push(Event::Text(visible(text))),
            Event::Text(text) => self.text_with_links(visible(text)),
            Event::Html(html) | Event::InlineHtml(html) => self.kept.push(Event::Text(html)),
            Event::Code(_) | Event::HardBreak | Event::Rule if self.depth >= MAX_DEPTH => self.flattened(event),
            Event::Code(_) | Event::SoftBreak | Event::HardBreak | Event::Rule => self.kept.push(event),
            // Extensions that are switched off.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.kept.push(Event::Text(text));
            }
            Event::TaskListMarker(_) => {}
        }
    }

    /// What stays of a leaf where no element fits any more.
    fn flattened(&mut self, event: Event<'a>) {
        match event {
            Event::Code(text) => self.kept.push(Event::Text(text)),
            _ => self.kept.push(Event::SoftBreak),
        }
    }

    fn start(&mut self, tag: Tag<'a>) {
        let opened = match tag {
            Tag::Heading { .. } | Tag::HtmlBlock => self.element(Tag::Paragraph, true),
            // A browser would end the outer link where the inner one begins.
            Tag::Link { .. } | Tag::Image { .. } if self.in_link.is_some() => Open::Bare,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.link(dest_url),
            Tag::CodeBlock(kind) => self.code_block(kind),
            // A list needs room for its items as well.
            Tag::List(_) if self.depth + 2 > MAX_DEPTH => Open::BareBlock,
            Tag::Item if !self.in_list() => Open::BareBlock,
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough => self.element(tag, false),
            Tag::Paragraph | Tag::BlockQuote(_) | Tag::List(_) | Tag::Item => self.element(tag, true),
            _ => Open::Bare,
        };
        self.open.push(opened);
    }

    fn in_list(&self) -> bool {
        matches!(self.open.last(), Some(Open::Element(TagEnd::List(_))))
    }

    fn element(&mut self, tag: Tag<'a>, block: bool) -> Open {
        // `> [!NOTE]` kinds are an extension that is off; a quote is a quote.
        let tag = if matches!(tag, Tag::BlockQuote(_)) { Tag::BlockQuote(None) } else { tag };
        if self.depth >= MAX_DEPTH {
            return if block { Open::BareBlock } else { Open::Bare };
        }
        self.depth += 1;
        let end = tag.to_end();
        self.kept.push(Event::Start(tag));
        Open::Element(end)
    }

    fn code_block(&mut self, kind: CodeBlockKind<'a>) -> Open {
        self.in_code = true;
        if self.depth + 2 > MAX_DEPTH {
            return Open::BareBlock;
        }
        let kind = match kind {
            CodeBlockKind::Fenced(info) if is_language(&info) => CodeBlockKind::Fenced(info),
            _ => CodeBlockKind::Indented,
        };
        self.depth += 2;
        self.kept.push(Event::Start(Tag::CodeBlock(kind)));
        Open::Element(TagEnd::CodeBlock)
    }

    fn link(&mut self, target: CowStr<'a>) -> Open {
        let Some(url) = absolute_http(&target).filter(|_| self.depth < MAX_DEPTH) else { return Open::Bare };
        self.depth += 1;
        self.kept.push(start_link(&url));
        self.in_link = Some(OpenLink { target, content: self.kept.len() });
        Open::Link
    }

    fn end(&mut self, end: TagEnd) {
        if end == TagEnd::CodeBlock {
            self.in_code = false;
        }
        match self.open.pop() {
            Some(Open::Element(end)) => {
                self.depth -= if end == TagEnd::CodeBlock { 2 } else { 1 };
                self.kept.push(Event::End(end));
            }
            Some(Open::Link) => self.end_link(),
            Some(Open::BareBlock) => self.kept.push(Event::SoftBreak),
            Some(Open::Bare) | None => {}
        }
    }

    fn end_link(&mut self) {
        self.depth -= 1;
        // A picture without a description needs something to click on.
        if let Some(link) = self.in_link.take()
            && !self.kept.iter().skip(link.content).any(shows)
        {
            self.kept.push(Event::Text(visible(link.target)));
        }
        self.kept.push(END_LINK);
    }

    /// Bare http(s) addresses in ordinary text become links.
    fn text_with_links(&mut self, text: CowStr<'a>) {
        if !text.contains("://") || self.depth >= MAX_DEPTH {
            self.kept.push(Event::Text(text));
            return;
        }
        for span in FINDER.spans(&text) {
            let piece = Event::Text(CowStr::from(span.as_str().to_owned()));
            let url = span.kind().filter(|kind| **kind == LinkKind::Url).and_then(|_| absolute_http(span.as_str()));
            match url {
                Some(url) => self.kept.extend([start_link(&url), piece, END_LINK]),
                None => self.kept.push(piece),
            }
        }
    }
}

/// An entity can name a character that may not be typed.
fn visible(text: CowStr<'_>) -> CowStr<'_> {
    match made_visible(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(mended) => CowStr::from(mended),
    }
}

static FINDER: LazyLock<LinkFinder> = LazyLock::new(|| {
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]);
    finder
});

/// The address as the parser writes it: the host in ASCII, the rest percent-encoded. Written here, because the Markdown
/// writer would encode the brackets of an IPv6 address.
fn start_link<'a>(url: &Url) -> Event<'a> {
    let address = url.as_str().replace('&', "&amp;").replace('"', "&quot;");
    Event::InlineHtml(CowStr::from(format!("<a href=\"{address}\">")))
}

const END_LINK: Event<'static> = Event::InlineHtml(CowStr::Borrowed("</a>"));

/// A word that can stand in a class name: `rust`, `c++`, `objective-c`.
fn is_language(info: &str) -> bool {
    let word: Cow<'_, str> = info.split_whitespace().next().unwrap_or("").into();
    (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+#-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_markdown() {
        let cases = [
            "plain & <simple>",
            "*em* **strong** ~~gone~~ `code <b>`",
            "one\ntwo  \nthree\n\nfour",
            "# Title\n\n## Second *one*",
            "> quote\n> > deeper",
            "- a\n- b\n  1. c\n\n3. three\n4. four",
            "```rust evil\" onload=x\nlet x = 1 < 2;\n```",
            "```\"><script>\nx\n```",
            "    indented\n",
            "***\n",
            "<script>alert(1)</script>\n\n<b>inline</b> text",
            "[good](https://example.org/a?b=c&d=e \"title\") [bad](javascript:alert(1)) [rel](/path) [mail](mailto:a@b.example)",
            "see https://example.org/x_y_z, and (http://example.org/a). Not ftp://example.org nor www.example.org",
            "<https://example.org> <mailto:a@b.example> <a@b.example>",
            "![alt *text*](https://example.org/i.png) ![](https://example.org/i.png) ![no](data:image/png;base64,x)",
            "[![pic](https://example.org/i.png)](https://example.org/)",
            "[https://bank.example](https://evil.example)",
            "&lt;script&gt; &amp; &copy; &#0; &#x202e;",
            "[x](<https://example.org/\"onmouseover=alert(1)>)",
            "![](https://example.org/&#x202e;abc) [x](https://example.org/&#x200b;) https://example.org/&#x202e;abc",
            "![[a](https://b.example)](https://c.example) [![b](https://b.example) [c](https://c.example)](https://d.example)",
            "https://例え.jp/パス?ä=ö [x](https://例え.jp/パス) ![](https://例え.jp/パス) [six](http://[2001:db8::1]:8080/a[1])",
            "[note]: this",
            "[note]: <b>&amp;\n\n[more]: x",
            "#\n\n> \n\n- &nbsp;",
            "[&nbsp;](https://example.org) [![](data:x)](https://example.org) [](https://example.org/?a=1&b='2')",
            "```\n```",
        ];
        let mut shown = String::new();
        for case in cases {
            shown.push_str(&[case, "\n---\n", &render_text(case), "\n===\n"].concat());
        }
        insta::assert_snapshot!(shown);
    }

    /// The deepest nesting of elements in HTML that is well formed.
    fn depth(html: &str) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        for tag in html.split('<').skip(1) {
            if tag.starts_with('/') {
                depth -= 1;
            } else if !tag.starts_with("br") && !tag.starts_with("hr") {
                depth += 1;
                deepest = deepest.max(depth);
            } else {
                deepest = deepest.max(depth + 1);
            }
        }
        assert_eq!(depth, 0, "{html}");
        deepest
    }

    #[test]
    fn nesting_stops_at_eight_and_loses_no_text() {
        for hostile in [
            "> ".repeat(50) + "end",
            "- ".repeat(50) + "end",
            "1. ".repeat(50) + "end",
            "> - ".repeat(30) + "> `end`",
            "*a **b ".repeat(40) + "end" + &"** *".repeat(40),
            "> ".repeat(7) + "- end\n" + &"> ".repeat(8) + "    end",
            "> ".repeat(8) + "# end *x* https://example.org/ ![i](https://example.org)  \n" + &"> ".repeat(8) + "---",
        ] {
            let html = render_text(&hostile);
            assert!(depth(&html) <= MAX_DEPTH, "{html}");
            assert!(html.contains("end"), "{html}");
        }
    }

    #[test]
    fn nothing_but_the_listed_tags_comes_out() {
        proptest::proptest!(|(text in "[<>\\[\\]()!*_`~#>\\- \n\"'&;:/a-z0-9]{0,200}")| {
            let html = render_text(&text);
            for tag in html.split('<').skip(1) {
                let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                proptest::prop_assert!(
                    ["p","br","em","strong","del","code","pre","blockquote","ul","ol","li","hr","a"].contains(&name.as_str()),
                    "{}", html
                );
            }
            proptest::prop_assert!(depth(&html) <= MAX_DEPTH, "{}", html);
        });
    }

    /// What the parser's filter hands to the sanitiser.
    fn uncleaned(text: &str) -> String {
        let mut filter = Filter::default();
        TextMergeStream::new(Parser::new_ext(text, Options::ENABLE_STRIKETHROUGH)).for_each(|event| filter.take(event));
        let mut html = String::new();
        pulldown_cmark::html::push_html(&mut html, filter.kept.into_iter());
        html
    }

    #[test]
    fn what_is_called_harmless_is_what_the_sanitiser_leaves_alone() {
        assert!(is_harmless(&uncleaned("Plain *text* & `code <b>`\n\nand **more**.")));
        for other in ["> quote", "https://example.org", "a\u{a0}b", "- list", "~~gone~~", "```\n\ncode\n```", "a  \nb"]
        {
            assert!(!is_harmless(&uncleaned(other)), "{other}");
        }
        for hostile in
            ["<p onclick=x>", "<p", "<p>>", "&#60;script&#62;", "<em/>", "<P>", "&copy;", "<code class=\"x\">"]
        {
            assert!(!is_harmless(hostile), "{hostile}");
        }
        let texts = "([<>\\[\\]()!*_`~#>\\- \n\"'&;:/a-z0-9\u{a0}\u{2028}é漢]|\\*\\*|__|\n\n|&[a-z]{2,4};){0,80}";
        proptest::proptest!(proptest::prelude::ProptestConfig::with_cases(1500), |(text in texts)| {
            let html = uncleaned(&text);
            if is_harmless(&html) {
                proptest::prop_assert_eq!(&SANITISER.clean(&html).to_string(), &html, "{}", text);
            }
        });
    }
}
