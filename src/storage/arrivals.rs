//! What new comments ask the database before they are written: their article, and whether their text is there already. A
//! group of them asks once for all (PostgreSQL, where each question is a round trip); what was learnt so is known to the
//! group's jobs, and whatever is not known they ask themselves.

use std::collections::{HashMap, HashSet};

use super::articles::Article;
use super::conn::Conn;
use crate::domain::ids::{ArticleId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// What one new comment will ask.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its site.
    pub site: SiteId,
    /// The key of its article.
    pub article: String,
    /// The hashes of its text.
    pub text_hashes: Vec<Vec<u8>>,
    /// When it came.
    pub at: Timestamp,
}

/// What a group has learnt beforehand. It holds until the transaction ends.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// With the check value of the secret key that is used.
    articles: HashMap<(SiteId, String), (Article, Option<String>)>,
    /// Texts whose turn is taken and which are not there.
    free: HashSet<(ArticleId, Vec<u8>)>,
}

impl Known {
    /// What [`find_or_make`](super::articles::find_or_make) tells, if the article was there.
    pub fn article(&self, site: SiteId, key: &str) -> Option<&(Article, Option<String>)> {
        self.articles.get(&(site, key.to_owned()))
    }

    /// Whether a text was looked for and not found, and cannot come meanwhile but from this group.
    pub fn is_free(&self, article: ArticleId, text_hash: &[u8]) -> bool {
        self.free.contains(&(article, text_hash.to_vec()))
    }
}

/// Asks for all of them at once: one question for articles, one for turns, one for doubles.
pub(super) fn look_ahead(conn: &mut Conn, arrivals: &[&Arrival]) -> Result<Known, Error> {
    match conn {
        Conn::Sqlite(_) => Ok(Known::default()), // Where a question costs a microsecond, nothing is gained.
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) if arrivals.len() < 2 => Ok(Known::default()),
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => postgres::look_ahead(c, arrivals),
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::pg::Pg;
    use diesel::prelude::*;
    use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
    use diesel::sql_types::{Array, BigInt, Binary, Bool, SmallInt};

    use super::{Arrival, Known};
    use crate::domain::comment::Status;
    use crate::domain::ids::ArticleId;
    use crate::domain::time::Timestamp;
    use crate::error::Error;
    use crate::storage::articles::Article;
    use crate::storage::comments::DOUBLE_WITHIN;
    use crate::storage::meta::KEY_CHECK;
    use crate::storage::neighbours::{Turn, try_turns};
    use crate::storage::postgres::PgConn;
    use crate::storage::schema::{articles, meta};
    use crate::storage::types::Uid;

    pub fn look_ahead(c: &mut PgConn, arrivals: &[&Arrival]) -> Result<Known, Error> {
        let mut known = Known::default();
        let (sites, keys): (Vec<_>, Vec<_>) = arrivals.iter().map(|new| (new.site, new.article.as_str())).unzip();
        // Perhaps more than was asked for, when a key is on several sites. Whoever comes by an alias asks alone.
        let found: Vec<(Article, Option<String>)> = articles::table
            .filter(articles::site_id.eq_any(sites))
            .filter(articles::key.eq_any(keys))
            .filter(articles::alias_of.is_null())
            .select((Article::as_select(), meta::table.find(KEY_CHECK).select(meta::value).single_value()))
            .load(c)?;
        known.articles = found.into_iter().map(|found| ((found.0.site_id, found.0.key.clone()), found)).collect();
        let mut texts: Vec<(ArticleId, Vec<u8>)> = Vec::new();
        for new in arrivals {
            if let Some((article, _)) = known.article(new.site, &new.article) {
                texts.extend(new.text_hashes.iter().map(|hash| (article.id, hash.clone())));
            }
        }
        let turns: Vec<i64> = texts.iter().map(|(article, hash)| Turn::Text(*article, hash).number()).collect();
        let taken = try_turns(c, turns)?;
        let texts: Vec<_> = texts.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(text, _)| text).collect();
        let Some(first) = arrivals.iter().map(|new| new.at).min() else { return Ok(known) };
        let (ids, hashes) = texts.iter().cloned().unzip();
        let doubles: Vec<bool> = Doubles { articles: ids, hashes, after: first.minus(DOUBLE_WITHIN) }.load(c)?;
        known.free = texts.into_iter().zip(doubles).filter(|(_, double)| !*double).map(|(text, _)| text).collect();
        Ok(known)
    }

    /// For each text in turn whether a comment on its article has it. Prepared once per connection, as `fragments.rs` says.
    #[derive(Debug, QueryId)]
    struct Doubles {
        articles: Vec<ArticleId>,
        hashes: Vec<Vec<u8>>,
        after: Timestamp,
    }

    impl QueryFragment<Pg> for Doubles {
        fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
            out.push_sql(
                "SELECT (SELECT true FROM comments WHERE article_id = new.article AND text_hash = new.hash AND created_at > ",
            );
            out.push_bind_param::<BigInt, _>(&self.after)?;
            out.push_sql(" AND status <> ");
            out.push_bind_param::<SmallInt, _>(&Status::Removed)?;
            out.push_sql(" LIMIT 1) IS NOT NULL FROM unnest(");
            out.push_bind_param::<Array<Uid>, _>(&self.articles)?;
            out.push_sql("::uuid[], ");
            out.push_bind_param::<Array<Binary>, _>(&self.hashes)?;
            out.push_sql("::bytea[]) AS new (article, hash)");
            Ok(())
        }
    }

    impl Query for Doubles {
        type SqlType = Bool;
    }

    impl RunQueryDsl<PgConn> for Doubles {}
}
