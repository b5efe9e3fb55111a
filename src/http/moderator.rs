//! [`Moderator`]: the right to moderate, in a handler's signature. It reads the body or the query first and the credentials
//! then, as the contract's order of faults wants it. [`Admin`]: the right to administer, likewise. [`Administrator`]: the
//! right to look into the service as a whole. A token that only reads changes nothing, whoever holds it.

use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::State;
use super::error::ApiError;
use super::json::Fields;
use super::{request, signed_in};
use crate::domain::comment::Via;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::domain::web::Origin;
use crate::error::Error;
use crate::service::access::{Access, Credentials};
use crate::storage::accounts::{Role, Scope};

/// What a handler wants of a request. What cannot be read is refused with or without a token; what can be read and is
/// wrong is the handler's matter, when it knows that the thing asked for is there.
pub trait Input: Sized {
    /// Reads it.
    fn read(request: &HttpRequest, payload: web::Payload) -> impl Future<Output = Result<Self, ApiError>>;
}

/// None; one that is sent all the same is not looked at.
pub struct NoBody;

/// A JSON object, or nothing at all.
pub struct OptionalObject(pub Fields);

/// A JSON object.
pub struct RequiredObject(pub Fields);

impl Input for NoBody {
    async fn read(_: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        Ok(Self)
    }
}

impl Input for OptionalObject {
    async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Self, ApiError> {
        request::read_optional_json(request, payload).await.map(Self)
    }
}

impl Input for RequiredObject {
    async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Self, ApiError> {
        request::read_json(request, payload).await.map(Self)
    }
}

/// Someone who may moderate, and what they sent.
pub struct Moderator<I> {
    /// What they may see and decide.
    pub access: Access,
    /// How far their token goes.
    pub scope: Scope,
    /// When it ends.
    pub ends_at: Timestamp,
    /// By which way they come.
    pub via: Via,
    /// What they sent.
    pub input: I,
}

/// An administrator whose token goes as far, and what they sent.
pub struct Admin<I> {
    /// Whose token or session it is.
    pub account: AccountId,
    /// By which way they come.
    pub via: Via,
    /// What they sent.
    pub input: I,
}

impl<I> Moderator<I> {
    /// Their rights over what concerns all sites alike: an administrator whose token only moderates has those of somebody
    /// who moderates every site.
    pub fn rights(&self, state: &State) -> Access {
        let mut rights = self.access.clone();
        if rights.role == Role::Admin && self.scope != Scope::Admin {
            rights.role = Role::Moderator;
            rights.sites = state.service.sites.all().iter().map(|site| site.id).collect();
        }
        rights
    }
}

impl<I: Input + 'static> FromRequest for Moderator<I> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload));
        Box::pin(async move {
            let (Credentials { access, scope, ends_at, via }, input) = admitted(&request, payload).await?;
            Ok(Self { access, scope, ends_at, via, input })
        })
    }
}

impl<I: Input + 'static> FromRequest for Admin<I> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload));
        Box::pin(async move {
            let (Credentials { access, scope, via, .. }, input) = admitted(&request, payload).await?;
            match (access.role, scope) {
                (Role::Admin, Scope::Admin) => Ok(Self { account: access.account, via, input }),
                _ => {
                    Err(Error::Forbidden("Only an administrator's token of the scope admin opens this.".into()).into())
                }
            }
        })
    }
}

/// What was sent, and who sent it with a token that goes far enough.
async fn admitted<I: Input>(
    request: &HttpRequest,
    payload: impl Future<Output = Result<web::Payload, actix_web::Error>>,
) -> Result<(Credentials, I), ApiError> {
    let payload = payload.await.map_err(|_| Error::Malformed("The body cannot be read.".into()))?;
    let input = I::read(request, payload).await?;
    let state = request.app_data::<web::Data<State>>().ok_or_else(|| Error::internal("no state"))?.clone();
    let credentials = authenticate(request, &state).await?;
    check_origin(request, &state)?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || credentials.scope.covers(Scope::Moderate) {
        return Ok((credentials, input));
    }
    Err(Error::Forbidden("This token only reads. Use one of the scope moderate or admin.".into()).into())
}

/// Someone who may see what concerns the service as a whole.
pub struct Administrator;

impl FromRequest for Administrator {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = request.app_data::<web::Data<State>>().ok_or_else(|| Error::internal("no state"))?.clone();
            match authenticate(&request, &state).await?.access.role {
                Role::Admin => Ok(Self),
                Role::Moderator => Err(not_for_moderators().into()),
            }
        })
    }
}

fn not_for_moderators() -> Error {
    Error::Forbidden("Only an administrator's token opens this.".into())
}

/// Whose access token or session it is, and how far it goes. A token counts before a session: a wrong one is refused,
/// whoever is signed in.
pub(super) async fn authenticate(request: &HttpRequest, state: &State) -> Result<Credentials, ApiError> {
    let Some(token) = request::bearer(request.headers())? else {
        return Ok(signed_in::open(request, state).await?.1.credentials);
    };
    match state.service.credentials_by_token(token).await? {
        Some(credentials) => Ok(credentials),
        None => Err(state.wrong_token(request, "This access token is not valid: unknown, over, or taken back.").await),
    }
}

/// A page of a foreign origin may not decide, whatever token it has got hold of; nor may a blog's, where others' scripts
/// run beside the comments.
fn check_origin(request: &HttpRequest, state: &State) -> Result<(), Error> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    match origin.to_str().ok().and_then(Origin::parse) {
        Some(origin) if state.is_own_origin(&origin) => Ok(()),
        _ => Err(Error::Forbidden("Only the service's own pages may do this, and programs that are no pages.".into())),
    }
}
