//! A throw-away database of either kind, and the macro that makes two tests from one body.

use afterword::storage::{DatabaseSettings, Db};

use super::{pooler, postgres};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// A new database; its files are deleted when this is dropped.
pub struct TestDatabase {
    pub settings: DatabaseSettings,
    _folder: Option<tempfile::TempDir>,
}

impl TestDatabase {
    /// With `TEST_POOLER=1` in the environment every test on `PostgreSQL` goes through a pooler.
    pub fn new(backend: Backend) -> Self {
        let database = Self::direct(backend);
        if backend == Backend::Postgres && std::env::var_os("TEST_POOLER").is_some() {
            return database.through_pooler().expect("the pooler is in front of a cluster of our own");
        }
        database
    }

    /// The same database through a pooler; none on a server that was there before.
    pub fn through_pooler(mut self) -> Option<Self> {
        if self.settings.pooler {
            return Some(self);
        }
        let direct = self.settings.url;
        self.settings.url = std::thread::scope(|scope| scope.spawn(|| pooler::through(&direct)).join().unwrap())?;
        self.settings.direct_url = Some(direct);
        self.settings.pooler = true;
        Some(self)
    }

    fn direct(backend: Backend) -> Self {
        let (url, folder) = match backend {
            Backend::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite:{}", folder.path().join("test.db").display()), Some(folder))
            }
            Backend::Postgres => {
                let url = std::thread::scope(|scope| scope.spawn(postgres::new_database).join().unwrap());
                (url, None)
            }
        };
        Self {
            settings: DatabaseSettings { pool_size: 2, write_connections: 2, ..DatabaseSettings::of(url) },
            _folder: folder,
        }
    }

    /// The settings as variables of the environment name them.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let settings = &self.settings;
        let mut variables =
            vec![("database__url", settings.url.clone()), ("database__pooler", settings.pooler.to_string())];
        let others = [("database__direct_url", &settings.direct_url), ("database__read_url", &settings.read_url)];
        variables.extend(others.into_iter().filter_map(|(key, url)| Some((key, url.clone()?))));
        variables
    }

    /// The same database for somebody else; its files go with the first.
    pub fn beside(&self) -> Self {
        Self { settings: self.settings.clone(), _folder: None }
    }

    pub fn open(&self) -> Db {
        // On a thread of its own: opening blocks, and the driver does so on a runtime of its own.
        std::thread::scope(|scope| scope.spawn(|| Db::open(&self.settings).unwrap()).join().unwrap())
    }
}

/// Makes two tests, `sqlite` and `postgres`, from one async function that takes a [`Backend`].
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::database::Backend;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(Backend::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both_databases;
