//! The moderators' queue: every filter gives what a plain scan would, in order, page by page; search finds words.

use afterword::domain::comment::Status;
use afterword::domain::ids::CommentId;
use afterword::storage::comments::{Comment, StateChange};
use afterword::storage::queue::{self, QueueFilter};
use afterword::storage::{Db, comments, words};

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::rows;

on_both_databases!(
    every_filter_gives_what_a_scan_would,
    search_finds_words_in_many_scripts,
    waiting_edits_need_a_decision
);

fn all() -> QueueFilter {
    QueueFilter { status: None, sites: None, articles: None, text: None, newest_first: false, after: None, limit: 500 }
}

async fn ids(db: &Db, filter: QueueFilter) -> Vec<CommentId> {
    db.read(move |conn| Ok(queue::page(conn, &filter)?.iter().map(|row| row.id).collect())).await.unwrap()
}

/// Two sites with two articles each, sixty comments in all states.
async fn fill(db: &Db) -> Vec<Comment> {
    let sites = [rows::site(1, "one"), rows::site(2, "two")];
    let mut all = Vec::new();
    for n in 0..60_u64 {
        let site = sites[usize::try_from(n % 2).unwrap()].clone();
        let article_number = 10 + n % 4;
        let status = Status::ALL[usize::try_from(n / 4 % 4).unwrap()];
        let row = db
            .write(move |tx| {
                let article = rows::site_and_article(tx, &site, article_number, &format!("a{article_number}"))?;
                let row = rows::comment(100 + n, site.id, article, None, status);
                comments::insert(tx, &row)?;
                Ok(row)
            })
            .await
            .unwrap();
        all.push(row);
    }
    all
}

async fn every_filter_gives_what_a_scan_would(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let rows = fill(&db).await;
    let (one, two) = (rows[0].site_id, rows[1].site_id);
    let states = [None, Some(Status::Pending), Some(Status::Approved), Some(Status::Rejected), Some(Status::Spam)];
    let site_sets = [None, Some(vec![one]), Some(vec![one, two]), Some(vec![])];
    for status in states {
        for sites in &site_sets {
            for article in [None, Some(rows[0].article_id)] {
                for newest_first in [false, true] {
                    let wanted = |row: &&Comment| {
                        status.is_none_or(|status| row.status == status)
                            && match (&article, sites) {
                                (Some(article), _) => row.article_id == *article,
                                (None, Some(sites)) => sites.contains(&row.site_id),
                                (None, None) => true,
                            }
                    };
                    let mut expected: Vec<CommentId> = rows.iter().filter(wanted).map(|row| row.id).collect();
                    if newest_first {
                        expected.reverse();
                    }
                    let articles = article.map(|article| vec![article]);
                    let filter = QueueFilter { status, sites: sites.clone(), articles, newest_first, ..all() };
                    let mut paged = Vec::new();
                    loop {
                        let after = paged.last().copied();
                        let page = ids(&db, QueueFilter { after, limit: 7, ..filter.clone() }).await;
                        if page.is_empty() {
                            break;
                        }
                        paged.extend(page);
                    }
                    assert_eq!(paged, expected, "{filter:?}");
                }
            }
        }
    }
}

async fn search_finds_words_in_many_scripts(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let site = rows::site(1, "one");
    let texts =
        ["Crème brûlée is nice", "東京都に行く", "It isn't approved; 250% \"quoted\" * text", "नमस्ते दुनिया", "plain"];
    for (n, text) in texts.into_iter().enumerate() {
        let site = site.clone();
        db.write(move |tx| {
            let article = rows::site_and_article(tx, &site, 10, "a")?;
            let mut row = rows::comment(100 + n as u64, site.id, article, None, Status::Pending);
            text.clone_into(&mut row.body);
            comments::insert(tx, &row)
        })
        .await
        .unwrap();
    }
    let find = async |text: &str| {
        let found = ids(&db, QueueFilter { text: Some(text.to_owned()), ..all() }).await;
        found
            .into_iter()
            .map(|id| (id.0.as_u128() - rows::uuid(100).as_u128()).to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    // Before the index has caught up, half-way, and after.
    for _ in 0..3 {
        for (question, expected) in [
            ("creme", "0"),
            ("BRÛL", "0"),
            ("brulee nice", "0"),
            ("nice plain", ""),
            ("京都", "1"),
            ("東京", "1"),
            ("都", ""),
            ("appr", "2"),
            ("250%", "2"),
            ("\"", ""),
            ("' OR 1=1 --", ""),
            ("quoted\" OR \"plain", ""),
            ("नमस्ते", "3"),
            ("Author", "0 1 2 3 4"),
            ("*", ""),
            ("plain*", "4"),
            ("NEAR(plain)", ""),
            ("body:plain", ""),
            (":*", ""),
            ("!", ""),
        ] {
            assert_eq!(find(question).await, expected, "{question}");
        }
        db.write(|tx| words::catch_up(tx, 3)).await.unwrap();
    }
    // A changed text is found by its new words only; a removed one by none.
    let id = rows::comment_id(104);
    db.write(move |tx| {
        let row = comments::find(tx.conn(), id)?.unwrap();
        let mut text = row.text();
        text.body = "fancy".into();
        comments::change(tx, &row, &StateChange { text: Some(text), ..StateChange::default() }).map(|_| ())
    })
    .await
    .unwrap();
    assert_eq!((find("plain").await, find("fancy").await), (String::new(), "4".to_owned()));
    db.write(move |tx| {
        let row = comments::find(tx.conn(), id)?.unwrap();
        comments::remove(tx, &row)
    })
    .await
    .unwrap();
    assert_eq!(find("fancy").await, "");
}

async fn waiting_edits_need_a_decision(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let rows = fill(&db).await;
    let public = rows.iter().find(|row| row.status == Status::Approved).unwrap().clone();
    let (id, site) = (public.id, public.site_id);
    db.write(move |tx| {
        let change = StateChange { waiting_edit: Some(Some(public.text())), ..StateChange::default() };
        comments::change(tx, &public, &change).map(|_| ())
    })
    .await
    .unwrap();
    let pending = QueueFilter { status: Some(Status::Pending), ..all() };
    assert!(ids(&db, pending.clone()).await.contains(&id));
    assert!(ids(&db, QueueFilter { sites: Some(vec![site]), ..pending.clone() }).await.contains(&id));
    let everything = ids(&db, all()).await;
    assert_eq!(everything.iter().filter(|found| **found == id).count(), 1);
    let oldest = db.read(move |conn| queue::oldest_pending(conn, None)).await.unwrap().unwrap();
    assert_eq!(oldest.id, rows[0].id);
}
