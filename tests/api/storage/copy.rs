//! A copy of a database: every table and every column, whatever is in them; cut short and gone on with; checked, and begun
//! anew when the source changed. The rows are compared by other means than the product's own checksums.

use std::collections::BTreeSet;
use std::path::Path;

use afterword::domain::comment::Status;
use afterword::error::Error;
use afterword::service::copy::{Copy, Found, open_source, open_target};
use afterword::storage::copy::{TABLES, refuse_half_a_copy};
use afterword::storage::queue::{self, QueueFilter};
use afterword::storage::schema::site_counts;
use afterword::storage::{Conn, Db, comments};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::postgres;
use crate::support::rows;

on_both_databases!(
    every_table_is_copied_or_named_here,
    a_copy_that_was_cut_short_goes_on,
    a_source_that_changed_is_found_out,
    rows_that_do_not_fit_begin_the_copy_anew,
    two_copies_do_not_mix,
    other_data_is_not_written_over
);

/// What no copy takes: search is derived from the comments, what PostgreSQL alone keeps for a moment stays there, and
/// whoever is signed in or has a link begins anew.
const NOT_COPIED: &[&str] = &["comment_words", "rate_limits", "sessions", "one_time_links"];

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// What a question with one column named `line` answers; asked on a connection of its own.
fn lines(file: &Path, sql: &str) -> Vec<String> {
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let found: Vec<Line> = diesel::sql_query(sql).load(&mut conn).unwrap();
    found.into_iter().map(|row| row.line).collect()
}

fn file(database: &TestDatabase) -> &Path {
    Path::new(database.settings.url.strip_prefix("sqlite:").unwrap())
}

/// The tables of an `SQLite` file, but for those behind the search index and the migrations' own.
fn tables(file: &Path) -> Vec<String> {
    lines(
        file,
        "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'comment_words%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
    )
}

async fn every_table_is_copied_or_named_here(backend: Backend) {
    let database = TestDatabase::new(backend);
    drop(database.open());
    let there: BTreeSet<String> = match backend {
        Backend::Sqlite => tables(file(&database)).into_iter().collect(),
        Backend::Postgres => postgres::tables(&database.settings.url).into_iter().collect(),
    };
    let copied = TABLES.iter().map(|table| table.name);
    let known: BTreeSet<&str> = copied.chain(NOT_COPIED.iter().copied()).collect();
    let forgotten: Vec<_> =
        there.iter().filter(|name| !known.contains(name.as_str()) && !name.starts_with("__")).collect();
    assert!(forgotten.is_empty(), "storage/copy/tables.rs takes them, or NOT_COPIED says why not: {forgotten:?}");
    assert!(TABLES.iter().all(|table| there.contains(table.name)));
}

/// A value of a column for the n-th row of its table: the greatest and least numbers, every byte, what a text can hold.
/// All rows of one number refer to each other, whatever their tables.
fn odd(table: &str, (column, kind): (&str, &str), (n, is_nullable): (usize, bool)) -> String {
    let id = |n: usize| format!("x'{}'", rows::uuid(n as u64 + 1).simple());
    match (kind, column) {
        // The first is a reply to the second, and so on: parents have the greater ids.
        (_, "parent_id") => {
            if n == 2 {
                "NULL".into()
            } else {
                id(n + 1)
            }
        }
        (_, "depth") => (2 - n).to_string(),
        ("BLOB", "id" | "claim" | "alias_of" | "mail") => id(n),
        ("BLOB", _) if column.ends_with("_id") => id(n),
        _ if is_nullable && n == 1 => "NULL".into(),
        ("BLOB", _) => {
            let bytes: Vec<String> = (0..=255_u8).map(|byte| format!("{byte:02x}")).collect();
            format!("x'{}{n:02}'", bytes.concat())
        }
        ("TEXT", "value") if n > 0 => format!("'{n}'"),
        ("TEXT", "name" | "body" | "reason") if n == 2 => "''".into(),
        ("TEXT", _) => format!("'{table}.{column} {n} ünï 漢字 \u{1f600}\u{202e} '' \" \\ \t\r\n %_\u{7f}\u{ffff}'"),
        ("BIGINT", _) => [i64::MAX, i64::MIN, 0][n].to_string(),
        ("INTEGER", _) => [i32::MAX, i32::MIN, 0][n].to_string(),
        ("SMALLINT", _) => [i16::MAX, i16::MIN, 0][n].to_string(),
        ("BOOLEAN", _) => (n % 2).to_string(),
        ("DOUBLE", _) => ["0.1", "NULL", "-1.7976931348623157e308"][n].into(),
        _ => panic!("no odd value for {table}.{column} of type {kind}"),
    }
}

/// Three rows in every table, with every column.
fn fill_with_odd_rows(file: &Path) {
    let mut sql = "PRAGMA foreign_keys = OFF;".to_owned();
    for table in tables(file) {
        let columns = lines(
            file,
            &format!(
                "SELECT name || ' ' || type || ' ' || \"notnull\" AS line FROM pragma_table_info('{table}') WHERE name <> 'seq'"
            ),
        );
        let columns: Vec<Vec<&str>> = columns.iter().map(|line| line.split(' ').collect()).collect();
        let names: Vec<&str> = columns.iter().map(|column| column[0]).collect();
        for n in 0..3 {
            let value = |column: &Vec<&str>| odd(&table, (column[0], column[1]), (n, column[2] == "0"));
            let values: Vec<String> = columns.iter().map(value).collect();
            sql += &format!("INSERT INTO {table} ({}) VALUES ({});", names.join(", "), values.join(", "));
        }
    }
    SqliteConnection::establish(file.to_str().unwrap()).unwrap().batch_execute(&sql).unwrap();
    assert_eq!(lines(file, "SELECT \"table\" AS line FROM pragma_foreign_key_check"), Vec::<String>::new());
}

/// Every value of every table, as SQL would write it.
fn dump(file: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for table in tables(file).into_iter().filter(|table| !NOT_COPIED.contains(&table.as_str())) {
        let columns =
            lines(file, &format!("SELECT name AS line FROM pragma_table_info('{table}') WHERE name <> 'seq'"));
        let quoted: Vec<String> = columns.iter().map(|name| format!("typeof({name}) || quote({name})")).collect();
        let line = format!("'{table} ' || {}", quoted.join(" || ' ' || "));
        let own = if table == "meta" { "WHERE key NOT IN ('copy', 'words_until')" } else { "" };
        all.extend(lines(file, &format!("SELECT {line} AS line FROM {table} {own} ORDER BY 1")));
    }
    all
}

async fn opened(from: &str, to: &str) -> Result<Found, Error> {
    let source = open_source(from.to_owned()).await?;
    open_target(source, from.to_owned(), to.to_owned()).await
}

async fn begun(from: &str, to: &str) -> Copy {
    let Ok(Found::Copy(copy)) = opened(from, to).await else { panic!("there is something to copy") };
    copy
}

/// Does what is left; returns how many rows that were, and the tables that differ.
async fn finish(mut copy: Copy) -> (u64, Vec<&'static str>) {
    let mut rows = 0;
    while let Some(more) = copy.copy_page().await.unwrap() {
        rows += more;
    }
    while copy.index_piece().await.unwrap() > 0 {}
    let compared = copy.check(&mut |_| ()).await.unwrap();
    assert_eq!(compared.len(), TABLES.len());
    (rows, compared.iter().filter(|table| !table.is_equal()).map(|table| table.table).collect())
}

/// Why it is refused.
async fn refused(from: &str, to: &str) -> String {
    match opened(from, to).await {
        Err(Error::Internal(cause)) => cause.to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it must be refused"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_of_every_column_survives_there_and_back() {
    let (first, back) = (TestDatabase::new(Backend::Sqlite), TestDatabase::new(Backend::Sqlite));
    drop(first.open());
    fill_with_odd_rows(file(&first));
    let before = std::fs::read(file(&first)).unwrap();
    let server = postgres::empty_database();
    assert_eq!(finish(begun(&first.settings.url, &server).await).await.1, Vec::<&str>::new());
    assert_eq!(finish(begun(&server, &back.settings.url).await).await.1, Vec::<&str>::new());
    let (one, other) = (dump(file(&first)), dump(file(&back)));
    assert_eq!(one.len(), 3 * TABLES.len() + 2, "three in each, and two facts of the migrations");
    assert_eq!(one, other);
    assert_eq!(lines(file(&back), "SELECT \"table\" AS line FROM pragma_foreign_key_check"), Vec::<String>::new());
    assert!(before == std::fs::read(file(&first)).unwrap(), "the source is read and not written");
    // The same kind, too.
    let (third, server_too) = (TestDatabase::new(Backend::Sqlite), postgres::empty_database());
    finish(begun(&server, &server_too).await).await;
    finish(begun(&server_too, &third.settings.url).await).await;
    assert_eq!(one, dump(file(&third)));
    let fourth = TestDatabase::new(Backend::Sqlite);
    finish(begun(&third.settings.url, &fourth.settings.url).await).await;
    assert_eq!(one, dump(file(&fourth)));
}

/// More than two pages, in each of which some replies have parents that come later.
const COMMENTS: u64 = 2_400;

async fn fill(db: &Db) {
    let write = db.write(|tx| {
        let site = rows::site(1, "blog");
        let article = rows::site_and_article(tx, &site, 10, "/hello")?;
        // The last first: a parent is there before its reply.
        let mut parent = None;
        for n in (0..COMMENTS).rev() {
            let depth_left = parent.as_ref().is_none_or(|parent: &comments::Comment| parent.depth < 4);
            let above = parent.as_ref().filter(|_| depth_left && n % 7 != 0);
            let comment = rows::comment(100 + n, site.id, article, above, Status::ALL[usize::try_from(n % 4).unwrap()]);
            rows::submit(tx, &comment, 20_000 + n)?;
            if n % 3 == 0 || parent.is_none() {
                parent = Some(comment);
            }
        }
        Ok(())
    });
    write.await.unwrap();
}

/// How many comments a search finds.
async fn found(db: &Db, text: &str) -> usize {
    let filter = QueueFilter {
        status: None,
        sites: None,
        articles: None,
        text: Some(text.to_owned()),
        newest_first: false,
        after: None,
        limit: 5_000,
    };
    db.read(move |conn| queue::page(conn, &filter)).await.unwrap().len()
}

/// A filled source, and an empty database of the other kind.
async fn there_and_back(backend: Backend) -> (TestDatabase, TestDatabase) {
    let other = if backend == Backend::Sqlite { Backend::Postgres } else { Backend::Sqlite };
    let (source, target) = (TestDatabase::new(backend), TestDatabase::new(other));
    fill(&source.open()).await;
    (source, target)
}

async fn a_copy_that_was_cut_short_goes_on(backend: Backend) {
    let (source, target) = there_and_back(backend).await;
    let (from, to) = (source.settings.url.as_str(), target.settings.url.as_str());
    let mut copy = begun(from, to).await;
    assert!(!copy.goes_on);
    let (mut first_run, mut comments) = (0, 0);
    while comments < 2 {
        let rows = copy.copy_page().await.unwrap().unwrap();
        first_run += rows;
        comments += u64::from(rows == 1_000);
    }
    let (all, _) = copy.rows().await.unwrap();
    let filled = source.open();
    let slots = filled.read(|conn| match conn {
        Conn::Sqlite(c) => Ok(site_counts::table.count().get_result::<i64>(c)?),
        Conn::Postgres(c) => Ok(site_counts::table.count().get_result(c)?),
    });
    let rest = 4 + u64::try_from(slots.await.unwrap()).unwrap();
    drop(filled);
    assert_eq!(all - rest, 3 * COMMENTS, "comments, events and work; site, article and facts are the rest");
    drop(copy);

    let Err(Error::Internal(cause)) = target.open().read(refuse_half_a_copy).await else { panic!("it is served") };
    assert!(cause.to_string().contains("unfinished copy of"), "{cause}");
    assert!(cause.to_string().contains("run the same afterword copy again"), "{cause}");
    let stranger = TestDatabase::new(Backend::Sqlite);
    drop(stranger.open());
    assert!(refused(&stranger.settings.url, to).await.contains("it holds a copy of"));
    assert!(refused(to, &stranger.settings.url).await.contains("unfinished copy of"));

    let copy = begun(from, to).await;
    assert!(copy.goes_on);
    let (second_run, different) = finish(copy).await;
    assert_eq!(different, Vec::<&str>::new());
    assert_eq!(first_run + second_run, all, "no row is copied twice");
    assert!(matches!(opened(from, to).await, Ok(Found::Finished)));

    let db = target.open();
    db.read(refuse_half_a_copy).await.unwrap();
    for (text, count) in [("number 2499", 1), ("author text", 2_400), ("nowhere", 0)] {
        assert_eq!(found(&db, text).await, count, "{text}");
    }
}

async fn a_source_that_changed_is_found_out(backend: Backend) {
    let (source, target) = there_and_back(backend).await;
    let (from, to) = (source.settings.url.as_str(), target.settings.url.as_str());
    let mut copy = begun(from, to).await;
    while copy.copy_page().await.unwrap().is_some() {}
    let db = source.open();
    let change = db.write(|tx| {
        let site = rows::site(1, "blog");
        let article = rows::site_and_article(tx, &site, 10, "/hello")?;
        rows::submit(tx, &rows::comment(9, site.id, article, None, Status::Pending), 9)
    });
    change.await.unwrap();
    drop(db);
    let (rows, different) = finish(copy).await;
    assert_eq!((rows, different), (0, vec!["site_counts", "comments", "events", "outbox"]));
    assert!(target.open().read(refuse_half_a_copy).await.is_err());

    let mut copy = begun(from, to).await;
    assert!(copy.begin_anew().await.unwrap());
    assert!(!copy.begin_anew().await.unwrap(), "once");
    let (all, there) = copy.rows().await.unwrap();
    assert_eq!(there, 0);
    assert_eq!(finish(copy).await, (all, Vec::new()));
    assert_eq!(found(&target.open(), "number").await, 2_401);
}

/// The articles are there already when the source gains one, with a comment.
async fn rows_that_do_not_fit_begin_the_copy_anew(backend: Backend) {
    let (source, target) = there_and_back(backend).await;
    let (from, to) = (source.settings.url.as_str(), target.settings.url.as_str());
    let mut copy = begun(from, to).await;
    while copy.copy_page().await.unwrap().unwrap() < 1_000 {}
    drop(copy);
    let db = source.open();
    let change = db.write(|tx| {
        let site = rows::site(1, "blog");
        let article = rows::site_and_article(tx, &site, 9_000, "/new")?;
        rows::submit(tx, &rows::comment(9_999, site.id, article, None, Status::Pending), 9)
    });
    change.await.unwrap();
    drop(db);
    let mut copy = begun(from, to).await;
    let told = loop {
        match copy.copy_page().await {
            Ok(rows) => assert!(rows.is_some(), "nobody has noticed"),
            Err(error) => break error.inside(),
        }
    };
    assert!(told.contains("do not fit") && told.contains("begins anew"), "{told}");
    assert!(target.open().read(refuse_half_a_copy).await.is_err());
    drop(copy);
    let mut copy = begun(from, to).await;
    assert!(copy.begin_anew().await.unwrap());
    assert_eq!(finish(copy).await.1, Vec::<&str>::new());
}

async fn two_copies_do_not_mix(backend: Backend) {
    let (source, target) = there_and_back(backend).await;
    let (from, to) = (source.settings.url.as_str(), target.settings.url.as_str());
    let (mut one, mut other) = (begun(from, to).await, begun(from, to).await);
    one.copy_page().await.unwrap();
    let Err(Error::Internal(cause)) = other.copy_page().await else { panic!("both write") };
    assert!(cause.to_string().contains("another afterword copies"), "{cause}");
    assert_eq!(finish(one).await.1, Vec::<&str>::new());
}

async fn other_data_is_not_written_over(backend: Backend) {
    let (source, target) = there_and_back(backend).await;
    let other = rows::site(7, "other");
    target.open().write(move |tx| afterword::storage::sites::insert(tx, &other, rows::NOW)).await.unwrap();
    let told = refused(&source.settings.url, &target.settings.url).await;
    assert!(told.contains("1 rows in sites") && told.contains("name an empty database"), "{told}");
    let sites = target.open().read(afterword::storage::sites::all).await.unwrap();
    assert_eq!(sites.len(), 1);
}
