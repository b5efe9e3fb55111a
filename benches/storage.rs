//! Confirms on this machine what docs/decisions/001-storage.md builds on: group commit at 1, 32 and 256 clients, reads
//! beside a saturated writer, and that kill -9 loses nothing that was acknowledged.
//!
//! `cargo bench --bench storage` runs the measurements; `cargo bench --bench storage -- kill 20` runs 20 rounds of kill -9,
//! `… -- fill URL ARTICLES PER_ARTICLE [PREFIX]` fills the site `default` of a database with approved comments, and
//! `… -- raw FOLDER` prints the limits of SQLite itself.
//! Ratios within one run count, absolute numbers do not: the machines are shared.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a bench"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use afterword::domain::comment::{Action, Status, Via};
use afterword::domain::ids::{ArticleId, AuthorId, CommentId, EventId, OutboxId, SiteId};
use afterword::domain::listing::{ReadingPath, Sort};
use afterword::domain::site::{ArticlePolicy, Policy, Site, SiteKey};
use afterword::domain::site_settings::SiteSettings;
use afterword::domain::submission::ArticleKey;
use afterword::domain::time::Timestamp;
use afterword::storage::articles::NewArticle;
use afterword::storage::comments::{self, Comment};
use afterword::storage::events::Event;
use afterword::storage::listing::List;
use afterword::storage::outbox::{Kind, OutboxRow};
use afterword::storage::{DatabaseSettings, Db, articles, authors, listing, schema, sites};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use uuid::Uuid;

#[path = "storage/fill.rs"]
mod fill;

const ARTICLES: u64 = 100;
const WINDOW: Duration = Duration::from_millis(1500);
const BODY: &str = "A comment of ordinary length: three sentences, some *emphasis*, and a link. People write about four \
                    hundred characters when they have something to say. This one says nothing, but it says it at the \
                    usual length, so that rows, pages and indexes fill as they would on a real blog in a real year. \
                    The end of it is near, and here it is, after a last half sentence.";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| ["kill", "child", "raw", "fill"].contains(&argument.as_str())) {
        Some(at) if arguments[at] == "fill" => fill::fill(&arguments[at + 1..]),
        Some(at) if arguments[at] == "raw" => drop(raw(Path::new(&arguments[at + 1]))),
        Some(at) if arguments[at] == "kill" => kill_rounds(arguments.get(at + 1).map_or(20, |n| n.parse().unwrap())),
        Some(at) => child(Path::new(&arguments[at + 1])),
        None => measure(),
    }
}

fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let raw32 = raw(folder.path());
    println!("submissions through Db::write (comment, author, event, outbox row, counters), synchronous=FULL");
    for clients in [1, 32, 256] {
        let db = open(&folder.path().join(format!("writes-{clients}.db")));
        let writes = runtime.block_on(saturate(&db, clients, WINDOW));
        println!(
            "  {clients:>3} clients  {:>9.0} jobs/s = {:.2} x raw 32   p50 {:>6.2} ms   p99 {:>6.2} ms",
            writes.rate,
            writes.rate / raw32,
            writes.p50,
            writes.p99
        );
    }
    runtime.block_on(reads_beside_writes(folder.path()));
}

/// The limits of the store itself, printed; returns the one of 32 rows per transaction.
fn raw(folder: &Path) -> f64 {
    println!("raw SQLite, synchronous=FULL, rows of one comment, one thread");
    let rates = [1, 32, 128].map(|batch| {
        let rows = raw_batches(folder, batch);
        println!("  {batch:>3} rows per transaction   {rows:>9.0} rows/s");
        rows
    });
    rates[1]
}

fn open(path: &Path) -> Db {
    Db::open(&DatabaseSettings::of(format!("sqlite:{}", path.display()))).unwrap()
}

/// What `SQLite` itself does: comment-sized rows into one table with a primary key, prepared, many per transaction.
fn raw_batches(folder: &Path, batch: u64) -> f64 {
    let path = folder.join(format!("raw-{batch}-{}.db", Uuid::now_v7()));
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE c (id BLOB PRIMARY KEY, article BLOB, body TEXT, html TEXT, at INTEGER); CREATE INDEX c_article ON c (article, id)").unwrap();
    diesel::table! { c (id) { id -> Binary, article -> Binary, body -> Text, html -> Text, at -> BigInt, } }
    let (start, mut rows) = (Instant::now(), 0_u64);
    while start.elapsed() < WINDOW {
        conn.transaction(|conn| {
            for _ in 0..batch {
                rows += 1;
                let id = Uuid::now_v7().into_bytes().to_vec();
                let article = (rows % ARTICLES).to_be_bytes().to_vec();
                diesel::insert_into(c::table)
                    .values((c::id.eq(id), c::article.eq(article), c::body.eq(BODY), c::html.eq(BODY), c::at.eq(0)))
                    .execute(conn)?;
            }
            diesel::QueryResult::Ok(())
        })
        .unwrap();
    }
    rows as f64 / start.elapsed().as_secs_f64()
}

struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
}

fn figures(mut times: Vec<Duration>, window: Duration) -> Figures {
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Figures { rate: times.len() as f64 / window.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

async fn saturate(db: &Db, clients: u64, window: Duration) -> Figures {
    let ids = Arc::new(prepare(db).await);
    let number = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (db, ids, number) = (db.clone(), ids.clone(), number.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < window {
                    let begun = Instant::now();
                    submit(&db, &ids, number.fetch_add(1, Ordering::Relaxed)).await.unwrap();
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    figures(times, start.elapsed())
}

struct Blog {
    site: SiteId,
    articles: Vec<ArticleId>,
}

async fn prepare(db: &Db) -> Blog {
    let site = Site {
        id: SiteId(Uuid::now_v7()),
        key: SiteKey::parse("bench").unwrap(),
        name: "Bench".into(),
        url: None,
        origins: Vec::new(),
        policy: Policy::All,
        articles: ArticlePolicy::Any,
        language: "en".into(),
        settings: SiteSettings::default(),
        updated_at: Timestamp(0),
    };
    let id = site.id;
    let articles = db
        .write(move |tx| {
            sites::insert(tx, &site, Timestamp(0))?;
            (0..ARTICLES)
                .map(|n| {
                    let key = ArticleKey::parse(&format!("/article/{n}"), "article").unwrap();
                    Ok(articles::find_or_make(
                        tx,
                        &NewArticle {
                            id: ArticleId(Uuid::now_v7()),
                            site_id: site.id,
                            key: &key,
                            created_at: Timestamp(0),
                        },
                    )?
                    .0
                    .id)
                })
                .collect()
        })
        .await
        .unwrap();
    Blog { site: id, articles }
}

fn new_comment(blog: &Blog, number: u64, status: Status) -> Comment {
    let id = CommentId(Uuid::now_v7());
    let path = ReadingPath::below(None, id);
    let hash = |salt: u64| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt).to_be_bytes().repeat(4);
    Comment {
        id,
        site_id: blog.site,
        article_id: blog.articles[usize::try_from(number % ARTICLES).unwrap()],
        parent_id: None,
        root_id: id,
        depth: 0,
        path: path.0,
        status,
        visible: status == Status::Approved,
        author_id: AuthorId(Uuid::now_v7()),
        name: "Ada Lovelace".into(),
        website: None,
        body: format!("{number} {BODY}"),
        body_html: format!("<p>{number} {BODY}</p>"),
        renderer: 1,
        email_sealed: Some(vec![1; 60]),
        email_hash: Some(hash(1)),
        sender_sealed: Some(vec![2; 120]),
        article_title: None,
        article_url: None,
        waiting_edit: None,
        replaced_text: None,
        hold_reasons: r#"[{"code":"policy","detail":"This site looks at every comment before it is public."}]"#.into(),
        spam_score: None,
        notify: false,
        badge: None,
        pinned: false,
        votes_up: 0,
        votes_down: 0,
        score: 0,
        reply_count: 0,
        visible_children: 0,
        version: 1,
        text_hash: hash(2)[..16].to_vec(),
        created_at: Timestamp(0),
        edited_at: None,
    }
}

async fn submit(db: &Db, blog: &Blog, number: u64) -> Result<CommentId, afterword::error::Error> {
    let comment = new_comment(blog, number, Status::Pending);
    let id = comment.id;
    db.write(move |tx| {
        let author = authors::Author {
            id: comment.author_id,
            site_id: comment.site_id,
            approved: 0,
            rejected: 0,
            spam: 0,
            created_at: Timestamp(0),
        };
        comments::is_double(tx, comment.article_id, std::slice::from_ref(&comment.text_hash), Timestamp(0))?;
        tx.add_author(author);
        comments::insert(tx, &comment)?;
        tx.log(Event {
            id: EventId(Uuid::now_v7()),
            site_id: comment.site_id,
            comment_id: comment.id,
            at: Timestamp(0),
            account_id: None,
            action: Action::Submitted,
            from_status: None,
            to_status: Some(Status::Pending),
            via: Via::Author,
            reason: None,
            article_id: None,
        });
        let mut work = OutboxRow::new(OutboxId(Uuid::now_v7()), Kind::TellModerators, comment.site_id, Timestamp(0));
        work.comment_id = Some(comment.id);
        tx.enqueue(work);
        Ok(())
    })
    .await?;
    Ok(id)
}

/// How long each page took, until the window ends.
async fn read_pages(db: &Db, blog: &Blog, reader: usize, start: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while start.elapsed() < WINDOW {
        let begun = Instant::now();
        let article = blog.articles[(times.len() * 7 + reader) % blog.articles.len()];
        let list = List { article, sort: Sort::Oldest, limit: 25 };
        let page = db.read(move |conn| listing::page(conn, list, None)).await.unwrap();
        assert_eq!(page.comments.len(), 25);
        times.push(begun.elapsed());
    }
    times
}

async fn reads_beside_writes(folder: &Path) {
    let db = open(&folder.join("reads.db"));
    let blog = Arc::new(prepare(&db).await);
    let rows = blog.clone();
    let fill = move |tx: &mut afterword::storage::Tx<'_>| {
        (0..20_000).try_for_each(|number| comments::insert(tx, &new_comment(&rows, number, Status::Approved)))
    };
    db.write(fill).await.unwrap();
    println!("pages of 25 of 20,000 comments, 4 clients");
    for (name, writers) in [("writer idle", 0), ("writer saturated by 32 clients", 32)] {
        let stop = Arc::new(AtomicBool::new(false));
        let number = Arc::new(AtomicU64::new(1_000_000));
        let writing: Vec<_> = (0..writers)
            .map(|_| {
                let (db, blog, stop, number) = (db.clone(), blog.clone(), stop.clone(), number.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        submit(&db, &blog, number.fetch_add(1, Ordering::Relaxed)).await.unwrap();
                    }
                })
            })
            .collect();
        let (start, begun) = (Instant::now(), number.load(Ordering::Relaxed));
        let reading: Vec<_> = (0..4_usize)
            .map(|reader| {
                let (db, blog) = (db.clone(), blog.clone());
                tokio::spawn(async move { read_pages(&db, &blog, reader, start).await })
            })
            .collect();
        let mut times = Vec::new();
        for task in reading {
            times.extend(task.await.unwrap());
        }
        let window = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        let written = number.load(Ordering::Relaxed) - begun;
        for task in writing {
            task.await.unwrap();
        }
        let read = figures(times, window);
        println!(
            "  {name:<31} {:>8.0} pages/s   p50 {:>6.3} ms   p99 {:>6.3} ms   writes {:>7.0}/s",
            read.rate,
            read.p50,
            read.p99,
            written as f64 / window.as_secs_f64()
        );
    }
}

/// Writes until it is killed; prints each id once it is acknowledged.
fn child(path: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let db = open(path);
    runtime.block_on(async {
        let blog = Arc::new(prepare_or_load(&db).await);
        let number = Arc::new(AtomicU64::new(u64::from(std::process::id()) << 24));
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let (db, blog, number) = (db.clone(), blog.clone(), number.clone());
                tokio::spawn(async move {
                    loop {
                        let id = submit(&db, &blog, number.fetch_add(1, Ordering::Relaxed)).await.unwrap();
                        let mut out = std::io::stdout().lock();
                        writeln!(out, "{id}").unwrap();
                        out.flush().unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            let _: () = task.await.unwrap();
        }
    });
}

async fn prepare_or_load(db: &Db) -> Blog {
    let Some(site) = db.read(sites::all).await.unwrap().into_iter().next() else { return prepare(db).await };
    let articles = db
        .read(move |conn| {
            (0..ARTICLES).map(|n| Ok(articles::find(conn, site.id, &format!("/article/{n}"))?.unwrap().id)).collect()
        })
        .await
        .unwrap();
    Blog { site: site.id, articles }
}

fn kill_rounds(rounds: u32) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("killed.db");
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("child")
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 200 + u64::from(round) * 37 % 3000;
        acknowledged.extend(lines.by_ref().take(usize::try_from(wanted).unwrap()).map(|line| line.unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whole lines that were in the pipe were acknowledged too; the last one may be cut.
        acknowledged.extend(lines.map_while(Result::ok).filter(|line| line.len() == 36));
    }
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let present: std::collections::HashSet<String> = schema::comments::table
        .select(schema::comments::id)
        .load::<CommentId>(&mut conn)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    let lost = acknowledged.iter().filter(|id| !present.contains(*id)).count();
    let events: i64 = schema::events::table.count().get_result(&mut conn).unwrap();
    let work: i64 = schema::outbox::table.count().get_result(&mut conn).unwrap();
    let counted: i64 = schema::site_counts::table.select(schema::site_counts::pending).get_result(&mut conn).unwrap();
    println!("{rounds} rounds of kill -9: {} acknowledged, {} present, {lost} lost", acknowledged.len(), present.len());
    println!("events {events}, outbox rows {work}, counter {counted}: each equals the comments present");
    assert_eq!((lost, events, work, counted), (0, present.len() as i64, present.len() as i64, present.len() as i64));
}
