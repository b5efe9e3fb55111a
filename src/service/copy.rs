//! A whole database copied into another, of the same kind or the other one, and checked. A copy that was cut short goes on
//! where it stopped; one whose check failed, or whose rows do not fit together, begins anew, because the source changed meanwhile. Until the check has found
//! every row equal, the target is marked, and nothing serves it.

use std::sync::Arc;

use crate::error::Error;
use crate::storage::copy::{self, Mark, Page, State, Sum, TABLES, Table};
use crate::storage::{DatabaseSettings, Db, Tx, migrations, words};

/// Comments whose words are written in one transaction.
const WORDS_PIECE: i64 = 1_000;

/// A copy that is being made.
pub struct Copy {
    source: Db,
    target: Db,
    mark: Mark,
    /// Whether an earlier run began it.
    pub goes_on: bool,
    /// The next page, read while the one before was written.
    ahead: Option<Arc<Page>>,
}

/// What a copy finds where it is to go.
pub enum Found {
    /// A copy to begin or to go on with.
    Copy(Copy),
    /// A copy of this source that is finished already.
    Finished,
}

/// One table, as the check found it in both databases.
pub struct Compared {
    /// Its name.
    pub table: &'static str,
    /// Rows and checksum in the source.
    pub source: (u64, String),
    /// The same in the target.
    pub target: (u64, String),
}

/// Opens the database that is to be copied. Nothing is ever written to it, and no migration runs.
pub async fn open_source(url: String) -> Result<Db, Error> {
    let opened = off_the_runtime(move || Db::open_to_read(&DatabaseSettings::of(url))).await?;
    let db = opened.ok_or_else(|| Error::internal("there is no database of afterword"))?;
    db.read(|conn| {
        if !migrations::is_current(conn)? {
            return Err(Error::internal(
                "it is not up to date: let database.url name it and run afterword migrate first",
            ));
        }
        copy::refuse_half_a_copy(conn)
    })
    .await?;
    Ok(db)
}

/// Opens the database that the copy goes into, makes its tables, and sees whether a copy was begun there. `name` is what
/// the source is called; a copy goes on only from the source of that name.
pub async fn open_target(source: Db, name: String, url: String) -> Result<Found, Error> {
    let settings = DatabaseSettings::of(url);
    let known = settings.clone();
    // Before anything is migrated: a database of other data stays as it is.
    if let Some(there) = off_the_runtime(move || Db::open_to_read(&known)).await? {
        there.read(copy::refuse_other_data).await?;
    }
    let target = off_the_runtime(move || Db::open(&settings)).await?;
    let found = target.read(copy::mark).await?;
    let goes_on = found.is_some();
    let mark = match found {
        Some(mark) if mark.from != name => {
            return Err(Error::internal(format!(
                "it holds a copy of {}, finished or not: name an empty database",
                mark.from
            )));
        }
        Some(Mark { state: State::Finished, .. }) => return Ok(Found::Finished),
        Some(mark) => mark,
        None => {
            let mark = Mark { from: name, state: at(TABLES.first(), String::new()) };
            let first = mark.clone();
            target.write(move |tx| copy::begin(tx, &first)).await?;
            mark
        }
    };
    Ok(Found::Copy(Copy { source, target, mark, goes_on, ahead: None }))
}

/// The state in which a table comes next; after the last one, all are there.
fn at(table: Option<&Table>, after: String) -> State {
    table.map_or(State::Copied, |table| State::Copying { table: table.name.to_owned(), after })
}

impl Copy {
    /// How many rows there are in the source, and how many in the target.
    pub async fn rows(&self) -> Result<(u64, u64), Error> {
        Ok((count(&self.source, |_| true).await?, count(&self.target, |_| true).await?))
    }

    /// How many comments there are to be found.
    pub async fn comments(&self) -> Result<u64, Error> {
        count(&self.target, |name| name == "comments").await
    }

    /// Empties the target if its last check found a difference. Returns whether it did.
    pub async fn begin_anew(&mut self) -> Result<bool, Error> {
        if self.mark.state != State::Differs {
            return Ok(false);
        }
        self.move_on(at(TABLES.first(), String::new()), copy::clear).await?;
        Ok(true)
    }

    /// Copies a page, and reads the next one meanwhile. Returns its number of rows, which is 0 at the end of a table;
    /// none when all are there. When rows do not fit to those that are there, the source has changed, and the next run
    /// begins anew.
    pub async fn copy_page(&mut self) -> Result<Option<u64>, Error> {
        let State::Copying { table, after } = &self.mark.state else { return Ok(None) };
        let position = TABLES.iter().position(|known| known.name == table);
        let position = position.ok_or_else(|| Error::internal(format!("the copy is at a table {table:?}")))?;
        let Some(table) = TABLES.get(position) else { return Ok(None) };
        let page = match self.ahead.take() {
            Some(page) => page,
            None => read_whole(&self.source, table, after.clone()).await?,
        };
        if page.len == 0 {
            let next = at(TABLES.get(position + 1), String::new());
            self.move_on(next, |_| Ok(())).await?;
            return Ok(Some(0));
        }
        let (source, len, last) = (self.source.clone(), page.len, page.last.clone());
        let ahead = read_whole(&source, table, last.clone());
        let written = self.move_on(at(Some(table), last), move |tx| page.write(tx));
        let (written, ahead) = futures_util::future::join(written, ahead).await;
        if let Err(Error::Conflict(why)) = written {
            self.move_on(State::Differs, |_| Ok(())).await?;
            return Err(Error::internal(format!(
                "{why}: something wrote to the source meanwhile. Stop whatever uses the databases and run the same command \
                 again: it begins anew"
            )));
        }
        written?;
        self.ahead = Some(ahead?);
        Ok(Some(len))
    }

    /// Brings the target's search index a piece further. Returns for how many comments; 0 at its end, and at once on
    /// PostgreSQL, which indexes what is written.
    pub async fn index_piece(&self) -> Result<usize, Error> {
        self.target.write(|tx| words::catch_up(tx, WORDS_PIECE)).await
    }

    /// Reads everything again from both databases. `told` hears of rows as they are compared. A copy without a
    /// difference is finished.
    pub async fn check(&mut self, told: &mut (dyn FnMut(u64) + Send)) -> Result<Vec<Compared>, Error> {
        let mut compared = Vec::new();
        for table in TABLES {
            let mut nobody = |_| ();
            let (source, target) = (sum(&self.source, table, told), sum(&self.target, table, &mut nobody));
            let (source, target) = futures_util::future::join(source, target).await;
            compared.push(Compared { table: table.name, source: source?, target: target? });
        }
        let is_equal = compared.iter().all(Compared::is_equal);
        self.move_on(if is_equal { State::Finished } else { State::Differs }, |_| Ok(())).await?;
        Ok(compared)
    }

    /// Does some work in the target and moves the mark on, both or nothing.
    async fn move_on(
        &mut self,
        state: State,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (from, to) = (self.mark.clone(), Mark { from: self.mark.from.clone(), state });
        let next = to.clone();
        let written = self.target.write(move |tx| {
            copy::move_on(tx, &from, &to)?;
            work(tx)
        });
        written.await?;
        self.mark = next;
        Ok(())
    }
}

impl Compared {
    /// Whether the table is the same in both.
    pub fn is_equal(&self) -> bool {
        self.source == self.target
    }
}

/// The rows of some tables, by their names.
async fn count(db: &Db, counts: fn(&str) -> bool) -> Result<u64, Error> {
    db.read(move |conn| {
        let counts = TABLES.iter().filter(|table| counts(table.name)).map(|table| (table.count)(conn));
        counts.sum()
    })
    .await
}

/// A page that can be written as it is.
async fn read_whole(db: &Db, table: &'static Table, after: String) -> Result<Arc<Page>, Error> {
    db.read(move |conn| {
        let mut page = (table.read)(conn, &after)?;
        page.complete(conn)?;
        Ok(Arc::new(page))
    })
    .await
}

/// Rows and checksum of a table.
async fn sum(db: &Db, table: &'static Table, told: &mut (dyn FnMut(u64) + Send)) -> Result<(u64, String), Error> {
    let (mut sum, mut after) = (Sum::default(), String::new());
    loop {
        let (from, so_far) = (std::mem::take(&mut after), sum.clone());
        let read = move |conn: &mut _| {
            let page = (table.read)(conn, &from)?;
            let mut sum = so_far.clone();
            sum.add(&page);
            Ok((sum, page))
        };
        let page;
        (sum, page) = db.read(read).await?;
        if page.len == 0 {
            return Ok((sum.rows, sum.hex()));
        }
        told(page.len);
        after = page.last;
    }
}

/// Opening a database blocks.
async fn off_the_runtime<T: Send + 'static>(
    open: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(open).await.map_err(Error::internal)?
}
