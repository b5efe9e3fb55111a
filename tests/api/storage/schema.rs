//! The schema: the same on both databases, brought up once however many start at once, refused when it is too new.

use afterword::domain::ids::SiteId;
use afterword::error::Error;
use afterword::storage::{Conn, DatabaseSettings, Db, meta, migrations, sites};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::{postgres, rows};

on_both_databases!(
    every_column_is_there,
    starting_five_times_at_once,
    starting_five_times_at_once_on_an_old_schema,
    a_newer_schema_is_refused,
    facts_are_written_once
);

/// Selects no row of every column, so that `schema.rs` and the migrations agree.
async fn every_column_is_there(backend: Backend) {
    use afterword::storage::schema::*;
    let database = TestDatabase::new(backend);
    let db = database.open();
    macro_rules! select_all {
        ($conn:expr, $($table:ident),+) => {$(
            match $conn {
                Conn::Sqlite(c) => { $table::table.select($table::all_columns).limit(0).execute(c)?; }
                Conn::Postgres(c) => { $table::table.select($table::all_columns).limit(0).execute(c)?; }
            }
        )+};
    }
    db.read(|conn| {
        select_all!(
            conn,
            meta,
            sites,
            site_counts,
            articles,
            authors,
            comments,
            events,
            outbox,
            idempotency_keys,
            accounts,
            account_sites,
            sessions,
            recovery_codes,
            passkeys,
            one_time_links,
            tokens,
            rules,
            webhooks,
            webhook_queue,
            webhook_deliveries,
            subscribers,
            notices,
            person_requests,
            votes,
            reactions,
            reaction_counts,
            flags
        );
        assert!(migrations::is_current(conn)?);
        Ok(())
    })
    .await
    .unwrap();
}

async fn starting_five_times_at_once(backend: Backend) {
    let folder = tempfile::tempdir().unwrap();
    let url = match backend {
        Backend::Sqlite => format!("sqlite:{}", folder.path().join("new/test.db").display()),
        Backend::Postgres => postgres::empty_database(),
    };
    let settings = DatabaseSettings::of(url);
    let starts = (0..5).map(|_| {
        let settings = settings.clone();
        tokio::task::spawn_blocking(move || Db::open(&settings).map(|db| db.migrated().len()))
    });
    let mut ran = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        ran.push(start.await.unwrap().unwrap());
    }
    ran.sort_unstable();
    assert_eq!(ran[..4], [0; 4], "four find the work done");
    assert!(ran[4] > 0, "one migrates");
}

/// The folders of all migrations, in order.
fn migration_folders(backend: Backend) -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = folder.join(if backend == Backend::Sqlite { "migrations/sqlite" } else { "migrations/postgres" });
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Takes back every migration but the first, as a database of the first release would be.
fn first_migration_only(backend: Backend, settings: &DatabaseSettings) {
    for path in migration_folders(backend).iter().skip(1).rev() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let version = name.split('_').next().unwrap().replace('-', "");
        let forget = format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}';");
        let sql = std::fs::read_to_string(path.join("down.sql")).unwrap() + &forget;
        match backend {
            Backend::Sqlite => {
                let file = settings.url.strip_prefix("sqlite:").unwrap();
                SqliteConnection::establish(file).unwrap().batch_execute(&sql).unwrap();
            }
            Backend::Postgres => _ = postgres::run(&settings.url, &sql),
        }
    }
}

/// Five instances of a new release on the database of an old one: one migrates, all serve.
async fn starting_five_times_at_once_on_an_old_schema(backend: Backend) {
    let database = TestDatabase::new(backend);
    drop(database.open());
    first_migration_only(backend, &database.settings);
    let starts = (0..5_u64).map(|n| {
        let settings = database.settings.clone();
        tokio::spawn(async move {
            let db = tokio::task::spawn_blocking(move || Db::open(&settings).unwrap()).await.unwrap();
            let site = rows::site(n, &format!("blog{n}"));
            db.write(move |tx| sites::insert(tx, &site, rows::NOW)).await.unwrap();
            assert!(db.read(migrations::is_current).await.unwrap());
            db
        })
    });
    let (mut ran, mut all) = (Vec::new(), Vec::new());
    for start in starts.collect::<Vec<_>>() {
        let db = start.await.unwrap();
        ran.push(db.migrated().len());
        all.push(db);
    }
    ran.sort_unstable();
    let newer = migration_folders(backend).len() - 1;
    assert_eq!(ran, [0, 0, 0, 0, newer], "one migrates, and nothing twice");
    for db in all {
        assert_eq!(db.read(sites::all).await.unwrap().len(), 5);
    }
}

async fn a_newer_schema_is_refused(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let sql = "UPDATE meta SET value = '999' WHERE key = 'oldest_binary'";
    db.write(move |tx| {
        match tx.conn() {
            Conn::Sqlite(c) => c.batch_execute(sql)?,
            Conn::Postgres(c) => c.batch_execute(sql)?,
        }
        Ok(())
    })
    .await
    .unwrap();
    drop(db);
    let settings = database.settings.clone();
    let refused = tokio::task::spawn_blocking(move || Db::open(&settings).err()).await.unwrap();
    let Some(Error::Internal(cause)) = refused else { panic!("it must be refused") };
    assert!(cause.to_string().contains("newer afterword"), "{cause}");
}

async fn facts_are_written_once(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let first = db.write(|tx| meta::get_or_put(tx, "key_check", "one")).await.unwrap();
    let second = db.write(|tx| meta::get_or_put(tx, "key_check", "two")).await.unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("one", "one"));
    let before = db.read(meta::settings_revision).await.unwrap();
    let site = rows::site(1, "blog");
    let twin = rows::site(2, "blog");
    db.write(move |tx| sites::insert(tx, &site, rows::NOW)).await.unwrap();
    assert!(db.read(meta::settings_revision).await.unwrap() > before);
    let taken = db.write(move |tx| sites::insert(tx, &twin, rows::NOW)).await;
    assert!(matches!(taken, Err(Error::Conflict(_))));
    let all = db.read(sites::all).await.unwrap();
    assert_eq!(all.iter().map(|site| site.id).collect::<Vec<_>>(), [SiteId(rows::uuid(1))]);
}

#[test]
fn sqlite_is_built_as_cargo_is_told_to() {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        compile_options: String,
    }
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    let options: Vec<Row> = diesel::sql_query("PRAGMA compile_options").load(&mut conn).unwrap();
    let options: Vec<&str> = options.iter().map(|row| row.compile_options.as_str()).collect();
    for wanted in ["ENABLE_QPSG", "THREADSAFE=2", "DEFAULT_MEMSTATUS=0"] {
        assert!(options.contains(&wanted), "{wanted}: see .cargo/config.toml");
    }
    assert!(!options.contains(&"ENABLE_MEMORY_MANAGEMENT"), "see .cargo/config.toml");
}
