//! The orders in which comments are read, and the cursors that keep a place in them. A cursor names the last row that was
//! given, never a number of rows, so it stays right while rows come and go.

use super::comment::named_enum;
use super::ids::{ArticleId, CommentId, SiteId};

named_enum! {
    /// The order of an article's roots; replies always follow their comment, oldest first.
    Sort {
        /// Oldest root first.
        Oldest = 0 => "oldest",
        /// Newest root first.
        Newest = 1 => "newest",
        /// Best voted root first.
        Top = 2 => "top",
    }
}

/// The place of a comment in reading order: the ids from its root to itself, 16 bytes each. Sorts bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadingPath(pub Vec<u8>);

impl ReadingPath {
    /// The path of `id` below `parent`.
    pub fn below(parent: Option<&[u8]>, id: CommentId) -> Self {
        let mut path = parent.unwrap_or_default().to_vec();
        path.extend_from_slice(id.as_bytes());
        Self(path)
    }

    /// The root of the thread.
    pub fn root(&self) -> Option<CommentId> {
        let bytes = self.0.first_chunk::<16>()?;
        Some(CommentId(uuid::Uuid::from_bytes(*bytes)))
    }

    /// The comments above this one, from the root down.
    pub fn above(&self) -> Vec<CommentId> {
        let (ids, _) = self.0.as_chunks::<16>();
        let above = ids.split_last().map(|(_, above)| above).unwrap_or_default();
        above.iter().map(|bytes| CommentId(uuid::Uuid::from_bytes(*bytes))).collect()
    }
}

/// A place in a list: everything up to and including this row was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The order that it belongs to.
    pub sort: Sort,
    /// The root's score; counts for [`Sort::Top`] alone.
    pub score: i32,
    /// Whether its thread came first, because it was pinned.
    pub pinned: bool,
    /// The row.
    pub path: ReadingPath,
}

/// The bit of a cursor's first byte that says so.
const PINNED: u8 = 0x80;

impl Place {
    /// As bytes, for an opaque cursor.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(self.sort.number()).unwrap_or(0) | if self.pinned { PINNED } else { 0 }];
        bytes.extend_from_slice(&self.score.to_be_bytes());
        bytes.extend_from_slice(&self.path.0);
        bytes
    }

    /// Reads what [`Place::to_bytes`] wrote, if it is a place in this order.
    pub fn from_bytes(bytes: &[u8], sort: Sort) -> Option<Self> {
        let (head, path) = bytes.split_first_chunk::<5>()?;
        let [kind, score @ ..] = head;
        let path_fits = !path.is_empty() && path.len() % 16 == 0 && path.len() <= 16 * 256;
        (i16::from(*kind & !PINNED) == sort.number() && path_fits).then(|| Self {
            sort,
            pinned: *kind & PINNED != 0,
            score: i32::from_be_bytes(*score),
            path: ReadingPath(path.to_vec()),
        })
    }
}

/// What a public answer is made from, as far as it can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The public list of an article.
    Article(ArticleId),
    /// The public lists of a site, taken together.
    Site(SiteId),
    /// Which articles a site has.
    NewArticles(SiteId),
    /// Anything: another process wrote, and nobody told what.
    Everything,
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn places_survive_their_bytes() {
        let path = ReadingPath::below(Some(&[7; 16]), CommentId(Uuid::from_u128(9)));
        let place = Place { sort: Sort::Top, score: -3, pinned: false, path };
        assert_eq!(Place::from_bytes(&place.to_bytes(), Sort::Top), Some(place.clone()));
        let pinned = Place { pinned: true, ..place.clone() };
        assert_eq!(Place::from_bytes(&pinned.to_bytes(), Sort::Top), Some(pinned));
        assert_eq!(Place::from_bytes(&place.to_bytes(), Sort::Oldest), None, "a cursor belongs to its order");
        assert_eq!(place.path.root(), Some(CommentId(Uuid::from_bytes([7; 16]))));
        for broken in [&[][..], &[0; 5], &[0; 20], &[9; 21]] {
            assert_eq!(Place::from_bytes(broken, Sort::Oldest), None);
        }
    }

    #[test]
    fn replies_follow_their_comment() {
        let id = |n| CommentId(Uuid::from_u128(n));
        let first = ReadingPath::below(None, id(1));
        let reply = ReadingPath::below(Some(&first.0), id(5));
        let second = ReadingPath::below(None, id(2));
        assert!(first < reply && reply < second);
    }
}
