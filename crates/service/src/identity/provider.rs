//! One provider: what its tokens must say, and whom it makes a user.

use super::claims::Claims;
use super::fetch::{Question, basic, is_safe};
use super::issuer::Issuer;
use super::jwt::Unverified;
use super::pattern::Pattern;
use super::settings::{IdentitySettings, Kind};
use super::{Known, LoginAt, Refusal, short};
use crate::Error;
use crate::scope::Scopes;
use bursa_core::limits;
use bursa_core::time::Wall;
use serde_json::{Map, Value};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// A provider of the configuration, ready to be asked.
#[derive(Debug)]
pub(super) struct Provider {
    settings: IdentitySettings,
    issuer: Arc<Issuer>,
    /// What our own questions are authorized by.
    authorization: Option<Secret>,
}

/// Not shown by `Debug`.
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Provider {
    pub(super) fn new(settings: IdentitySettings, issuer: Arc<Issuer>, home: &Path) -> Result<Self, Error> {
        let mut authorization = None;
        if let Some(file) = &settings.client_secret_file {
            let secret = secret(&home.join(file))?;
            let id = settings.client_id.as_deref().unwrap_or_default();
            authorization = Some(Secret(basic(id, &secret, settings.kind == Kind::Oidc)));
        }
        Ok(Self { settings, issuer, authorization })
    }

    pub(super) fn reads_jwt_of(&self, issuer: &str) -> bool {
        self.settings.kind == Kind::Oidc && self.issuer.url == issuer
    }

    pub(super) const fn can_be_asked(&self) -> bool {
        self.authorization.is_some()
    }

    /// Where `bursa login` goes, if people log in there.
    pub(super) fn login(&self) -> Option<LoginAt<'_>> {
        let settings = &self.settings;
        Some(LoginAt {
            kind: settings.kind,
            issuer: &settings.issuer,
            client_id: settings.login_client_id.as_deref()?,
            scopes: if settings.login_scopes.is_empty() { &settings.scopes } else { &settings.login_scopes },
            resource: settings.resource.as_deref(),
        })
    }

    /// Whose token this is, by its signature.
    pub(super) async fn verify(&self, token: &Unverified<'_>, now: Wall) -> Result<Known, Refusal> {
        // What needs no key comes first: a token that cannot count makes nobody ask for one.
        let expires = token.claims.check(&self.issuer.url, self.audience(), now).map_err(Refusal::Invalid)?;
        if !self.issuer.signed(token).await? {
            return Err(Refusal::Invalid("its token is signed by no key of its issuer".to_owned()));
        }
        self.known(&token.claims, expires, now)
    }

    /// Whose token this is, by asking the provider; `None`: it knows no such token.
    pub(super) async fn introspect(&self, bearer: &str, now: Wall) -> Result<Option<Known>, Refusal> {
        let Some(Secret(authorization)) = &self.authorization else { return Ok(None) };
        let mut form = vec![("token", bearer.to_owned())];
        let url = match self.settings.kind {
            Kind::Globus => {
                form.push(("include", "identity_set".to_owned()));
                format!("{}/v2/oauth2/token/introspect", self.issuer.url.trim_end_matches('/'))
            }
            Kind::Oidc => {
                form.push(("token_type_hint", "access_token".to_owned()));
                let found = self.issuer.places().await?.introspection_endpoint;
                found.ok_or_else(|| {
                    Refusal::Down("its identity provider answers no questions about tokens".into())
                })?
            }
        };
        let question = Question::Post { url, authorization: authorization.clone(), form };
        let claims: Map<String, Value> = self.issuer.fetch.ask(question).await?;
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Ok(None);
        }
        let claims = Claims(claims);
        let checked = match claims.0.contains_key("iss") {
            true => claims.check(&self.issuer.url, self.audience(), now),
            false => claims.check_use(self.audience(), now),
        };
        self.known(&claims, checked.map_err(Refusal::Invalid)?, now).map(Some)
    }

    fn audience(&self) -> &str {
        let settings = &self.settings;
        settings.audience.as_deref().or(settings.client_id.as_deref()).unwrap_or_default()
    }

    /// Who the claims of a token that is good are about, if he is one of those who are wanted.
    fn known(&self, claims: &Claims, ends: Wall, now: Wall) -> Result<Known, Refusal> {
        let expires = ends.min(Wall(now.0.saturating_add(limits::IDENTITY_KEPT_MS)));
        let has = claims.scopes();
        if let Some(missing) = self.settings.scopes.iter().find(|scope| !has.contains(&scope.as_str())) {
            return Err(Refusal::Invalid(format!("its token lacks the scope '{missing}'")));
        }
        let text = |name: &str| claims.text(name).filter(|text| fits(text)).map(str::to_owned);
        let subject =
            text("sub").ok_or_else(|| Refusal::Invalid("its token names nobody ('sub')".to_owned()))?;
        let claim = self.settings.username.as_str();
        let username = text(claim).unwrap_or_else(|| subject.clone());
        // An address that nobody has proven could be anybody's.
        if claim == "email" && claims.0.get("email_verified").is_some_and(|value| value != &Value::Bool(true))
        {
            return Err(Refusal::Unwanted(format!("'{}' is not verified by its provider", short(&username))));
        }
        let groups = self.settings.groups.as_deref().map(|name| claims.texts(name)).unwrap_or_default();
        let groups = groups.into_iter().filter(|group| fits(group)).take(limits::IDENTITY_GROUPS);
        let known = Known {
            issuer: self.issuer.url.clone(),
            subject,
            username,
            identities: identities(claims),
            groups: groups.map(str::to_owned).collect(),
            scopes: self.settings.grants.as_ref().map_or(Scopes::USUAL, |words| words.scopes()),
            expires,
        };
        if self.settings.allow.iter().any(|pattern| allows(pattern, &known)) {
            return Ok(known);
        }
        Err(Refusal::Unwanted(format!("'{}' of {} is on no list of its users", known.username, known.issuer)))
    }
}

/// The subjects that Globus Auth links with this one.
fn identities(claims: &Claims) -> Vec<String> {
    let set = claims.0.get("identity_set").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ids = set.iter().filter_map(|identity| identity.as_str().or_else(|| identity.get("sub")?.as_str()));
    ids.filter(|id| fits(id)).take(limits::IDENTITY_GROUPS).map(str::to_owned).collect()
}

fn fits(text: &str) -> bool {
    !text.is_empty() && text.len() <= limits::NAME_BYTES && !text.chars().any(char::is_control)
}

fn allows(pattern: &Pattern, known: &Known) -> bool {
    if let Some(group) = pattern.after("group:") {
        return known.groups.iter().any(|own| group.matches(own));
    }
    if let Some(subject) = pattern.after("subject:") {
        return subject.matches(&known.subject) || known.identities.iter().any(|own| subject.matches(own));
    }
    pattern.matches(&known.username)
}

/// The secret in a file that only its owner reads.
fn secret(path: &Path) -> Result<String, Error> {
    let refused = |why: String| {
        Error::Refused(format!("the client_secret_file {} cannot be used: {why}", path.display()))
    };
    let mode = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(refused(format!("others can read it (mode {:04o}); run chmod 600 on it", mode & 0o7777)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    Ok(text.trim().to_owned())
}

/// What a configuration must hold, beyond its shape.
pub(super) fn check(settings: &IdentitySettings) -> Result<(), String> {
    let issuer = &settings.issuer;
    if !is_safe(issuer) {
        return Err(format!("the issuer '{issuer}' must begin with https:// (http:// only on this host)"));
    }
    let wrong = |why: &str| Err(format!("of the issuer '{issuer}': {why}"));
    if settings.client_secret_file.is_some() && settings.client_id.is_none() {
        return wrong("client_secret_file needs client_id");
    }
    match settings.kind {
        Kind::Globus if settings.client_secret_file.is_none() => {
            return wrong("tokens of Globus are opaque: client_id and client_secret_file are needed");
        }
        Kind::Globus if settings.scopes.is_empty() => {
            return wrong("scopes must name the scope that you made for this service at Globus");
        }
        Kind::Oidc if settings.audience.is_none() => {
            return wrong("audience is needed: what tokens for this service have in 'aud'");
        }
        _ => {}
    }
    if settings.login_client_id.is_some() && settings.login_client_id == settings.audience {
        return wrong("audience and login_client_id must differ, or id tokens would count as access tokens");
    }
    Ok(())
}
