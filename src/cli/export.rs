//! `export`: everything that a person would want to take along, as JSON lines.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

use super::{Failure, open_existing, remark};
use crate::config::Config;
use crate::disk::Draft;
use crate::service::Service;

/// Writes the lines to a file, or to standard output for `-`.
pub async fn run(config: &Config, file: &Path) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    if file == Path::new("-") {
        return match write(&service, &mut std::io::stdout().lock()).await {
            // A reader that has seen enough.
            Err(Stopped::Output(cause)) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(stopped) => Err(stopped.into()),
            Ok(_) => Ok(()),
        };
    }
    let told = |cause: std::io::Error| Failure::Failed(format!("cannot write {}: {cause}", file.display()));
    let mut draft = Draft::of(file).map_err(told)?;
    let rows = write(&service, &mut draft.file).await?;
    draft.replace().map_err(told)?;
    remark(&format!("{rows} lines in {}; e-mail addresses are readable in it", file.display()));
    Ok(())
}

/// Why it was not written to its end.
enum Stopped {
    Output(std::io::Error),
    Other(Failure),
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Output(cause) => Self::Failed(format!("the export could not be written: {cause}")),
            Stopped::Other(failure) => failure,
        }
    }
}

/// One page after the other, so that a large database takes no more memory than a small one. Returns the number of lines.
async fn write(service: &Service, out: &mut impl Write) -> Result<usize, Stopped> {
    let is_watched = std::io::stderr().is_terminal();
    let (mut export, mut rows) = (service.export(), 0);
    while let Some(part) = export.next_part().await.map_err(|error| Stopped::Other(error.into()))? {
        out.write_all(&part.lines).map_err(Stopped::Output)?;
        rows += part.rows;
        if is_watched {
            let _ = write!(std::io::stderr(), "\r{rows} lines");
        }
    }
    if is_watched {
        let _ = writeln!(std::io::stderr());
    }
    out.flush().map_err(Stopped::Output)?;
    Ok(rows)
}
