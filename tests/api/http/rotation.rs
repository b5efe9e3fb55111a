//! A new secret key while the service runs: readers, visitors and moderators notice nothing, and nothing is left behind.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterword::app::{Installed, open_existing};
use afterword::domain::comment::Status;
use afterword::domain::email::Email;
use afterword::domain::ids::CommentId;
use afterword::domain::submission::RawSubmission;
use afterword::error::Error;
use afterword::jobs::housekeeping;
use afterword::keys::Keys;
use afterword::service::Service;
use afterword::service::accounts::{NewAccount, email_place};
use afterword::service::private_fields::{comment_email_place, comment_sender_place};
use afterword::service::rotation::KeyStatus;
use afterword::service::submission::{Draft, Envelope, Prepared, Repeatable, Sent};
use afterword::storage::accounts::{self, Role};
use afterword::storage::{comments, reseal};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::rows;

on_both_databases!(
    a_used_database_is_rotated_and_cut_short_on_the_way,
    what_came_before_is_known_after,
    twins_under_two_keys_find_each_other,
    an_instance_without_the_key_holds_it_up,
    two_rotations_do_not_harm_each_other,
    a_comment_that_goes_meanwhile_stays_gone,
    what_was_sealed_before_the_move_is_stored_under_the_new_key,
);

/// More than a page.
const COMMENTS: u64 = 603;

/// A second process on the same database, with this key file.
async fn process(app: &TestApp, key_file: &Path) -> Arc<Service> {
    let mut config = app.config.clone();
    config.secrets.key_file = key_file.to_owned();
    let Installed::Ready(service) = open_existing(&config, app.clock.clone()).await.unwrap() else {
        panic!("it is there")
    };
    service
}

/// What `afterword keys rotate` works with.
pub(super) async fn command(app: &TestApp) -> Arc<Service> {
    process(app, &app.config.secrets.key_file).await
}

/// A copy of the key file, as another machine has it.
fn copied(app: &TestApp) -> PathBuf {
    let copy = app.config.secrets.key_file.with_extension("copy");
    std::fs::copy(&app.config.secrets.key_file, &copy).unwrap();
    copy
}

/// Adds the new key and moves the database to it; the instances look when they should.
pub(super) async fn begin(app: &TestApp, command: &Service) {
    command.keys.add_first(&mut command.keys.hold_file().unwrap()).unwrap();
    command.announce_key().await.unwrap();
    app.service.refresh_keys().await.unwrap();
    assert!(!command.somebody_lacks_the_key().await.unwrap());
    command.use_announced_key().await.unwrap();
}

pub(super) async fn go_to_the_end(command: &Service) {
    while !command.reseal_some().await.unwrap().is_last {}
}

async fn fill(service: &Service) {
    let keys = service.keys.clone();
    let filled = service.db.write(move |tx| {
        let site = rows::site(1, "blog");
        let article = rows::site_and_article(tx, &site, 10, "a")?;
        for n in 0..COMMENTS {
            let mut row = rows::comment(100 + n, site.id, article, None, Status::Pending);
            let (sealed, hash) =
                keys.sealer()?.seal_email(comment_email_place(&row.id), &format!("Bö{n}@example.org"))?;
            (row.email_sealed, row.email_hash) = (Some(sealed), Some(hash));
            if n % 2 == 0 {
                let sender = br#"{"address":"192.0.2.0/24","user_agent":"Browser"}"#;
                row.sender_sealed = Some(keys.sealer()?.seal(comment_sender_place(&row.id), sender)?);
            }
            rows::submit(tx, &row, 20_000 + n)?;
        }
        Ok(())
    });
    filled.await.unwrap();
}

pub(super) async fn exported(service: &Service) -> String {
    let (mut export, mut all) = (service.export(), Vec::new());
    while let Some(part) = export.next_part().await.unwrap() {
        all.extend(part.lines);
    }
    String::from_utf8(all).unwrap()
}

/// Every sealed value opens with these keys, and every look-up hash is the one of these keys. Returns how many there are.
async fn opened(service: &Service, keys: &Keys) -> usize {
    let mut count = 0;
    let email_hash = |address: Vec<u8>| {
        keys.email_hashes(&Email::parse(&String::from_utf8(address).unwrap(), "email").unwrap()).swap_remove(0)
    };
    let mut after = CommentId(Uuid::nil());
    loop {
        let page = service.db.read(move |conn| reseal::page(conn, after)).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        for row in &page {
            if let Some(sealed) = &row.email_sealed {
                assert_eq!(row.email_hash, Some(email_hash(keys.open(comment_email_place(&row.id), sealed).unwrap())));
                count += 1;
            }
            if let Some(sealed) = &row.sender_sealed {
                keys.open(comment_sender_place(&row.id), sealed).unwrap();
                count += 1;
            }
        }
    }
    for account in service.db.read(accounts::all).await.unwrap() {
        let address = keys.open(email_place(&account.id), &account.email_sealed).unwrap();
        assert_eq!(account.email_hash, email_hash(address));
        count += 1;
    }
    count
}

async fn a_used_database_is_rotated_and_cut_short_on_the_way(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.default_moderator().await;
    fill(&app.service).await;
    let before = exported(&app.service).await;
    let house = tokio::spawn(housekeeping::run(app.service.clone(), app.keep_working()));

    let first = command(&app).await;
    let values = first.key_status().await.unwrap();
    assert_eq!(values, KeyStatus { is_rotating: false, first_is_unused: false, others: 0, left: 0, lost: 0 });
    begin(&app, &first).await;
    assert!(first.reseal_some().await.unwrap().done > 500);
    // It is killed here; what it did stays done.
    drop(first);
    let held = app.comment("while it stands still").await["comment"]["id"].as_str().unwrap().to_owned();

    let second = command(&app).await;
    assert!(second.is_resealing().await.unwrap());
    let left = second.key_status().await.unwrap().left;
    assert!((1..i64::try_from(COMMENTS * 3 / 2 - 400).unwrap()).contains(&left), "it goes on where it was: {left}");
    let writing = async {
        for n in 0..20 {
            app.comment(&format!("meanwhile {n}")).await;
            app.list("").await;
        }
    };
    tokio::join!(writing, go_to_the_end(&second));
    go_to_the_end(&second).await;
    assert!(second.key_status().await.unwrap().is_rotating);
    second.end_rotation().await.unwrap();
    let done = second.key_status().await.unwrap();
    assert_eq!(done, KeyStatus { is_rotating: false, first_is_unused: false, others: 1, left: 0, lost: 0 });

    second.keys.forget_others(&mut second.keys.hold_file().unwrap()).unwrap();
    let alone = Keys::load(&app.config.secrets.key_file).unwrap().unwrap();
    assert_eq!(alone.count(), 1);
    let count = opened(&second, &alone).await;
    assert_eq!(count, usize::try_from(COMMENTS + COMMENTS.div_ceil(2) + 2 * 21 + 1).unwrap());
    let after = exported(&second).await;
    let after: HashSet<&str> = after.lines().collect();
    let missing = before.lines().find(|line| !after.contains(line));
    assert_eq!(missing, None, "what was there is there, byte for byte");
    // The instance that ran all the time reads it, too.
    app.service.refresh_keys().await.unwrap();
    let moderator = app.default_moderator().await;
    let shown = moderator.get(&format!("/comments/{held}")).await.expect(200);
    assert_eq!(shown["email"], "ada@example.org");
    house.abort();
}

/// A comment with an `Idempotency-Key`.
async fn send(app: &TestApp, body: &Value, key: &str) -> Answer {
    let request = app.request(Method::POST, "/api/v1/sites/default/comments").json(body);
    app.send(request.header("idempotency-key", key)).await
}

async fn what_came_before_is_known_after(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.default_moderator().await;
    // Another instance, which nobody tells anything.
    let other = command(&app).await;
    let first = send(&app, &comment("mine"), "k-1").await.expect(202);
    let id = first["comment"]["id"].as_str().unwrap();
    let old_token = first["author_token"].as_str().unwrap();

    let command = command(&app).await;
    begin(&app, &command).await;
    app.service.refresh_keys().await.unwrap();
    for is_resealed in [false, true] {
        if is_resealed {
            go_to_the_end(&command).await;
        }
        let replay = send(&app, &comment("mine"), "k-1").await.expect(202);
        assert_eq!(replay["comment"], first["comment"], "the picture is the same, too");
        assert_eq!(send(&app, &comment("another"), "k-1").await.problem(422), "idempotency_key_reused");
        assert_eq!(app.submit(&comment("mine")).await.problem(409), "duplicate_comment");
        let own = |token: &str| app.request(Method::GET, &format!("/api/v1/comments/{id}")).bearer_auth(token);
        for token in [old_token, replay["author_token"].as_str().unwrap()] {
            assert_eq!(app.send(own(token)).await.expect(200)["body"], "mine");
        }
        let email = Email::parse("Mod@example.org", "email").unwrap();
        for service in [&app.service, &command, &other] {
            if let Ok(account) = service.account_by_email(&email).await {
                assert_eq!(service.account_email(&account).unwrap(), "mod@example.org");
            } else {
                assert!(is_resealed && Arc::ptr_eq(service, &other), "only who has not looked yet cannot know");
                service.refresh_keys().await.unwrap();
                service.account_by_email(&email).await.unwrap();
            }
        }
        let again = NewAccount { email, role: Role::Admin, sites: Vec::new(), password: None };
        assert!(matches!(app.service.add_account(again).await, Err(Error::Conflict(_))));
    }
    // The other way round: what was made with the new key is known to one that still uses the old one.
    let late = send(&app, &comment("late"), "k-2").await.expect(202);
    let sealed = app.service.db.read(|conn| reseal::page(conn, CommentId(Uuid::nil()))).await.unwrap();
    for row in &sealed {
        other.keys.open(comment_email_place(&row.id), row.email_sealed.as_ref().unwrap()).unwrap();
    }
    assert!(late["author_token"].as_str().unwrap() != old_token);
}

/// A submission that has been looked at and not stored.
async fn prepared(service: &Service, text: &str, key: Option<&str>) -> Draft {
    let some = |text: &str| Some(text.to_owned());
    let (article, name, email, body) = (some("/a"), some("Ada"), some("ada@example.org"), some(text));
    let repeatable = key.map(|key| Repeatable { key: key.to_owned(), request: text.as_bytes().to_vec() });
    let sent = Sent {
        raw: RawSubmission { article, name, email, body, ..RawSubmission::default() },
        envelope: Envelope { repeatable, address: some("192.0.2.0/24"), ..Envelope::default() },
        ..Sent::default()
    };
    let site = service.sites.by_key("default").unwrap();
    let Prepared::New(draft) = service.prepare(site, sent).await.unwrap() else { panic!("nobody sent it before") };
    *draft
}

/// In the half second in which instances use two keys, each of them knows both.
async fn twins_under_two_keys_find_each_other(backend: Backend) {
    let app = TestApp::new(backend).await;
    let late = command(&app).await;
    begin(&app, &*command(&app).await).await;
    app.service.refresh_keys().await.unwrap();
    late.keys.reload().unwrap();
    assert_ne!(late.keys.check_value(), app.service.keys.check_value());
    for n in 0..5 {
        let (text, key) = (format!("twin {n}"), format!("k-{n}"));
        let one = prepared(&app.service, &text, Some(&key)).await;
        let other = prepared(&late, &text, Some(&key)).await;
        let (one, other) = tokio::join!(app.service.store(one, true), late.store(other, true));
        assert_eq!(one.unwrap().id, other.unwrap().id);

        let text = format!("double {n}");
        let (one, other) = (prepared(&app.service, &text, None).await, prepared(&late, &text, None).await);
        let (one, other) = tokio::join!(app.service.store(one, true), late.store(other, true));
        let taken = one.is_ok();
        let refused = if taken { other.err() } else { one.err() };
        assert!(matches!(refused, Some(Error::DuplicateComment)), "{refused:?}");
    }
}

async fn an_instance_without_the_key_holds_it_up(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.comment("before").await;
    let copy = copied(&app);
    let command = process(&app, &copy).await;
    command.keys.add_first(&mut command.keys.hold_file().unwrap()).unwrap();
    for _ in 0..2 {
        command.announce_key().await.unwrap();
        assert!(!command.somebody_lacks_the_key().await.unwrap());
        app.service.refresh_keys().await.unwrap();
        assert!(command.somebody_lacks_the_key().await.unwrap(), "the instance has said so");
        app.comment(&Uuid::now_v7().to_string()).await;
    }
    // An instance that could not say so in time.
    command.use_announced_key().await.unwrap();
    let told = app.service.refresh_keys().await.unwrap_err();
    assert!(told.inside().contains("lacks the key"), "{}", told.inside());
    let refused = app.submit(&comment("nobody could read whose this is")).await;
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(refused.problem(503), "busy");
    go_to_the_end(&command).await;
    let moderator = app.default_moderator();
    std::fs::copy(&copy, &app.config.secrets.key_file).unwrap();
    app.service.refresh_keys().await.unwrap();
    let moderator = moderator.await;
    app.comment("now they can").await;
    let queue = moderator.get("/comments").await.expect(200);
    assert!(queue["comments"].as_array().unwrap().iter().all(|row| row["email"] == "ada@example.org"));
    assert_eq!(command.key_status().await.unwrap().left, 0);
}

/// An instance that has not looked since the move stores a comment and makes an account.
async fn what_was_sealed_before_the_move_is_stored_under_the_new_key(backend: Backend) {
    let app = TestApp::new(backend).await;
    let late = command(&app).await;
    let draft = prepared(&late, "looked at before", None).await;
    let command = command(&app).await;
    begin(&app, &command).await;
    go_to_the_end(&command).await;
    command.end_rotation().await.unwrap();
    assert_ne!(late.keys.check_value(), command.keys.check_value());
    late.store(draft, true).await.unwrap();
    late.keys.follow(&app.service.keys.check_value());
    let email = Email::parse("late@example.org", "email").unwrap();
    late.add_account(NewAccount { email, role: Role::Admin, sites: Vec::new(), password: None }).await.unwrap();
    command.keys.forget_others(&mut command.keys.hold_file().unwrap()).unwrap();
    let alone = Keys::load(&app.config.secrets.key_file).unwrap().unwrap();
    assert_eq!((alone.count(), opened(&command, &alone).await), (1, 3), "an address, a sender, an account");
}

async fn two_rotations_do_not_harm_each_other(backend: Backend) {
    let app = TestApp::new(backend).await;
    fill(&app.service).await;
    let (one, other) = (command(&app).await, command(&app).await);
    let held = one.keys.hold_file().unwrap();
    assert!(other.keys.hold_file().err().unwrap().inside().contains("another afterword keys"));
    drop(held);
    // Another machine, with a file and a new key of its own.
    let foreign = process(&app, &copied(&app)).await;
    foreign.keys.add_first(&mut foreign.keys.hold_file().unwrap()).unwrap();
    foreign.announce_key().await.unwrap();
    begin(&app, &one).await;
    assert!(matches!(foreign.use_announced_key().await, Err(Error::Conflict(_))), "it came too late");
    assert!(foreign.follow_used_key().await.is_err());
    other.follow_used_key().await.unwrap();
    tokio::join!(go_to_the_end(&one), go_to_the_end(&other));
    go_to_the_end(&one).await;
    one.end_rotation().await.unwrap();
    let alone = Keys::load(&app.config.secrets.key_file).unwrap().unwrap();
    assert_eq!((one.key_status().await.unwrap().left, alone.count()), (0, 2));
    opened(&one, &alone).await;
}

async fn a_comment_that_goes_meanwhile_stays_gone(backend: Backend) {
    let app = TestApp::new(backend).await;
    let root = app.published("root", None).await;
    app.published("reply", Some(&root)).await;
    let stale = app.service.db.read(|conn| reseal::page(conn, CommentId(Uuid::nil()))).await.unwrap();
    let id: CommentId = root.parse().unwrap();
    let removed = app.service.db.write(move |tx| {
        let comment = comments::find_to_change(tx, id)?.unwrap();
        comments::remove(tx, &comment)
    });
    removed.await.unwrap();
    let changes: Vec<_> = stale.iter().map(|before| (before.clone(), before.clone())).collect();
    app.service.db.write(move |tx| reseal::replace(tx, &changes)).await.unwrap();
    let now = app.service.db.read(|conn| reseal::page(conn, CommentId(Uuid::nil()))).await.unwrap();
    let wiped = now.iter().find(|row| row.id == id).expect("a reply holds its row");
    assert_eq!((&wiped.email_sealed, &wiped.email_hash, &wiped.sender_sealed), (&None, &None, &None));
    assert!(now.iter().any(|row| row.email_sealed.is_some()));
}

/// A batch that waited for a row would be waited for by whoever holds it, and neither would go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_row_in_use_is_passed_over() {
    let app = TestApp::new(Backend::Postgres).await;
    for text in ["one", "two"] {
        app.comment(text).await;
    }
    let page = app.service.db.read(|conn| reseal::page(conn, CommentId(Uuid::nil()))).await.unwrap();
    let changes: Vec<_> = page
        .iter()
        .map(|before| (before.clone(), reseal::PrivateFields { email_hash: None, ..before.clone() }))
        .collect();
    let (only, both) = (vec![changes[0].clone()], changes);
    let (inside, is_inside) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let writer = app.service.clone();
    let holding = tokio::spawn(async move {
        writer
            .db
            .write(move |tx| {
                reseal::replace(tx, &only)?;
                let _ = inside.send(());
                let _ = gone.recv();
                Err::<(), _>(Error::NotFound)
            })
            .await
    });
    tokio::task::spawn_blocking(move || is_inside.recv().unwrap()).await.unwrap();
    command(&app).await.db.write(move |tx| reseal::replace(tx, &both)).await.unwrap();
    drop(go);
    assert!(holding.await.unwrap().is_err());
    let after = app.service.db.read(|conn| reseal::page(conn, CommentId(Uuid::nil()))).await.unwrap();
    assert_eq!(after.iter().map(|row| row.email_hash.is_some()).collect::<Vec<_>>(), [true, false]);
}
