//! Makes folders and what is put into them last: a file whose bytes are on disk is still lost in a crash while the entry in
//! its folder is not (fsync(2)).

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::Path;

/// The folder that a path lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a folder's entries to disk. Some network file systems have no such thing, and a folder that we may write to and
/// not read cannot be opened for it: neither is a reason to stop.
pub fn sync_folder(folder: &Path) -> Result<()> {
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(cause) if matches!(cause.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        done => done,
    }
}

/// Makes a folder, and those it lies in, where they are missing.
pub fn make_folder(folder: &Path) -> Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    std::fs::create_dir_all(folder)?;
    missing.into_iter().try_for_each(|made| sync_folder(folder_of(made)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        make_folder(&deep).unwrap();
        make_folder(&deep).unwrap();
        assert!(deep.is_dir());
        assert_eq!(folder_of(&deep), folder.path().join("a/b"));
        assert_eq!((folder_of(Path::new("x")), folder_of(Path::new("/"))), (Path::new("."), Path::new(".")));
        sync_folder(Path::new(".")).unwrap();
        make_folder(Path::new(".")).unwrap();
        assert!(sync_folder(&folder.path().join("nowhere")).is_err());
    }
}
