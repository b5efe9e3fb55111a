//! Hostile texts in mails and behind their links, as a browser's parser sees them: nothing that runs, nothing that loads, no
//! link but ours, no header and no recipient more. The rows are written past all checks, so that no check hides a hole.

use std::cell::RefCell;
use std::collections::BTreeMap;

use afterword::domain::comment::{HoldReason, Status};
use afterword::domain::render::render;
use afterword::domain::text::{Body, tidy};
use afterword::domain::web::WebAddress;
use afterword::storage::comments::reasons_json;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use crate::support::app::TestApp;
use crate::support::database::Backend;
use crate::support::mails::Read;
use crate::support::rows;
use crate::support::testdata;

/// Collects the tags that open.
#[derive(Default)]
struct Tags(RefCell<Vec<Tag>>);

impl TokenSink for Tags {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(tag) = token
            && tag.kind == TagKind::StartTag
        {
            self.0.borrow_mut().push(tag);
        }
        TokenSinkResult::Continue
    }
}

/// Every tag that opens, with its attributes.
pub fn tags(html: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let tokenizer = Tokenizer::new(Tags::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let found = tokenizer.sink.0.take().into_iter().map(|tag| {
        let attributes = tag.attrs.iter().map(|found| (found.name.local.to_string(), found.value.to_string()));
        (tag.name.to_string(), attributes.collect())
    });
    found.collect()
}

/// What stands in our own templates, and what `domain/render.rs` lets out.
const TAGS: &str = "html head meta title style link body main div h1 p strong br span a code section article details \
                    summary form button em del pre blockquote ul ol li hr";
const ATTRIBUTES: &str = "lang charset name content class href rel aria-label method type value start";

/// Checks a page; `ours` begins every address that a link of ours may have. Returns how many links are not ours.
fn check(html: &str, ours: &str, from: &str) -> usize {
    let mut others = 0;
    for (tag, attributes) in tags(html) {
        assert!(TAGS.split(' ').any(|known| known == tag), "<{tag}> from {from}\n{html}");
        for (name, value) in &attributes {
            assert!(ATTRIBUTES.split_whitespace().any(|known| known == name), "<{tag} {name}> from {from}\n{html}");
            if name == "href" && !value.starts_with(ours) {
                let lower = value.to_lowercase();
                assert!(
                    tag == "a" && (lower.starts_with("http://") || lower.starts_with("https://")),
                    "{value} from {from}"
                );
                assert!(attributes["rel"].contains("noreferrer"), "{value} from {from}");
                others += 1;
            }
        }
        assert!(tag != "meta" || !attributes.contains_key("http-equiv"), "{html}");
    }
    others
}

const HEADERS: [&str; 10] = [
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Date",
    "Content-Type",
];

/// Writes comments that say the same everywhere, as submissions leave them.
async fn write(app: &TestApp, payloads: Vec<String>, first: u64) {
    let mut site = rows::site(1, "default");
    site.id = app.service.sites.by_key("default").unwrap().id;
    let written = app.service.db.write(move |tx| {
        for (n, payload) in (first..).zip(&payloads) {
            let article = rows::site_and_article(tx, &site, 100_000 + n, &format!("/{n}"))?;
            let mut row = rows::comment(n, site.id, article, None, Status::Pending);
            // PostgreSQL stores none; nor does any check let one pass.
            let payload = payload.replace('\0', "");
            row.body_html = Body::parse(&payload, "body").map_or_else(|_| String::new(), |body| render(&body));
            (row.name, row.website, row.body) = (payload.clone(), Some(payload.clone()), payload.clone());
            (row.article_title, row.article_url) = (Some(payload.clone()), Some(payload.clone()));
            row.hold_reasons = reasons_json(&[HoldReason::new("rule", &payload)])?;
            rows::submit(tx, &row, 200_000 + n)?;
        }
        Ok(())
    });
    written.await.unwrap();
}

/// Publishes comments on one article whose names, texts and websites are hostile, likewise past all checks.
pub async fn publish(app: &TestApp, payloads: &[String], (key, first): (&str, u64)) {
    let mut site = rows::site(1, "default");
    site.id = app.service.sites.by_key("default").unwrap().id;
    let (payloads, key) = (payloads.to_vec(), key.to_owned());
    let written = app.service.db.write(move |tx| {
        let article = rows::site_and_article(tx, &site, 1_000_000 + first, &key)?;
        for (n, payload) in (first..).zip(&payloads) {
            let mut row = rows::comment(n, site.id, article, None, Status::Approved);
            let payload = payload.replace('\0', "");
            row.body_html = Body::parse(&payload, "body").map_or_else(|_| String::new(), |body| render(&body));
            // A website is told as a link: only what is an address can be one (domain/submission.rs).
            row.website = WebAddress::parse(&tidy(&payload), "website").ok().map(|address| address.as_str().to_owned());
            (row.name, row.body) = (payload.clone(), payload.clone());
            (row.article_title, row.article_url) = (Some(payload.clone()), Some(payload.clone()));
            rows::submit(tx, &row, 2_000_000 + n)?;
        }
        Ok(())
    });
    written.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_lives_in_a_mail_or_behind_its_link() {
    let Some(mut payloads) = testdata::strings("xss/payloads.json", Some("payload")) else { return };
    payloads.extend(testdata::strings("xss/dompurify_expect.json", Some("payload")).unwrap());
    payloads.extend(testdata::strings("naughty/blns.json", None).unwrap());
    payloads
        .extend(["x\r\nBcc: evil@example.net", "x\nTo: evil@example.net\n\n<b>", "=?utf-8?q?x?="].map(str::to_owned));
    let app = TestApp::build(Backend::Sqlite)
        .set("limits__enabled", "false")
        .set("mail__hourly_ceiling", "10000")
        .start()
        .await;
    let _moderator = app.default_moderator().await;
    let (mut seen, mut linked) = (0, 0);
    for part in payloads.chunks(500) {
        write(&app, part.to_vec(), 10 + seen as u64).await;
        let mails = app.run_jobs().await;
        assert_eq!(mails.len(), part.len());
        for (n, mail) in mails.iter().enumerate() {
            let mail = Read::of(mail);
            let names: Vec<&str> = mail.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, HEADERS, "{:?}", mail.headers);
            assert_eq!(mail.header("To"), "mod@example.org");
            let subject = mail.header("Subject");
            assert_eq!(check(&mail.html, &app.url, &subject), 0, "a link that is not ours: {subject}");
            assert_eq!(mail.html.matches(" href=\"").count(), 4, "three decisions and the way out: {subject}");
            // A page takes a moment; every third mail is followed to the end.
            if n % 3 != 0 {
                continue;
            }
            let page = app.get(&mail.links("/m/").pop().unwrap()).await;
            assert_eq!(page.status, 200, "{}", page.text());
            linked += check(&page.text(), &app.url, &mail.header("Subject"));
        }
        seen += part.len();
    }
    assert!(seen > 4_000 && linked > 0, "{seen} {linked}");
}
