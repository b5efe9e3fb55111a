//! A draft of rules over comments that are there: what would change, before anything does.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::moderator::{Moderator, RequiredObject};
use super::queue::private;
use super::request::faultless;
use super::rules::{RuleText, scope};
use super::shapes::HoldReasonShape;
use crate::domain::fault::Fault;
use crate::domain::ids::RuleId;
use crate::domain::rules::draft::Draft;
use crate::error::Error;
use crate::service::replay::{Course, Found, Proposal, Proposed, Replay, Sample};

/// Comments of one replay, at most, and when nothing is said.
const LIMIT_MAX: usize = 10_000;
const LIMIT: usize = 1_000;

/// Rules of a whole draft, at most: as many as a site has.
const RULES_MAX: usize = 200;

/// What to try: `rule` or `rules`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct SimulateRequest {
    /// A site's key; null: the rules for all sites, over the comments of all sites, for administrators.
    site: Option<String>,
    /// One rule beside those that there are; with `id` in the place of that one.
    rule: Option<RuleText>,
    /// All rules of the site, in place of those that there are; each may have an `id`, whose list it uses.
    rules: Option<Vec<RuleText>>,
    /// The newest so many comments: 1 to 10,000; 1,000 when missing.
    limit: Option<u32>,
}

/// Where comments stand (`status`), where the rules as they are would put them (`before`) and where the draft would
/// (`after`): `pending`, `approved`, `rejected` or `spam`.
#[derive(Serialize, ToSchema)]
pub struct CourseShape {
    status: &'static str,
    before: &'static str,
    after: &'static str,
}

/// How many comments went one way.
#[derive(Serialize, ToSchema)]
pub struct CountedCourse {
    #[serde(flatten)]
    course: CourseShape,
    count: usize,
}

/// A comment that would fare differently.
#[derive(Serialize, ToSchema)]
pub struct SampleShape {
    id: String,
    #[serde(flatten)]
    course: CourseShape,
    /// The beginning of its text as typed.
    excerpt: String,
    /// What would stand beside it.
    hold_reasons: Vec<HoldReasonShape>,
    spam_score: Option<f64>,
}

/// What would change.
#[derive(Serialize, ToSchema)]
pub struct SimulateAnswer {
    /// Comments that were judged.
    judged: usize,
    /// Those among them for which the draft needed an address of which not enough is kept.
    without_address: usize,
    /// Those that would fare differently.
    changed: usize,
    outcomes: Vec<CountedCourse>,
    /// At most 20 of those that would fare differently, the newest first.
    samples: Vec<SampleShape>,
}

impl From<Course> for CourseShape {
    fn from(course: Course) -> Self {
        let Course { now, before, after } = course;
        Self { status: now.as_str(), before: before.as_str(), after: after.as_str() }
    }
}

impl From<Sample> for SampleShape {
    fn from(sample: Sample) -> Self {
        Self {
            id: sample.id.to_string(),
            course: sample.course.into(),
            excerpt: sample.excerpt,
            hold_reasons: sample.reasons.into_iter().map(HoldReasonShape::from).collect(),
            spam_score: sample.score,
        }
    }
}

impl From<Found> for SimulateAnswer {
    fn from(found: Found) -> Self {
        let counted = |(course, count): (Course, usize)| CountedCourse { course: course.into(), count };
        Self {
            judged: found.judged,
            without_address: found.lacks_address,
            changed: found.changed,
            outcomes: found.courses.into_iter().map(counted).collect(),
            samples: found.samples.into_iter().map(SampleShape::from).collect(),
        }
    }
}

/// Replays a draft over the newest comments and says what would change. It writes nothing.
#[utoipa::path(
    post, path = "/api/v1/moderation/rules/simulate", tag = "Moderators", request_body = SimulateRequest,
    security(("account" = [])),
    responses(
        (status = 200, body = SimulateAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn simulate(state: web::Data<State>, moderator: Moderator<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let mut fields = moderator.input.0;
    let site = scope(&state, &moderator.access, &mut fields)?;
    let (mut rest, mut faults) = fields.rest();
    let limit = limit(rest.remove("limit"), &mut faults);
    let proposal = proposal(&mut rest, &mut faults);
    faults.extend(rest.keys().map(|_| Fault::new("?", "unknown_field", "It takes site, rule, rules and limit.")));
    faultless(faults)?;
    let proposal = proposal.ok_or_else(|| Error::internal("a rule is missing that has no fault"))?;
    let found = state.service.replay(&moderator.access, Replay { site, proposal, limit }).await?;
    Ok(private(StatusCode::OK).json(SimulateAnswer::from(found)))
}

fn limit(value: Option<Value>, faults: &mut Vec<Fault>) -> usize {
    let Some(value) = value.filter(|value| !value.is_null()) else { return LIMIT };
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.filter(|number| (1..=LIMIT_MAX).contains(number)).unwrap_or_else(|| {
        faults.push(Fault::new("limit", "out_of_range", "It must be a whole number from 1 to 10,000."));
        LIMIT
    })
}

fn proposal(fields: &mut Map<String, Value>, faults: &mut Vec<Fault>) -> Option<Proposal> {
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    match (take("rule"), take("rules")) {
        (Some(rule), None) => proposed(rule, "rule".to_owned(), faults).map(Proposal::One),
        (None, Some(Value::Array(rules))) if rules.len() <= RULES_MAX => {
            let numbered = rules.into_iter().enumerate();
            let read: Vec<_> =
                numbered.map(|(number, rule)| proposed(rule, format!("rules[{number}]"), faults)).collect();
            read.into_iter().collect::<Option<_>>().map(Proposal::Whole)
        }
        (None, Some(_)) => {
            faults.push(Fault::wrong_type("rules", "a list of at most 200 rules"));
            None
        }
        (Some(_), Some(_)) => {
            faults.push(Fault::new("rules", "given_twice", "Send one rule or all of them, not both."));
            None
        }
        (None, None) => {
            faults.push(Fault::required("rule"));
            None
        }
    }
}

fn proposed(mut value: Value, at: String, faults: &mut Vec<Fault>) -> Option<Proposed> {
    let id = value.as_object_mut().and_then(|fields| fields.remove("id")).filter(|id| !id.is_null());
    let parsed = id.as_ref().and_then(|id| id.as_str()?.parse::<RuleId>().ok());
    if id.is_some() && parsed.is_none() {
        faults.push(Fault::new(format!("{at}.id"), "unknown_value", "It must be the id of a rule."));
    }
    let draft = Draft::read(value, &at, faults)?;
    Some(Proposed { id: parsed, draft, at })
}
