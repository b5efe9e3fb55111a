//! How the databases carry out the hot queries: through an index that already has the order, never over a whole table or a
//! whole article. The queries are caught as they run, and then explained on a database that is large enough to matter.

use std::sync::{Arc, Mutex};

use afterword::domain::comment::Status;
use afterword::domain::ids::{ArticleId, OutboxId, SiteId};
use afterword::domain::listing::Sort;
use afterword::storage::listing::List;
use afterword::storage::outbox::{self, Claim, Kind};
use afterword::storage::queue::QueueFilter;
use afterword::storage::{Conn, Db, Tx, aliases, articles, comments, days, idempotency, listing, pins, queue};
use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::rows;

on_both_databases!(hot_queries_read_what_they_return);

/// Articles of 150 comments, and one of 6,000.
async fn fill(db: &Db) -> (SiteId, ArticleId) {
    let site = rows::site(1, "blog");
    let id = site.id;
    let mut number = 1000;
    let mut large = None;
    for article in 0..40_u64 {
        let (site, first) = (site.clone(), number);
        let size = if article == 0 { 6000 } else { 150 };
        number += size;
        let made = db.write(move |tx| {
            let article = rows::site_and_article(tx, &site, 2 + article, &format!("a{article}"))?;
            for n in first..first + size {
                let status = if n % 3 == 0 { Status::Pending } else { Status::Approved };
                comments::insert(tx, &rows::comment(n, site.id, article, None, status))?;
            }
            Ok(article)
        });
        large = large.or(Some(made.await.unwrap()));
    }
    db.write(|tx| {
        match tx.conn() {
            Conn::Sqlite(_) => {} // It plans without statistics in the product as well.
            Conn::Postgres(c) => c.batch_execute("ANALYZE")?,
        }
        Ok(())
    })
    .await
    .unwrap();
    (id, large.unwrap())
}

#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Caught {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string();
            let sql = text.split(" -- binds:").next().unwrap().to_owned();
            if ["SELECT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb)) {
                self.0.lock().unwrap().push(sql);
            }
        }
    }
}

/// What runs in `work`, and how each statement of it is carried out.
fn plans(tx: &mut Tx<'_>, work: impl FnOnce(&mut Tx<'_>)) -> Vec<(String, String)> {
    let caught = Caught::default();
    match tx.conn() {
        Conn::Sqlite(c) => c.set_instrumentation(caught.clone()),
        Conn::Postgres(c) => c.set_instrumentation(caught.clone()),
    }
    work(tx);
    match tx.conn() {
        Conn::Sqlite(c) => c.set_instrumentation(None::<Box<dyn Instrumentation>>),
        Conn::Postgres(c) => c.set_instrumentation(None::<Box<dyn Instrumentation>>),
    }
    let statements = std::mem::take(&mut *caught.0.lock().unwrap());
    statements.into_iter().map(|sql| (explain(tx, &sql), sql)).map(|(plan, sql)| (sql, plan)).collect()
}

#[derive(QueryableByName)]
struct Detail {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct PlanLine {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

fn explain(tx: &mut Tx<'_>, sql: &str) -> String {
    match tx.conn() {
        Conn::Sqlite(c) => {
            let rows: Vec<Detail> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(c).unwrap();
            rows.into_iter().map(|row| row.detail).collect::<Vec<_>>().join("\n")
        }
        Conn::Postgres(c) => {
            let count = (1..50).take_while(|n| sql.contains(&format!("${n}"))).count();
            let nulls = vec!["NULL"; count].join(", ");
            let arguments = if count == 0 { String::new() } else { format!("({nulls})") };
            // A small table is read whole and sorted because that is cheap; what counts is that it need not be.
            let large = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; \
                         SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off";
            c.batch_execute(large).unwrap();
            c.batch_execute(&format!("PREPARE explained AS {sql}")).unwrap();
            let rows: Vec<PlanLine> =
                diesel::sql_query(format!("EXPLAIN EXECUTE explained{arguments}")).load(c).unwrap();
            c.batch_execute("DEALLOCATE explained").unwrap();
            rows.into_iter().map(|row| row.line).collect::<Vec<_>>().join("\n")
        }
    }
}

async fn hot_queries_read_what_they_return(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let (site, article) = fill(&db).await;
    let all = db
        .write(move |tx| {
            Ok(plans(tx, |tx| {
                reading(tx, site, article);
                reading_pinned(tx, article);
                moderating(tx, site, article);
                writing(tx, site, article);
            }))
        })
        .await
        .unwrap();
    assert!(all.len() > 20, "{} statements were caught", all.len());
    let edits: Vec<_> = all.iter().filter(|(sql, _)| sql.contains("IS NOT NULL)")).collect();
    assert!(!edits.is_empty());
    for (sql, plan) in edits.iter().filter(|(sql, _)| sql.contains("waiting_edit")) {
        // They are few among many: an index of them alone.
        assert!(plan.contains("waiting_edits"), "{sql}\n{plan}");
    }
    for (sql, plan) in all {
        let bad = match backend {
            Backend::Sqlite => plan.lines().any(|line| {
                (line.starts_with("SCAN") && !line.contains("VIRTUAL TABLE")) || line.contains("TEMP B-TREE")
            }),
            Backend::Postgres => plan.contains("Seq Scan") || plan.contains("Sort"),
        };
        assert!(!bad, "{sql}\n{plan}");
    }
}

fn reading(tx: &mut Tx<'_>, site: SiteId, article: ArticleId) {
    let conn = tx.conn();
    articles::find(conn, site, "a1").unwrap();
    for sort in [Sort::Oldest, Sort::Newest, Sort::Top] {
        let list = List { article, sort, limit: 25 };
        let first = listing::page(conn, list, None).unwrap();
        listing::page(conn, list, first.next.as_ref()).unwrap();
    }
    listing::recent(conn, site, 50).unwrap();
    aliases::page(conn, (site, 50), "a").unwrap();
    let keys: Vec<String> = (0..20).map(|n| format!("a{n}")).collect();
    articles::counts(conn, site, &keys).unwrap();
}

/// Pages of an article with pinned threads.
fn reading_pinned(tx: &mut Tx<'_>, article: ArticleId) {
    for n in [1003, 1021] {
        let comment = comments::find_to_change(tx, rows::comment_id(n)).unwrap().unwrap();
        pins::set(tx, &comment, true).unwrap();
    }
    for sort in [Sort::Oldest, Sort::Newest, Sort::Top] {
        let list = List { article, sort, limit: 25 };
        let mut after = None;
        for _ in 0..3 {
            after = listing::page(tx.conn(), list, after.as_ref()).unwrap().next;
        }
    }
}

fn moderating(tx: &mut Tx<'_>, site: SiteId, article: ArticleId) {
    let filters = [(None, None), (Some(vec![site]), None), (None, Some(vec![article]))];
    for (sites, articles) in filters {
        for newest_first in [false, true] {
            for status in [Some(Status::Pending), None] {
                let after = Some(rows::comment_id(3000));
                let (sites, articles) = (sites.clone(), articles.clone());
                let filter = QueueFilter { status, sites, articles, text: None, newest_first, after, limit: 51 };
                queue::page(tx.conn(), &filter).unwrap();
            }
        }
    }
    comments::find_to_change(tx, rows::comment_id(1001)).unwrap();
    for sites in [None, Some([site].as_slice())] {
        days::came(tx.conn(), sites, rows::NOW, rows::NOW).unwrap();
    }
}

fn writing(tx: &mut Tx<'_>, site: SiteId, article: ArticleId) {
    comments::find_parent(tx.conn(), rows::comment_id(1001)).unwrap();
    comments::is_double(tx, article, &[vec![1; 16]], rows::NOW).unwrap();
    idempotency::find(tx.conn(), site, &[vec![1; 32]], rows::NOW).unwrap();
    let claim = Claim {
        id: OutboxId(rows::uuid(1)),
        kinds: &[Kind::MailModerator],
        now: rows::NOW,
        until: rows::NOW,
        limit: 8,
    };
    outbox::claim(tx, &claim).unwrap();
    outbox::take(tx, &[Kind::TellModerators], rows::NOW, 256).unwrap();
}
