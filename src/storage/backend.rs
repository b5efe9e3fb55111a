//! Which database the settings name, and the ways to it: one for writing and reading, perhaps one past a pooler, perhaps
//! one to a replica.

use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::postgres::{self, Route};
use super::threads::Connect;
use super::{DatabaseSettings, migrations, sqlite};
use crate::error::Error;

/// A database, by where it lies.
pub(super) enum Backend {
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<Routes>),
}

/// The ways to one PostgreSQL database.
#[cfg(feature = "postgres")]
#[derive(Clone)]
pub(super) struct Routes {
    /// For everything that has no way of its own.
    pub main: Route,
    /// Past a pooler: migrations and LISTEN need a session of their own.
    pub direct: Route,
    /// To a replica, for what everybody reads alike.
    pub replica: Option<Route>,
}

impl Backend {
    /// What the settings name; nothing is opened. An error names the setting.
    pub fn of(settings: &DatabaseSettings) -> Result<Self, Error> {
        if let Some(path) = settings.url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(Error::internal(
                    "database.url: sqlite: needs the path of a file, as in sqlite:data/afterword.db",
                ));
            }
            let others = [&settings.direct_url, &settings.read_url];
            if settings.pooler || others.into_iter().any(Option::is_some) {
                return Err(Error::internal(
                    "database.pooler, database.direct_url and database.read_url are for PostgreSQL alone",
                ));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        #[cfg(feature = "postgres")]
        if settings.url.starts_with("postgres://") || settings.url.starts_with("postgresql://") {
            return Routes::of(settings).map(|routes| Self::Postgres(Box::new(routes)));
        }
        Err(Error::internal("database.url starts with sqlite: or postgres://"))
    }

    /// An error of opening that says which file is meant.
    pub fn named(&self, error: Error) -> Error {
        match (self, error) {
            (Self::Sqlite(path), Error::Internal(cause)) => sqlite::named(path, cause),
            (_, error) => error,
        }
    }

    /// Whether there are tables of ours, which this binary may use.
    pub fn has_tables(&self, connect: &Connect) -> Result<bool, Error> {
        let looked = connect().and_then(|mut conn| {
            let is_there = migrations::is_there(&mut conn)?;
            if is_there { migrations::refuse_if_too_old(&mut conn).map(|()| true) } else { Ok(false) }
        });
        looked.map_err(|error| self.named(error))
    }

    /// Makes connections that write.
    pub fn writing(&self) -> Connect {
        match self {
            Self::Sqlite(path) => {
                let path = path.clone();
                Arc::new(move || sqlite::open_writer(&path))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(routes) => connect(&routes.main),
        }
    }

    /// Makes connections that may change the schema.
    pub fn migrating(&self) -> Connect {
        match self {
            Self::Sqlite(_) => self.writing(),
            #[cfg(feature = "postgres")]
            Self::Postgres(routes) => connect(&routes.direct),
        }
    }

    /// Makes connections that read.
    pub fn reading(&self) -> Connect {
        match self {
            Self::Sqlite(path) => {
                let path = path.clone();
                Arc::new(move || sqlite::open_reader(&path))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(routes) => connect(&routes.main),
        }
    }
}

#[cfg(feature = "postgres")]
pub(super) fn connect(route: &Route) -> Connect {
    let route = route.clone();
    Arc::new(move || postgres::open(&route))
}

#[cfg(feature = "postgres")]
impl Routes {
    /// Tells the operator what they should know of these ways.
    pub fn warn(&self) {
        self.main.warn();
        self.replica.iter().for_each(Route::warn);
    }

    fn of(settings: &DatabaseSettings) -> Result<Self, Error> {
        let main = Route::new("database.url", &settings.url, settings.pooler)?;
        let direct = match &settings.direct_url {
            Some(url) => Route::new("database.direct_url", url, false)?,
            None if settings.pooler => {
                return Err(Error::internal(
                    "database.pooler needs database.direct_url: migrations and news between instances cannot go through \
                     a pooler",
                ));
            }
            None => main.clone(),
        };
        let replica = settings.read_url.as_ref();
        let replica = replica.map(|url| Route::new("database.read_url", url, settings.pooler)).transpose()?;
        Ok(Self { main, direct, replica: replica.map(Route::impatient) })
    }
}

impl DatabaseSettings {
    /// Whether they name a database that [`Db::open`](super::Db::open) can use; nothing is opened. An error names the setting.
    pub fn check(&self) -> Result<(), Error> {
        Backend::of(self).map(|_| ())
    }

    /// The file in which the database lies; none for one on a server.
    pub fn file(&self) -> Result<Option<PathBuf>, Error> {
        match Backend::of(self)? {
            Backend::Sqlite(path) => Ok(Some(path)),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Ok(None),
        }
    }
}
