//! Replays the comments of a `WordPress` export (WXR) through a running service as visitors would write them: in the order of
//! the file, threads included, waiting when the service asks to wait. Then a moderator approves them, and each article is
//! read back and compared.
//!
//! `cargo run --example conversation -- URL TOKEN FILE`
#![expect(clippy::indexing_slicing, reason = "a missing key of a JSON value is null")]

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// A comment of the export.
#[derive(Debug, Default, Clone)]
pub struct Exported {
    /// The address of its article.
    pub article: String,
    /// Its number in the export.
    pub id: String,
    /// The number of the comment that it answers; `0` for none.
    pub parent: String,
    /// The name.
    pub author: String,
    /// The e-mail address; pingbacks have none.
    pub email: String,
    /// The website.
    pub website: String,
    /// The text.
    pub text: String,
}

/// What became of the conversation.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Comments that were taken.
    pub taken: usize,
    /// Comments that were refused, with the field that the refusal names.
    pub refused: Vec<(String, String)>,
    /// Articles that read back as they were written.
    pub articles: usize,
}

/// The comments of an export in the order of the file. Elements are known by their local names: the namespace's address
/// differs between versions.
pub fn read(xml: &str) -> Result<Vec<Exported>, Box<dyn Error>> {
    let mut reader = Reader::from_str(xml);
    let (mut comments, mut article) = (Vec::new(), String::new());
    let (mut current, mut field): (Option<Exported>, Option<String>) = (None, None);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(comments),
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                match name.as_str() {
                    "item" => article.clear(),
                    "comment" => current = Some(Exported { article: article.clone(), ..Exported::default() }),
                    _ => field = Some(name),
                }
            }
            Event::End(tag) => {
                if tag.local_name().as_ref() == "comment" {
                    comments.extend(current.take());
                }
                field = None;
            }
            Event::CData(data) => put(&mut current, &mut article, field.as_deref(), &data),
            Event::Text(text) => put(&mut current, &mut article, field.as_deref(), &text),
            Event::GeneralRef(entity) => {
                let shown = match entity.as_ref() {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    _ => "",
                };
                put(&mut current, &mut article, field.as_deref(), shown);
            }
            _ => {}
        }
    }
}

fn put(current: &mut Option<Exported>, article: &mut String, field: Option<&str>, text: &str) {
    match (current, field) {
        (None, Some("link")) => article.push_str(text.trim()),
        (Some(comment), Some(field)) => {
            let place = match field {
                "comment_id" => &mut comment.id,
                "comment_parent" => &mut comment.parent,
                "comment_author" => &mut comment.author,
                "comment_author_email" => &mut comment.email,
                "comment_author_url" => &mut comment.website,
                "comment_content" => &mut comment.text,
                _ => return,
            };
            place.push_str(text);
        }
        _ => {}
    }
}

/// Holds the conversation on the site `default`.
pub async fn hold(url: &str, token: &str, comments: &[Exported]) -> Result<Outcome, Box<dyn Error>> {
    let client = Client::new();
    let mut outcome = Outcome::default();
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut written: HashMap<String, Vec<(String, Option<String>, String)>> = HashMap::new();
    for comment in comments {
        let mut body = json!({"article": comment.article, "name": comment.author.trim(), "body": comment.text});
        for (key, value) in [("email", &comment.email), ("website", &comment.website)] {
            if !value.trim().is_empty() {
                body[key] = json!(value.trim());
            }
        }
        let parent = ids.get(&comment.parent).cloned();
        if let Some(parent) = &parent {
            body["parent_id"] = json!(parent);
        }
        let (status, answer) = send(&client, &format!("{url}/api/v1/sites/default/comments"), &body).await?;
        if status != StatusCode::ACCEPTED {
            let fields: Vec<_> =
                answer["errors"].as_array().into_iter().flatten().filter_map(|fault| fault["field"].as_str()).collect();
            let why = if fields.is_empty() { answer["code"].to_string() } else { fields.join(" ") };
            outcome.refused.push((comment.id.clone(), why));
            continue;
        }
        let id = answer["comment"]["id"].as_str().unwrap_or_default().to_owned();
        let approve =
            client.post(format!("{url}/api/v1/moderation/comments/{id}/approve")).bearer_auth(token).send().await?;
        if approve.status() != StatusCode::OK {
            return Err(format!("approving {} failed: {}", comment.id, approve.text().await?).into());
        }
        outcome.taken += 1;
        written.entry(comment.article.clone()).or_default().push((
            id.clone(),
            parent,
            comment.author.trim().to_owned(),
        ));
        ids.insert(comment.id.clone(), id);
    }
    for (article, expected) in written {
        compare(&client, url, &article, &expected).await?;
        outcome.articles += 1;
    }
    Ok(outcome)
}

/// Sends a comment, and waits as long as the service asks for.
async fn send(client: &Client, url: &str, body: &Value) -> Result<(StatusCode, Value), Box<dyn Error>> {
    loop {
        let response = client.post(url).json(body).send().await?;
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        match (response.status(), wait) {
            (StatusCode::TOO_MANY_REQUESTS, Some(seconds)) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            (status, _) => return Ok((status, response.json().await?)),
        }
    }
}

/// The article reads back with the same authors, order and parents.
async fn compare(
    client: &Client,
    url: &str,
    article: &str,
    written: &[(String, Option<String>, String)],
) -> Result<(), Box<dyn Error>> {
    let mut expected = Vec::new();
    walk(written, None, &mut expected);
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = [("article", article), ("limit", "10"), ("cursor", cursor.as_str())];
        let page: Value =
            client.get(format!("{url}/api/v1/sites/default/comments")).query(&query).send().await?.json().await?;
        for row in page["comments"].as_array().into_iter().flatten() {
            let text = |key: &str| row[key].as_str().map(str::to_owned);
            listed.push((text("id").unwrap_or_default(), text("parent_id"), text("name").unwrap_or_default()));
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    if listed == expected {
        Ok(())
    } else {
        Err(format!("{article} reads back otherwise:\n{listed:?}\n{expected:?}").into())
    }
}

/// Reading order: each comment, then its replies, oldest first.
fn walk(
    written: &[(String, Option<String>, String)],
    parent: Option<&String>,
    order: &mut Vec<(String, Option<String>, String)>,
) {
    for comment in written.iter().filter(|comment| comment.1.as_ref() == parent) {
        order.push(comment.clone());
        walk(written, Some(&comment.0), order);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token, file] = arguments.as_slice() else { return Err("usage: conversation URL TOKEN FILE".into()) };
    let outcome = hold(url.trim_end_matches('/'), token, &read(&std::fs::read_to_string(file)?)?).await?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} taken, {} refused, {} articles read back as written",
        outcome.taken,
        outcome.refused.len(),
        outcome.articles
    )?;
    for (id, fields) in outcome.refused {
        writeln!(out, "comment {id} was refused: {fields}")?;
    }
    Ok(())
}
