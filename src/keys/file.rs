//! The key file: read, made, and changed. Nobody ever reads half of it, and two processes never change it at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::disk::{Draft, beside, folder_of, make_folder, sync_folder};
use crate::domain::hex::hex;
use crate::error::Error;

/// What is wrong with the file.
pub(super) fn trouble(path: &Path, what: &str) -> Error {
    Error::internal(format!("secrets.key_file {}: {what}", path.display()))
}

/// The text of the file; none when it is missing.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(trouble(path, &cause.to_string())),
    }
}

/// The keys of a text, in the order of its lines.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Zeroizing<[u8; 32]>>, Error> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| from_hex(line).ok_or_else(|| trouble(path, "a key is 64 hex digits on a line"))).collect()
}

/// A new key as a line.
fn new_line() -> Result<Zeroizing<String>, Error> {
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(Error::internal)?;
    Ok(Zeroizing::new(hex(key.as_slice()) + "\n"))
}

/// Writes a new key beside the file and links it into place, so that of several processes that start at once exactly one
/// makes the key and nobody ever reads half a file.
pub(super) fn make(path: &Path) -> Result<(), Error> {
    let told = |cause: std::io::Error| trouble(path, &cause.to_string());
    make_folder(folder_of(path)).map_err(told)?;
    let line = new_line()?;
    let mut name = [0_u8; 8];
    getrandom::fill(&mut name).map_err(Error::internal)?;
    let draft = path.with_extension(format!("new-{}", hex(&name)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft).map_err(told)?;
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).map_err(told)?;
    match linked {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => Err(told(cause)),
        // Before anything is encrypted with it.
        _ => sync_folder(folder_of(path)).map_err(told),
    }
}

/// The right to change the file. It is a lock of the operating system on the file itself, so it ends with the process,
/// however that ends.
pub struct HeldFile {
    path: PathBuf,
    /// The file as it was found, and each that was put in its place: whoever opens the path finds a locked one.
    locked: Vec<File>,
}

impl HeldFile {
    /// Takes the right; an error when another process has it.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let told = |cause: std::io::Error| trouble(path, &cause.to_string());
        // Behind a link lies the file that is to be replaced.
        let real = fs::canonicalize(path).map_err(told)?;
        // NFS locks only what is open for writing, and a mounted secret cannot be opened so.
        let file = OpenOptions::new().read(true).append(true).open(&real);
        let file = file.or_else(|_| File::open(&real)).map_err(told)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(trouble(path, "another afterword keys is at work on it: let that one end"));
            }
            Err(TryLockError::Error(cause)) => return Err(trouble(path, &format!("it cannot be locked: {cause}"))),
        }
        if !is_at(&file, &real).map_err(told)? {
            return Err(trouble(path, "it was changed at this moment: run the command again"));
        }
        Ok(Self { path: real, locked: vec![file] })
    }

    /// Puts a new key before the others.
    pub(super) fn add_first(&mut self) -> Result<(), Error> {
        let others = self.text()?;
        self.replace(&Zeroizing::new(format!("{}{}", *new_line()?, *others)))
    }

    /// Leaves the keys that are wanted, in their order.
    pub(super) fn keep_lines(&mut self, is_wanted: impl Fn(&[u8; 32]) -> Result<bool, Error>) -> Result<(), Error> {
        let mut kept = Zeroizing::new(String::new());
        for key in parse(&self.path, &self.text()?)? {
            if is_wanted(&key)? {
                kept.push_str(&Zeroizing::new(hex(key.as_slice()) + "\n"));
            }
        }
        self.replace(&kept)
    }

    fn text(&self) -> Result<Zeroizing<String>, Error> {
        read(&self.path)?.ok_or_else(|| trouble(&self.path, "it vanished"))
    }

    fn replace(&mut self, text: &str) -> Result<(), Error> {
        let put = || -> std::io::Result<File> {
            // Left by one that was cut short: nobody else writes it while this is held.
            match fs::remove_file(beside(&self.path, ".part")) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
            let mut draft = Draft::of(&self.path)?;
            keep_owner(&self.path, &draft.file)?;
            draft.file.write_all(text.as_bytes())?;
            draft.file.lock()?;
            let locked = draft.file.try_clone()?;
            draft.replace()?;
            Ok(locked)
        };
        let locked = put().map_err(|cause| {
            trouble(
                &self.path,
                &format!("it cannot be changed ({cause}). docs/operations.md, A new key, says how it is done by hand"),
            )
        })?;
        self.locked.push(locked);
        Ok(())
    }
}

/// Whether this is still the file at the path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (held, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((held.dev(), held.ino()) == (there.dev(), there.ino()))
}

/// The service must still be able to read what an administrator has changed.
#[cfg(unix)]
fn keep_owner(from: &Path, to: &File) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (was, is) = (fs::metadata(from)?, to.metadata()?);
    if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
        fchown(to, Some(was.uid()), Some(was.gid()))?;
    }
    to.set_permissions(was.permissions())
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use std::os::unix::fs::PermissionsExt;

    fn keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_make(&folder.path().join("data/secret.key")).unwrap();
        (folder, keys)
    }

    #[test]
    fn the_file_is_made_once_and_for_its_owner_alone() {
        let (folder, keys) = keys();
        let path = folder.path().join("data/secret.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim().len(), 64);
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1, "no draft is left");
        assert_eq!(Keys::load_or_make(&path).unwrap().check_value(), keys.check_value());
    }

    #[test]
    fn twenty_starts_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let checks: Vec<String> = std::thread::scope(|scope| {
            let make = || Keys::load_or_make(&path).unwrap().check_value();
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(checks.iter().all(|check| *check == checks[0]));
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        for broken in ["", "12", &"g".repeat(64), &"ä".repeat(32)] {
            fs::write(&path, broken).unwrap();
            let Err(Error::Internal(cause)) = Keys::load_or_make(&path) else { panic!("{broken}") };
            assert!(cause.to_string().contains("secret.key"), "{cause}");
        }
    }

    #[test]
    fn keys_come_and_go_while_nobody_else_changes_them() {
        let (folder, keys) = keys();
        let path = folder.path().join("data/secret.key");
        let old = fs::read_to_string(&path).unwrap();
        // Cut short by a crash.
        fs::write(folder.path().join("data/secret.key.part"), "12").unwrap();
        let mut held = keys.hold_file().unwrap();
        keys.add_first(&mut held).unwrap();
        let both = fs::read_to_string(&path).unwrap();
        assert!(both.ends_with(&old) && both.lines().count() == 2, "the new one is first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(keys.first_check_value(), keys.check_value(), "it is known and not used");
        let refused = keys.hold_file().err().expect("the file that was put in its place is held, too");
        assert!(refused.inside().contains("another afterword keys"), "{}", refused.inside());
        assert!(keys.follow(&keys.first_check_value()));
        keys.forget_others(&mut held).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), both.lines().next().unwrap().to_owned() + "\n");
        drop(held);
        keys.hold_file().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn behind_a_link_the_file_itself_is_changed() {
        let (folder, _) = keys();
        let (path, link) = (folder.path().join("data/secret.key"), folder.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let keys = Keys::load(&link).unwrap().unwrap();
        keys.add_first(&mut keys.hold_file().unwrap()).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
