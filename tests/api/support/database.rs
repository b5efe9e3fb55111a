//! A throw-away database of either kind, and the macro that makes two tests from one body.

use afterword::storage::{DatabaseSettings, Db};

use super::postgres;

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
    pub fn new(backend: Backend) -> Self {
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
        Self { settings: DatabaseSettings { url, pool_size: 2, write_connections: 2 }, _folder: folder }
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
