//! The export: equal bytes for equal rows on both databases, every row once and in order, and no secret in it.

use std::collections::HashMap;
use std::sync::Arc;

use afterword::app::{Installed, open_existing};
use afterword::config::Config;
use afterword::domain::comment::{HoldReason, Status};
use afterword::domain::hex::hex;
use afterword::domain::ids::{AccountId, AuthorId, RuleId, TokenId};
use afterword::domain::mail_choice::{MailChoice, MailMode};
use afterword::service::Service;
use afterword::service::accounts::email_place;
use afterword::service::private_fields::{Sender, comment_email_place, comment_sender_place};
use afterword::service::rules::RuleTarget;
use afterword::storage::accounts;
use afterword::storage::accounts::{Account, Role, Token};
use afterword::storage::authors::Author;
use afterword::storage::comments::reasons_json;
use afterword::storage::rules::{self, StoredRule};
use serde_json::{Value, json};

use crate::support::clock::FakeClock;
use crate::support::database::{Backend, TestDatabase};
use crate::support::rows::{self, NOW};

/// More than two pages.
const COMMENTS: u64 = 1_203;

async fn service(database: &TestDatabase, key_file: &str) -> Arc<Service> {
    drop(database.open());
    let settings =
        [("AFTERWORD__DATABASE__URL", database.settings.url.as_str()), ("AFTERWORD__SECRETS__KEY_FILE", key_file)];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let config = Config::load(None, settings).unwrap();
    let opened = open_existing(&config, Arc::new(FakeClock::default())).await.unwrap();
    let Installed::Ready(service) = opened else { panic!("it was migrated") };
    service
}

/// A row of every kind, with every secret that a row can have.
async fn fill(service: &Service) {
    let site = rows::site(1, "blog");
    let (account, author) = (AccountId(rows::uuid(50)), AuthorId(rows::uuid(60)));
    let account = Account {
        id: account,
        email_sealed: service.keys.sealer().unwrap().seal(email_place(&account), b"ann@example.org").unwrap(),
        email_hash: b"secret-email-hash".to_vec(),
        name: "ann".into(),
        role: Role::Moderator,
        password_hash: Some("$argon2id$secret-password-hash".into()),
        mail: (&MailChoice { mode: MailMode::Each, quiet: None }).into(),
        created_at: NOW,
        disabled_at: None,
        links_from: None,
        language: None,
        totp_sealed: None,
        totp_pending: None,
        totp_step: None,
    };
    let token = Token {
        id: TokenId(rows::uuid(51)),
        account_id: account.id,
        name: "secret-token-name".into(),
        token_hash: b"secret-token-hash".to_vec(),
        scope: "all".into(),
        created_at: NOW,
        expires_at: NOW,
        last_used_at: None,
        revoked_at: None,
    };
    let author = Author { id: author, site_id: site.id, approved: 1, rejected: 2, spam: 3, created_at: NOW };
    let definition = json!({
        "name": "List", "enabled": true, "match": "all", "effect": {"score": 2.5}, "reason": "",
        "conditions": [{"on": "anywhere", "is": "contains", "values": [], "list": true, "not": false}],
    });
    let rule = StoredRule {
        id: RuleId(rows::uuid(70)),
        site_id: Some(site.id),
        position: 1,
        definition: definition.to_string(),
        word_count: 0,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    let target = RuleTarget { id: rule.id, versions: None };
    let keys = service.keys.clone();
    let filled = service.db.write(move |tx| {
        let article = rows::site_and_article(tx, &site, 10, "/hello")?;
        rules::insert(tx, &rule)?;
        accounts::insert(tx, &account, &[site.id])?;
        accounts::insert_token(tx, &token)?;
        tx.add_author(author);
        let mut first = rows::comment(100, site.id, article, None, Status::Approved);
        first.email_sealed = Some(keys.sealer()?.seal(comment_email_place(&first.id), "bö@example.org".as_bytes())?);
        let sender = Sender { address: Some("192.0.2.0/24".into()), user_agent: Some("Browser \"1\"".into()) };
        let sender = serde_json::to_vec(&sender).unwrap();
        first.sender_sealed = Some(keys.sealer()?.seal(comment_sender_place(&first.id), &sender)?);
        first.text_hash = b"secret-text-hash".to_vec();
        let mut edit = first.text();
        edit.body = "A new\ntext".into();
        edit.edited_at = Some(NOW.0);
        first.waiting_edit = Some(serde_json::to_string(&edit).unwrap());
        first.hold_reasons = reasons_json(&[HoldReason::new("edit", "Its author changed it.")])?;
        first.spam_score = Some(0.1);
        first.votes_up = 7;
        rows::submit(tx, &first, 20_000)?;
        for n in 1..COMMENTS {
            let parent = (n == 1).then_some(&first);
            let status = Status::ALL[usize::try_from(n % 4).unwrap()];
            rows::submit(tx, &rows::comment(100 + n, site.id, article, parent, status), 20_000 + n)?;
        }
        Ok(())
    });
    filled.await.unwrap();
    service.write_rule_words(&Service::operator_of_rules(), target, "one\ntwö\n".into()).await.unwrap();
}

async fn exported(service: &Service) -> Vec<u8> {
    let (mut export, mut all) = (service.export(), Vec::new());
    while let Some(part) = export.next_part().await.unwrap() {
        assert!(part.rows <= 500 && part.lines.ends_with(b"\n"), "{}", part.rows);
        all.extend(part.lines);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_make_the_same_bytes_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("secret.key");
    afterword::keys::Keys::load_or_make(&key_file).unwrap();
    let mut files = Vec::new();
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = TestDatabase::new(backend);
        let service = service(&database, key_file.to_str().unwrap()).await;
        fill(&service).await;
        files.push(exported(&service).await);
    }
    let (one, other) = (String::from_utf8(files.remove(0)).unwrap(), String::from_utf8(files.remove(0)).unwrap());
    let different = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert!(one == other, "{different:?}");

    let lines: Vec<Value> = one.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut by_kind: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut kinds = Vec::new();
    for line in &lines {
        let kind = line["kind"].as_str().unwrap();
        by_kind.entry(kind).or_default().push(line);
        kinds.push(kind);
    }
    kinds.dedup();
    assert_eq!(kinds, ["site", "rule", "account", "article", "author", "comment", "event"]);
    for rows in by_kind.values() {
        assert!(rows.is_sorted_by(|one, next| one["id"].as_str().unwrap() < next["id"].as_str().unwrap()));
    }
    let count = usize::try_from(COMMENTS).unwrap();
    assert_eq!((by_kind["comment"].len(), by_kind["event"].len()), (count, count));

    let (first, reply) = (by_kind["comment"][0], by_kind["comment"][1]);
    let of_first =
        json!([first["email"], first["address"], first["user_agent"], first["spam_score"], first["votes_up"]]);
    assert_eq!(of_first, json!(["bö@example.org", "192.0.2.0/24", "Browser \"1\"", 0.1, 7]));
    let texts = json!([first["text"]["body"], first["text"]["body_html"], first["waiting_edit"]["body"]]);
    assert_eq!(texts, json!(["Text number 100", "<p>Text number 100</p>", "A new\ntext"]));
    assert_eq!(json!([first["status"], first["hold_reasons"][0]["code"]]), json!(["approved", "edit"]));
    assert_eq!(first["created_at"], "2026-01-01T00:01:40.000000Z");
    assert_eq!(reply["parent_id"], first["id"]);
    assert_eq!(reply["email"], Value::Null);
    assert_eq!(by_kind["account"][0]["email"], "ann@example.org");
    assert_eq!(by_kind["account"][0]["sites"][0], by_kind["site"][0]["id"]);

    let rule = by_kind["rule"][0];
    let told = json!([rule["name"], rule["effect"], rule["words"], rule["site_id"] == by_kind["site"][0]["id"]]);
    assert_eq!(told, json!(["List", {"score": 2.5}, ["one", "twö"], true]));

    let key = std::fs::read_to_string(&key_file).unwrap();
    for secret in ["secret-password-hash", "secret-token", "hash", "sealed", key.trim()] {
        assert!(!one.contains(secret), "{secret}");
    }
    for bytes in [&b"secret-email-hash"[..], b"secret-token-hash", b"secret-text-hash"] {
        let as_numbers = serde_json::to_string(bytes).unwrap();
        assert!(!one.contains(&hex(bytes)) && !one.contains(&as_numbers));
    }
}
