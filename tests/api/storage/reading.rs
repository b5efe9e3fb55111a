//! Reading order, pages and the fate of replies, checked against a model that keeps everything in memory: random threads,
//! random decisions, every page of every order.

use std::collections::BTreeMap;

use afterword::domain::comment::Status;
use afterword::domain::ids::CommentId;
use afterword::domain::listing::{Place, Sort};
use afterword::storage::comments::{Comment, StateChange};
use afterword::storage::listing::List;
use afterword::storage::{Conn, Db, articles, comments, listing, permalink};
use diesel::prelude::*;

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::rows;

on_both_databases!(
    pages_and_tombstones_as_the_model_says,
    a_place_stays_right_while_rows_come_and_go,
    removing_from_below_cleans_up
);

/// A small generator of numbers, so that a failure can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n as u64).unwrap()
    }
}

/// What the public list must be: roots by order, each followed by its replies, oldest first.
struct Model {
    rows: BTreeMap<CommentId, Comment>,
}

impl Model {
    fn children(&self, parent: Option<CommentId>) -> Vec<&Comment> {
        self.rows.values().filter(|row| row.parent_id == parent).collect()
    }

    fn stands(&self, row: &Comment) -> bool {
        row.status == Status::Approved || self.children(Some(row.id)).iter().any(|child| self.stands(child))
    }

    fn list(&self, sort: Sort) -> Vec<(CommentId, bool, i32)> {
        let mut roots = self.children(None);
        match sort {
            Sort::Oldest => {}
            Sort::Newest => roots.reverse(),
            Sort::Top => roots.sort_by_key(|root| (-root.score, root.id)),
        }
        let mut list = Vec::new();
        for root in roots {
            self.walk(root, &mut list);
        }
        list
    }

    fn walk(&self, row: &Comment, list: &mut Vec<(CommentId, bool, i32)>) {
        if !self.stands(row) {
            return;
        }
        let children = self.children(Some(row.id));
        let replies = children.iter().filter(|child| child.status == Status::Approved).count();
        list.push((row.id, row.status == Status::Approved, i32::try_from(replies).unwrap()));
        for child in children {
            self.walk(child, list);
        }
    }
}

async fn set_score(db: &Db, id: CommentId, score: i32) {
    use afterword::storage::schema::comments::dsl;
    db.write(move |tx| {
        let change = dsl::score.eq(score);
        match tx.conn() {
            Conn::Sqlite(c) => diesel::update(dsl::comments.find(id)).set(change).execute(c)?,
            Conn::Postgres(c) => diesel::update(dsl::comments.find(id)).set(change).execute(c)?,
        };
        Ok(())
    })
    .await
    .unwrap();
}

async fn pages_and_tombstones_as_the_model_says(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let site = rows::site(1, "blog");
    let (site_id, article) = {
        let site = site.clone();
        (site.id, db.write(move |tx| rows::site_and_article(tx, &site, 2, "a")).await.unwrap())
    };
    let mut dice = Dice(7);
    let mut model = Model { rows: BTreeMap::new() };
    for n in 0..120 {
        let ids: Vec<CommentId> = model.rows.keys().copied().collect();
        let parent = if ids.is_empty() || dice.below(3) == 0 {
            None
        } else {
            Some(model.rows[&ids[dice.below(ids.len())]].clone())
        };
        let mut row = rows::comment(100 + n, site_id, article, parent.as_ref(), Status::ALL[dice.below(4)]);
        if parent.is_none() {
            row.score = i32::try_from(dice.below(4)).unwrap();
        }
        model.rows.insert(row.id, row.clone());
        let score = row.score;
        let id = row.id;
        db.write(move |tx| comments::insert(tx, &row)).await.unwrap();
        set_score(&db, id, score).await;
    }
    for round in 0..12 {
        for _ in 0..10 {
            let ids: Vec<CommentId> = model.rows.keys().copied().collect();
            let id = ids[dice.below(ids.len())];
            let to = Status::ALL[dice.below(4)];
            if model.rows[&id].status == Status::Removed {
                continue;
            }
            let removing = dice.below(8) == 0;
            db.write(move |tx| {
                let row = comments::find(tx.conn(), id)?.unwrap();
                if removing {
                    return comments::remove(tx, &row);
                }
                comments::change(tx, &row, &StateChange { to: Some(to), ..StateChange::default() }).map(|_| ())
            })
            .await
            .unwrap();
            model.rows.get_mut(&id).unwrap().status = if removing { Status::Removed } else { to };
            if removing {
                prune(&mut model, id);
            }
        }
        compare(&db, article, &model, round).await;
    }
}

/// A removed row stays only while something hangs below it.
fn prune(model: &mut Model, id: CommentId) {
    let mut next = Some(id);
    while let Some(id) = next {
        let row = &model.rows[&id];
        if row.status != Status::Removed || !model.children(Some(id)).is_empty() {
            break;
        }
        next = row.parent_id;
        model.rows.remove(&id);
    }
}

async fn compare(db: &Db, article: afterword::domain::ids::ArticleId, model: &Model, round: usize) {
    for sort in Sort::ALL {
        let expected = model.list(*sort);
        for limit in [1, 7, 200] {
            let mut listed = Vec::new();
            let mut after: Option<Place> = None;
            loop {
                let place = after.clone();
                let page = db
                    .read(move |conn| listing::page(conn, List { article, sort: *sort, limit }, place.as_ref()))
                    .await
                    .unwrap();
                assert!(i64::try_from(page.comments.len()).unwrap() <= limit);
                for row in &page.comments {
                    listed.push((row.id, row.status == Status::Approved, row.reply_count));
                }
                let held = page.comments.first().map(|row| row.id);
                if let Some(id) = held {
                    let around = db
                        .read(move |conn| permalink::page_around(conn, List { article, sort: *sort, limit }, id))
                        .await
                        .unwrap();
                    let around: Vec<_> = around.unwrap().comments.iter().map(|row| row.id).collect();
                    let ids: Vec<_> = page.comments.iter().map(|row| row.id).collect();
                    assert_eq!(around, ids, "around, {sort:?}, limit {limit}, round {round}");
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed, expected, "{sort:?}, limit {limit}, round {round}");
        }
    }
    let approved = model.rows.values().filter(|row| row.status == Status::Approved).count();
    let count = db.read(move |conn| Ok(articles::by_ids(conn, &[article])?[&article].comment_count)).await.unwrap();
    assert_eq!(count, i64::try_from(approved).unwrap());
}

async fn a_place_stays_right_while_rows_come_and_go(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let site = rows::site(1, "blog");
    let site_id = site.id;
    let article = db.write(move |tx| rows::site_and_article(tx, &site, 2, "a")).await.unwrap();
    for n in 0..30 {
        let row = rows::comment(100 + n, site_id, article, None, Status::Approved);
        db.write(move |tx| comments::insert(tx, &row)).await.unwrap();
    }
    for sort in [Sort::Oldest, Sort::Newest] {
        let first = db.read(move |conn| listing::page(conn, List { article, sort, limit: 10 }, None)).await.unwrap();
        let last = first.comments.last().unwrap().id;
        // The very row that the place names goes away, and new ones come at both ends.
        db.write(move |tx| {
            let row = comments::find(tx.conn(), last)?.unwrap();
            comments::change(tx, &row, &StateChange { to: Some(Status::Spam), ..StateChange::default() }).map(|_| ())
        })
        .await
        .unwrap();
        let place = first.next.clone();
        let second =
            db.read(move |conn| listing::page(conn, List { article, sort, limit: 200 }, place.as_ref())).await.unwrap();
        let seen: Vec<_> = first.comments.iter().chain(&second.comments).map(|row| row.id).collect();
        let mut distinct = seen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(seen.len(), distinct.len(), "nothing twice");
        assert_eq!(seen.len(), if sort == Sort::Oldest { 30 } else { 29 }, "nothing missed");
    }
}

async fn removing_from_below_cleans_up(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let site = rows::site(1, "blog");
    let site_id = site.id;
    let article = db.write(move |tx| rows::site_and_article(tx, &site, 2, "a")).await.unwrap();
    let root = rows::comment(100, site_id, article, None, Status::Approved);
    let reply = rows::comment(101, site_id, article, Some(&root), Status::Approved);
    let (root_id, reply_id) = (root.id, reply.id);
    db.write(move |tx| {
        comments::insert(tx, &root)?;
        comments::insert(tx, &reply)
    })
    .await
    .unwrap();
    let remove = |id: CommentId| {
        db.write(move |tx| {
            let row = comments::find(tx.conn(), id)?.unwrap();
            comments::remove(tx, &row)
        })
    };
    remove(root_id).await.unwrap();
    let page =
        db.read(move |conn| listing::page(conn, List { article, sort: Sort::Oldest, limit: 9 }, None)).await.unwrap();
    assert_eq!(page.comments.len(), 2);
    assert_eq!((page.comments[0].status, page.comments[0].name.as_str()), (Status::Removed, ""));
    assert!(db.read(move |conn| comments::find(conn, root_id)).await.unwrap().is_none(), "nobody sees a removed one");
    remove(reply_id).await.unwrap();
    let page =
        db.read(move |conn| listing::page(conn, List { article, sort: Sort::Oldest, limit: 9 }, None)).await.unwrap();
    assert!(page.comments.is_empty());
    let left = db.read(move |conn| comments::find_parent(conn, root_id)).await.unwrap();
    assert!(left.is_none(), "the wiped row goes with its last reply");
}
