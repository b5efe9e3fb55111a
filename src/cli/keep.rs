//! `backup` and `restore`: a whole SQLite database as one file, and back. A file is checked before it gets its name, and
//! neither command ever writes over one that is there.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::{Failure, nothing_there, remark, say};
use crate::app::{check_key, database_settings, missing_key};
use crate::config::Config;
use crate::disk::{Draft, beside, folder_of, make_folder};
use crate::error::Error;
use crate::keys::Keys;
use crate::storage::backup;

/// What SQLite keeps beside a database. A journal left by another one would be played into what is put in its place.
const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Copies the database while the service may be running.
pub fn backup(config: &Config, file: &Path) -> Result<(), Failure> {
    let from = database(config, "pg_dump")?;
    if !from.exists() {
        return Err(nothing_there(config));
    }
    if file.symlink_metadata().is_ok() {
        return Err(is_there(file));
    }
    let told = |cause| cannot_write(file, &cause);
    let draft = Draft::of(file).map_err(told)?;
    let found = backup::copy(&from, draft.part())?.ok_or_else(|| nothing_there(config))?;
    draft.put().map_err(told)?;
    say(&format!("{} comments are in {}, checked", found.comments, file.display()))?;
    remark(&format!(
        "The key file {} is not in it. Keep a copy of it, too, in another place: this backup is of no use without it, and \
         whoever has both can read the e-mail addresses.",
        config.secrets.key_file.display()
    ));
    Ok(())
}

/// Puts a backup where no database is.
pub fn restore(config: &Config, file: &Path) -> Result<(), Failure> {
    let to = database(config, "pg_restore")?;
    let mut source = File::open(file).map_err(|cause| Failure::Failed(format!("{}: {cause}", file.display())))?;
    refuse_half_a_copy(file)?;
    refuse_over_a_database(&to)?;
    let _address = nobody_serves(config)?;
    let key_file = &config.secrets.key_file;
    let keys = Keys::load(key_file)?.ok_or_else(|| missing_key(key_file))?;
    let told = |cause| cannot_write(&to, &cause);
    make_folder(folder_of(&to)).map_err(told)?;
    let mut draft = Draft::of(&to).map_err(told)?;
    std::io::copy(&mut source, &mut draft.file).map_err(told)?;
    // The copy and not the backup: what is checked is what will be used.
    let found = backup::look_at(draft.part()).map_err(|error| unusable(file, error))?;
    if let Some(stored) = &found.key_check {
        check_key(&keys, stored, key_file)?;
    }
    draft.put().map_err(told)?;
    say(&format!("{} comments are back in {}", found.comments, to.display()))?;
    remark("Mails that waited when the backup was made leave when the service starts. Look first: afterword doctor");
    Ok(())
}

/// The file of an SQLite database.
fn database(config: &Config, tool: &str) -> Result<PathBuf, Failure> {
    database_settings(config).file()?.ok_or_else(|| {
        Failure::Failed(format!("the database is PostgreSQL: use {tool}, as docs/operations.md (Backups) shows"))
    })
}

fn refuse_half_a_copy(file: &Path) -> Result<(), Failure> {
    let journal = beside(file, "-wal");
    if std::fs::metadata(&journal).is_ok_and(|journal| journal.len() > 0) {
        return Err(Failure::Failed(format!(
            "{} lies beside it: this is a database in use and no backup. Make one of it with afterword backup",
            journal.display()
        )));
    }
    Ok(())
}

fn refuse_over_a_database(to: &Path) -> Result<(), Failure> {
    let there = COMPANIONS.iter().map(|ending| beside(to, ending)).find(|path| path.symlink_metadata().is_ok());
    there.map_or(Ok(()), |path| {
        Err(Failure::Failed(format!(
            "{} is there: stop the service, and move it and what begins with its name ({}*) to another folder",
            path.display(),
            to.display()
        )))
    })
}

/// What is wrong with a backup, by the name under which its owner knows it.
fn unusable(file: &Path, error: Error) -> Failure {
    match error {
        Error::Internal(cause) => Failure::Failed(format!("{}: {cause}", file.display())),
        other => other.into(),
    }
}

/// Holds the service's address while a database is put in its place or copied: a service whose database was moved away still
/// writes to it, and none must start and make a new one meanwhile. An address that we may not have says nothing about a service.
pub(super) fn nobody_serves(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let address = config.server.listen;
    match TcpListener::bind(address) {
        Err(cause) if cause.kind() == ErrorKind::AddrInUse => {
            Err(Failure::Failed(format!("something answers at server.listen {address}: stop the service first")))
        }
        held => Ok(held.ok()),
    }
}

fn is_there(file: &Path) -> Failure {
    Failure::Failed(format!("{} is there already, and is not written over: name another file", file.display()))
}

fn cannot_write(file: &Path, cause: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot write {}: {cause}", file.display()))
}
