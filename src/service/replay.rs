//! A draft of rules over comments that are there: what each would have met, before and after. It judges with the function
//! that real comments meet, on what is stored, and writes nothing; page by page, one replay at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Service;
use super::access::Access;
use super::rulebook::{Sets, unpacked};
use super::rules::PATTERNS_MAX;
use crate::domain::comment::{HoldReason, Status};
use crate::domain::ids::{AuthorId, CommentId, RuleId, SiteId};
use crate::domain::policy::{Facts, FormSign, Verdict, judge};
use crate::domain::rules::compiled::Rule;
use crate::domain::rules::draft::Draft;
use crate::domain::rules::judge::RuleSet;
use crate::domain::rules::subject::{History, Subject, network};
use crate::domain::site::Site;
use crate::error::Error;
use crate::storage::authors::{self, Author};
use crate::storage::comments::Comment;
use crate::storage::queue::{self, QueueFilter};
use crate::storage::{Conn, rules};

/// Comments that are read and judged together.
const PAGE: usize = 500;

/// Comments that are shown of those that would fare differently.
const SAMPLES: usize = 20;

/// Characters of a sample's text that are shown.
const EXCERPT: usize = 200;

/// A rule that somebody thinks of.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// The stored rule in whose place it comes, with that rule's list; none: a new one, last in order.
    pub id: Option<RuleId>,
    /// What it says.
    pub draft: Draft,
    /// Where it stands in the request, for faults.
    pub at: String,
}

/// What is to be tried.
#[derive(Debug, Clone)]
pub enum Proposal {
    /// One rule, beside those that there are.
    One(Proposed),
    /// All rules of the site, in place of those that there are.
    Whole(Vec<Proposed>),
}

impl Proposal {
    /// Within the bounds of what can be saved: before anything of it is compiled.
    fn check(&self) -> Result<(), Error> {
        let all = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Whole(all) => all.as_slice(),
        };
        if all.iter().map(|one| one.draft.patterns()).sum::<usize>() > PATTERNS_MAX {
            let message = format!("All rules of a site together have {PATTERNS_MAX} patterns at most.");
            return Err(Error::invalid("rules", "too_many", message));
        }
        let ids: Vec<RuleId> = all.iter().filter_map(|one| one.id).collect();
        if ids.iter().collect::<HashSet<_>>().len() < ids.len() {
            return Err(Error::invalid("rules", "given_twice", "Two of them name the same rule."));
        }
        Ok(())
    }
}

/// What to replay.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The site whose rules are tried; none: those for all sites.
    pub site: Option<SiteId>,
    /// The rules.
    pub proposal: Proposal,
    /// So many comments at most, the newest first.
    pub limit: usize,
}

/// Where a comment stands and where it would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Where it stands.
    pub now: Status,
    /// Where the rules as they are would put it.
    pub before: Status,
    /// Where those of the draft would.
    pub after: Status,
}

/// A comment that would fare differently.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Which.
    pub id: CommentId,
    /// How it would fare.
    pub course: Course,
    /// The beginning of its text as typed.
    pub excerpt: String,
    /// Why the draft would put it there.
    pub reasons: Vec<HoldReason>,
    /// The draft's points.
    pub score: Option<f64>,
}

/// What a replay found.
#[derive(Debug, Default)]
pub struct Found {
    /// Comments that were judged.
    pub judged: usize,
    /// Those among them for which a rule of the draft needed an address that is not kept.
    pub lacks_address: usize,
    /// Those that would fare differently.
    pub changed: usize,
    /// How many went each way.
    pub courses: Vec<(Course, usize)>,
    /// Some of those that would fare differently, the newest first.
    pub samples: Vec<Sample>,
    counted: BTreeMap<(i16, i16, i16), usize>,
}

/// The rules as they are, and as the draft has them.
struct Trial {
    before: Sets,
    after: Sets,
}

/// Comments with the authors that are known.
struct Page {
    comments: Vec<Comment>,
    authors: HashMap<AuthorId, Author>,
}

impl Service {
    /// Replays a draft. [`Error::Busy`] while another replay goes on.
    pub async fn replay(self: &Arc<Self>, access: &Access, order: Replay) -> Result<Found, Error> {
        access.require_rules_of(order.site)?;
        order.proposal.check()?;
        let Ok(_alone) = self.rulebook.replaying.try_lock() else { return Err(Error::Busy) };
        self.refresh_rules().await?;
        let trial = Arc::new(self.trial(order.site, order.proposal).await?);
        let mut filter = QueueFilter {
            status: None,
            sites: order.site.map(|site| vec![site]),
            articles: None,
            text: None,
            newest_first: true,
            after: None,
            limit: 0,
        };
        let (mut found, mut left) = (Found::default(), order.limit);
        while left > 0 {
            let wanted = left.min(PAGE);
            filter.limit = i64::try_from(wanted).unwrap_or(0);
            let asked = filter.clone();
            let page = self.db.read(move |conn| read(conn, &asked)).await?;
            let Some(last) = page.comments.last().map(|comment| comment.id) else { break };
            filter.after = Some(last);
            left -= page.comments.len();
            let ended = page.comments.len() < wanted;
            let (service, trial) = (self.clone(), trial.clone());
            let judged = tokio::task::spawn_blocking(move || {
                for comment in &page.comments {
                    if let Some(judged) = trial.judge(&service, comment, page.authors.get(&comment.author_id)) {
                        found.add(comment, judged);
                    }
                }
                found
            });
            found = judged.await.map_err(Error::internal)?;
            if ended {
                break;
            }
        }
        Ok(found.summed())
    }

    /// Puts the draft into the place of what it replaces.
    async fn trial(&self, site: Option<SiteId>, proposal: Proposal) -> Result<Trial, Error> {
        let book = self.rulebook.picture();
        let proposed = match &proposal {
            Proposal::One(one) => std::slice::from_ref(one),
            Proposal::Whole(all) => all.as_slice(),
        };
        let ids: Vec<RuleId> = proposed.iter().filter_map(|one| one.id).collect();
        let lists = self.db.read(move |conn| lists(conn, site, &ids)).await?;
        let (compiled, proposal) = compiled(proposal, lists).await?;
        let mut new = compiled.into_iter();
        let mut own: Vec<Arc<Rule>> = Vec::new();
        if let Proposal::One(one) = &proposal {
            for (id, rule) in book.rules_of(site) {
                own.push(if one.id == Some(id) { new.next().unwrap_or(rule) } else { rule });
            }
        }
        own.extend(new);
        Ok(Trial { before: book.sets.clone(), after: book.with(site, own) })
    }
}

impl Trial {
    /// Judges one comment twice.
    fn judge(&self, service: &Service, comment: &Comment, author: Option<&Author>) -> Option<Judged> {
        // What staff write is never judged.
        if comment.badge.is_some() {
            return None;
        }
        let site = service.sites.by_id(comment.site_id).ok()?;
        let history = history(author, comment.status);
        let (email, sender) = service.opened(&comment.sealed());
        let subject = Subject {
            name: &comment.name,
            email: email.as_deref(),
            email_is_hidden: email.is_none() && comment.email_sealed.is_some(),
            website: comment.website.as_deref(),
            body: &comment.body,
            body_html: &comment.body_html,
            author: history,
            address: sender.address.as_deref().and_then(network),
            at: comment.created_at,
        };
        let case = Case { site: &site, facts: facts(comment, history), subject: &subject };
        let (before, _) = case.under(&self.before.of(site.id));
        let (after, lacks_address) = case.under(&self.after.of(site.id));
        Some(Judged { before: before.status, after, lacks_address })
    }
}

/// One comment under the rules as they are, and under the draft.
struct Judged {
    before: Status,
    after: Verdict,
    lacks_address: bool,
}

/// All that decides about one comment but the rules.
struct Case<'a> {
    site: &'a Site,
    facts: Facts,
    subject: &'a Subject<'a>,
}

impl Case<'_> {
    fn under(&self, rules: &RuleSet) -> (Verdict, bool) {
        let ruling = rules.judge_by(self.subject, self.site.settings.thresholds(rules.thresholds));
        let lacks_address = ruling.lacks_address;
        (judge(self.site.policy, self.facts, ruling), lacks_address)
    }
}

impl Found {
    fn add(&mut self, comment: &Comment, judged: Judged) {
        let Judged { before, after, lacks_address } = judged;
        let course = Course { now: comment.status, before, after: after.status };
        self.judged += 1;
        self.lacks_address += usize::from(lacks_address);
        let key = (course.now.number(), course.before.number(), course.after.number());
        *self.counted.entry(key).or_default() += 1;
        if before == after.status {
            return;
        }
        self.changed += 1;
        if self.samples.len() < SAMPLES {
            let excerpt = comment.body.chars().take(EXCERPT).collect();
            let (reasons, score) = (after.reasons, after.score);
            self.samples.push(Sample { id: comment.id, course, excerpt, reasons, score });
        }
    }

    fn summed(mut self) -> Self {
        let known = |number| Status::from_number(number).unwrap_or(Status::Pending);
        let courses = std::mem::take(&mut self.counted).into_iter().map(|((now, before, after), count)| {
            (Course { now: known(now), before: known(before), after: known(after) }, count)
        });
        self.courses = courses.collect();
        self
    }
}

fn read(conn: &mut Conn, filter: &QueueFilter) -> Result<Page, Error> {
    let comments = queue::page(conn, filter)?;
    let mut ids: Vec<AuthorId> = comments.iter().map(|comment| comment.author_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let authors = authors::by_ids(conn, &ids)?.into_iter().map(|author| (author.id, author)).collect();
    Ok(Page { comments, authors })
}

/// How the author's other comments fared: this one did not count when it came.
fn history(author: Option<&Author>, own: Status) -> History {
    let mut history = author.map(Author::history).unwrap_or_default();
    match own {
        Status::Approved => history.approved -= 1,
        Status::Rejected => history.rejected -= 1,
        Status::Spam => history.spam -= 1,
        Status::Pending | Status::Removed => {}
    }
    let least = |number: i64| number.max(0);
    History { approved: least(history.approved), rejected: least(history.rejected), spam: least(history.spam) }
}

/// What the quiet defences saw when the comment came stands in its reasons.
fn facts(comment: &Comment, history: History) -> Facts {
    let reasons = comment.hold_reasons();
    let told = |code: &str| reasons.iter().any(|reason| reason.code == code);
    let form = reasons.iter().find_map(|reason| FormSign::from_code(&reason.code)).unwrap_or_default();
    let (honeypot, flooded) = (told("honeypot"), told("email_rate"));
    Facts { trusted: history.approved > 0, honeypot, flooded, form, edit: false }
}

/// The lists of stored rules. One that is not a rule of this site is not found.
fn lists(conn: &mut Conn, site: Option<SiteId>, ids: &[RuleId]) -> Result<HashMap<RuleId, Vec<u8>>, Error> {
    let mut lists = HashMap::new();
    for id in ids {
        rules::find(conn, *id)?.filter(|rule| rule.site_id == site).ok_or(Error::NotFound)?;
        if let Some(packed) = rules::words(conn, *id)? {
            lists.insert(*id, packed);
        }
    }
    Ok(lists)
}

/// All proposed rules, compiled with their lists; all faults at once.
async fn compiled(proposal: Proposal, lists: HashMap<RuleId, Vec<u8>>) -> Result<(Vec<Arc<Rule>>, Proposal), Error> {
    let work = tokio::task::spawn_blocking(move || {
        let proposed = match &proposal {
            Proposal::One(one) => std::slice::from_ref(one),
            Proposal::Whole(all) => all.as_slice(),
        };
        let (mut compiled, mut faults) = (Vec::with_capacity(proposed.len()), Vec::new());
        for Proposed { id, draft, at } in proposed {
            let packed = id.and_then(|id| lists.get(&id)).filter(|_| draft.has_list());
            let list = packed.map(|packed| unpacked(packed)).transpose()?.unwrap_or_default();
            let list: Vec<String> = list.lines().map(str::to_owned).collect();
            match Rule::compile(draft, &list, at) {
                Ok(rule) => compiled.push(Arc::new(rule)),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok((compiled, proposal)) } else { Err(Error::Invalid(faults)) }
    });
    work.await.map_err(Error::internal)?
}
