//! Fills a database with approved comments, for benches that read.

use afterword::domain::comment::Status;
use afterword::domain::ids::ArticleId;
use afterword::domain::listing::ReadingPath;
use afterword::domain::submission::ArticleKey;
use afterword::domain::time::Timestamp;
use afterword::storage::articles::NewArticle;
use afterword::storage::comments::{self, Comment};
use afterword::storage::{DatabaseSettings, Db, articles, sites};
use uuid::Uuid;

use super::{Blog, new_comment};

/// Fills the site `default` with articles `PREFIX-0` and so on, each with so many approved comments, one in four a reply.
pub fn fill(arguments: &[String]) {
    let (articles, each): (u64, u64) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    let prefix = arguments.get(3).map_or("article", String::as_str).to_owned();
    let settings = DatabaseSettings::of(arguments[0].clone());
    let db = Db::open(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let site =
        runtime.block_on(db.read(sites::all)).unwrap().into_iter().find(|s| s.key.as_str() == "default").unwrap();
    let mut number = 0;
    for first in (0..articles).step_by(usize::try_from((2000 / each).max(1)).unwrap()) {
        let (site, prefix, begun) = (site.id, prefix.clone(), number);
        let last = (first + (2000 / each).max(1)).min(articles);
        let write = db.write(move |tx| {
            let mut number = begun;
            for article in first..last {
                let key = ArticleKey::parse(&format!("{prefix}-{article}"), "article").unwrap();
                let new =
                    NewArticle { id: ArticleId(Uuid::now_v7()), site_id: site, key: &key, created_at: Timestamp(0) };
                let article = articles::find_or_make(tx, &new)?.0.id;
                fill_article(tx, &Blog { site, articles: vec![article] }, each, &mut number)?;
            }
            Ok(number)
        });
        number = runtime.block_on(write).unwrap();
    }
    println!("{number} comments on {articles} articles");
}

fn fill_article(
    tx: &mut afterword::storage::Tx<'_>,
    blog: &Blog,
    each: u64,
    number: &mut u64,
) -> Result<(), afterword::error::Error> {
    let mut root: Option<Comment> = None;
    for _ in 0..each {
        *number += 1;
        let mut comment = new_comment(blog, 0, Status::Approved);
        comment.text_hash = Uuid::now_v7().into_bytes().to_vec();
        if let (Some(root), true) = (&root, number.is_multiple_of(4)) {
            comment.parent_id = Some(root.id);
            comment.root_id = root.id;
            comment.depth = 1;
            comment.path = ReadingPath::below(Some(root.path.as_slice()), comment.id).0;
        }
        comments::insert(tx, &comment)?;
        if comment.parent_id.is_none() {
            root = Some(comment);
        }
    }
    Ok(())
}
